"""The region of interest: what lies outside is neither trained on nor evaluated, wherever the region is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cellseg.cli import main
from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import drive
from napari_cellseg.export import ExportPlan, Which, export_folder, items_of
from napari_cellseg.formats.coco_images import ImageId, write_image_ids
from napari_cellseg.formats.coco_results import result_rows, write_results
from napari_cellseg.formats.label_images import read_label_image
from napari_cellseg.gui.train.compare import compared_pictures
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import About
from napari_cellseg.review.region import Region, inside, placed_region, tidy_region
from napari_cellseg.workspace import Sessions
from training.comparison import ImageComparison
from training.dataset import find_samples, read_sample
from training.report import scan
from training.sources import _stamps
from training.truth import truth_of

BOX: Region = ((9.5, 19.5), (9.5, 69.5), (59.5, 69.5), (59.5, 19.5))
"""Rows 10 to 59, columns 20 to 69."""
TRIANGLE: Region = ((0.0, 0.0), (0.0, 90.0), (90.0, 0.0))


@pytest.fixture
def image_id(project_folder: Path) -> str:
    return sorted(path.name for path in project_folder.iterdir() if path.is_dir())[0]


def draw(folder: Path, image_id: str, region: Region) -> None:
    """Draw a region in the project of the folder, and save it."""
    with Sessions.of_folder(folder, user="ana") as workspace:
        session = workspace.open_session(image_id, (96, 96))
        session.describe(About(region=region))
        workspace.save(image_id)


def test_a_region_is_moved_into_the_image_and_empty_outside_it() -> None:
    assert tidy_region([(-50, -50), (-50, 40), (30.04, 40), (30.04, 40), (30, -50)], (96, 96)) == (
        (-0.5, -0.5),
        (-0.5, 40.0),
        (30.0, 40.0),
        (30.0, -0.5),
    )
    assert tidy_region([(200, 200), (200, 300), (300, 300)], (96, 96)) == ()
    placed = placed_region(BOX, (96, 96))
    assert placed is not None
    assert placed[0] == (20, 10, 70, 60)
    assert placed[1].all()


def test_a_cell_counts_where_half_of_its_pixels_are() -> None:
    masks = [np.ones((10, 10), bool)] * 3
    cells = InstanceMasks.from_crops((96, 96), [(15, 20), (14, 20), (80, 20)], masks, [1, 1, 1])
    assert inside(cells, BOX).tolist() == [True, False, False]
    assert inside(cells, ()).all()


def test_training_reads_the_box_only_from_the_annotations_and_from_an_export(
    project_folder: Path, image_id: str, tmp_path: Path
) -> None:
    whole = {sample.image_id: read_sample(sample) for sample in find_samples(project_folder).samples}
    stamps = _stamps(project_folder)
    draw(project_folder, image_id, BOX)
    assert _stamps(project_folder) != stamps, "the data check reads the data again"
    with Sessions.of_folder(project_folder, user="ana") as workspace:
        plan = ExportPlan(folder=tmp_path / "out", formats=frozenset({"class-images", "coco"}))
        for _ in export_folder(items_of(workspace, Which.ALL), find_samples(project_folder).classes, plan):
            pass
    for data in (project_folder, project_folder.parent, tmp_path / "out" / "training"):
        for sample in find_samples(data).samples:
            image, full = read_sample(sample), whole[sample.image_id]
            if sample.image_id != image_id:
                assert not sample.region
                assert np.array_equal(image.rgb, full.rgb)
                continue
            assert np.array_equal(image.rgb, full.rgb[10:60, 20:70])
            for class_id, labels in image.class_maps.items():
                assert np.array_equal(labels > 0, full.class_maps[class_id][10:60, 20:70] > 0)
            assert image.cell_count < full.cell_count
    report = scan(project_folder)
    (note,) = [problem for problem in report.problems if problem.image_id == image_id and "region" in str(problem)]
    assert "Only the region of interest is used: 50 x 50 of 96 x 96 px." in str(note)
    assert report.images[0].size == (50, 50)
    row = json.loads((tmp_path / "out" / "coco.json").read_text("utf-8"))["images"][0]
    assert row["region"] == [[20, 10], [70, 10], [70, 60], [20, 60]], "x, y along pixel edges"


def test_outside_a_polygon_there_is_one_colour_and_no_cell(project_folder: Path, image_id: str) -> None:
    draw(project_folder, image_id, TRIANGLE)
    (sample,) = [sample for sample in find_samples(project_folder).samples if sample.image_id == image_id]
    image = read_sample(sample)
    placed = placed_region(TRIANGLE, (96, 96))
    assert placed is not None
    outside = ~placed[1]
    assert image.rgb.shape[:2] == outside.shape
    assert len(np.unique(image.rgb[outside], axis=0)) == 1
    assert not any(labels[outside].any() for labels in image.class_maps.values())
    assert image.class_maps
    for class_id, labels in image.class_maps.items():
        full = read_label_image(sample.image.parent / f"class{class_id}.tif", (96, 96))
        assert np.array_equal(labels > 0, (full[: outside.shape[0], : outside.shape[1]] > 0) & ~outside)


def test_evaluation_counts_no_cell_outside_and_says_how_many(
    project_folder: Path, image_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = find_samples(project_folder)
    truth = truth_of(source)
    names = sorted(truth)
    ids = [ImageId(f"{name}.tif", number, 96, 96) for number, name in enumerate(names, start=1)]
    # Everything is predicted, and 9 cells more outside the box, where no one annotated.
    corners, masks = [(2 + 9 * i, 84) for i in range(9)], [np.ones((6, 6), bool)] * 9
    kind = int(truth[image_id].class_ids[0])
    more = InstanceMasks.from_crops((96, 96), corners, masks, [kind] * 9, [0.99] * 9)
    likely = {name: replace(cells, scores=np.full(len(cells), 0.5, np.float32)) for name, cells in truth.items()}
    found = {number: likely[name] for number, name in enumerate(names, start=1)}
    found[names.index(image_id) + 1] = InstanceMasks.concatenate([likely[image_id], more])
    write_image_ids(tmp_path / "ids.json", ids)
    write_results(tmp_path, [row for number, cells in found.items() for row in result_rows(cells, number)], ids)
    command = ["evaluate", "--data", str(project_folder), "--results", str(tmp_path / "test-results.json")]
    command += ["--ids", str(tmp_path / "ids.json"), "--json", str(tmp_path / "scores.json")]
    assert main(command) == 0
    assert "region of interest" not in capsys.readouterr().out
    before = json.loads((tmp_path / "scores.json").read_text("utf-8"))

    draw(project_folder, image_id, BOX)
    left = int((~inside(truth[image_id], BOX)).sum())
    assert left
    assert main(command) == 0
    told = f"1 image with a region of interest: {left} ground-truth and {left + 9} predicted cells outside are not"
    assert told in capsys.readouterr().out
    after = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert before["mean"]["ap50"] < 1
    assert after["mean"]["ap50"] == pytest.approx(1)
    assert sum(row["cells"] for row in after["classes"]) == sum(map(len, truth.values())) - left

    page = tmp_path / "page.html"
    assert main(["report", str(project_folder), "--truth", str(project_folder), "--html", str(page)]) == 0
    assert f"{left} ground-truth and {left} predicted cells outside are not counted." in page.read_text("utf-8")


def test_a_region_outside_a_replaced_image_and_a_damaged_file_are_reported(project_folder: Path, image_id: str) -> None:
    path = project_folder / image_id / "region.json"
    path.write_text(json.dumps({"region": [[200, 200], [200, 300], [300, 300]]}), "utf-8")
    assert any("lies outside it. Draw it again" in str(problem) for problem in scan(project_folder).errors)
    path.write_text(json.dumps({"region": [[5]]}), "utf-8")
    with pytest.raises(AnnotationError, match="is not a region of interest"):
        find_samples(project_folder)


def test_a_region_comes_back_after_a_save_and_after_a_kill(project_folder: Path, image_id: str) -> None:
    draw(project_folder, image_id, BOX)
    with Sessions.of_folder(project_folder, user="ana") as workspace:
        session = workspace.open_session(image_id, (96, 96))
        assert session.about.region == BOX
        session.describe(About(region=TRIANGLE, note="half"))
        assert session.undo_text == "region of interest"
    with Sessions.of_folder(project_folder, user="ana") as workspace:
        session = workspace.open_session(image_id, (96, 96), recover=True)
        assert session.about == About(region=TRIANGLE, note="half")


def test_the_pictures_of_a_comparison_show_the_region(project_folder: Path, image_id: str) -> None:
    def pictures(image: ImageComparison) -> Any:
        return drive(compared_pictures(project_folder, image, find_samples(project_folder).classes))

    rgb = read_sample(
        next(sample for sample in find_samples(project_folder).samples if sample.image_id == image_id)
    ).rgb
    draw(project_folder, image_id, BOX)
    none, nothing = InstanceMasks.empty((50, 50)), np.zeros(0, np.intp)
    image = ImageComparison(
        image_id=image_id,
        truth=none,
        old=none,
        new=none,
        gained=nothing,
        lost=nothing,
        old_false=nothing,
        new_false=nothing,
    )
    assert all(np.array_equal(picture, rgb[10:60, 20:70]) for picture in pictures(image))
    draw(project_folder, image_id, TRIANGLE)
    with pytest.raises(AnnotationError, match="was changed"):
        pictures(replace(image, truth=InstanceMasks.empty((96, 96))))
