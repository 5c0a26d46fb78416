"""``napari-cellseg import``, and the same gate in training, evaluate, export and *Open*: inputs that people have."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from import_writers import SIZE, Written, coco, flat, image, pannuke
from PIL import Image

from napari_cellseg.cli import main
from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import drive
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.importers import import_annotations
from napari_cellseg.workspace.open_any import open_folder
from training.dataset import find_samples
from training.report import scan

CELLS = [Written(3, 4, 5, 1), Written(20, 21, 6, 1), Written(40, 20, 4, 2)]


def dataset(name: str = "a.tif", **changes: Any) -> dict[str, Any]:
    """Return a COCO data set of `CELLS`; ``changes`` replace keys of every annotation."""
    annotations = [
        {"id": i, "image_id": 1, "category_id": cell.class_id, "segmentation": [flat(cell.ring)], "iscrowd": 0}
        | {"bbox": [cell.x, cell.y, cell.side, cell.side]}
        | changes
        for i, cell in enumerate(CELLS, start=1)
    ]
    return {
        "images": [{"id": 1, "file_name": name, "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 1, "name": "tumour"}, {"id": 2, "name": "lymphocyte"}],
        "annotations": annotations,
    }


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def cells_in(folder: Path) -> int:
    return len(to_instances(read_class_images(folder, SIZE), SIZE))


def test_the_import_writes_a_training_folder_that_training_reads(tmp_path: Path, capsys) -> None:
    image(tmp_path / "in")
    path = write(tmp_path / "in" / "instances.json", dataset())
    assert main(["import", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "Kept 3 cells of 2 classes in 1 image; left out none." in capsys.readouterr().out
    assert (tmp_path / "out" / "a" / "image.tif").read_bytes() == (tmp_path / "in" / "a.tif").read_bytes()
    report = scan(tmp_path / "out")
    assert report.classes.names == ("tumour", "lymphocyte")
    assert report.cells.tolist() == [2, 1]


def test_what_was_left_out_is_listed_with_its_row_and_gives_exit_code_1(tmp_path: Path, capsys) -> None:
    data = dataset()
    data["annotations"][1]["segmentation"] = []
    image(tmp_path)
    path = write(tmp_path / "instances.json", data)
    assert main(["import", str(path), "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert "left out 1 because it is a box without a mask" in shown.out
    assert "instances.json, row 2 (a.tif): it is a box without a mask" in shown.err
    listed = (tmp_path / "out" / "import-left-out.csv").read_text("utf-8-sig").splitlines()
    assert listed[1] == "instances.json,2,a.tif,it is a box without a mask"
    assert cells_in(tmp_path / "out" / "a") == 2


def test_a_dry_run_writes_nothing_and_nothing_usable_is_exit_code_2(tmp_path: Path, capsys) -> None:
    image(tmp_path)
    path = write(tmp_path / "instances.json", dataset())
    assert main(["import", str(path), "--dry-run"]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "instances.json"]
    write(path, dataset(segmentation=[]))
    assert main(["import", str(path), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    assert "nothing was written" in capsys.readouterr().err
    assert main(["import", str(path)]) == 2  # no --out


def test_files_of_the_user_are_kept_and_new_classes_come_behind_the_old_ones(tmp_path: Path) -> None:
    out = tmp_path / "out"
    image(out / "a", "image.tif")
    mine = np.zeros(SIZE, np.uint8)
    mine[1:5, 1:5] = 7
    tifffile.imwrite(out / "a" / "class1.tif", mine)
    write(out / "classes.json", ["lymphocyte", "other"])
    image(tmp_path / "in")
    path = write(tmp_path / "in" / "instances.json", dataset())
    assert main(["import", str(path), "--out", str(out)]) == 0
    assert json.loads((out / "classes.json").read_text())["names"] == ["lymphocyte", "other", "tumour"]
    assert sorted(read_class_images(out / "a", SIZE)) == [1, 3]
    assert np.array_equal(tifffile.imread(out / "a" / "class1.tif.bak"), mine)
    assert (out / "classes.json.bak").exists()


def test_a_zip_of_cvat_is_read_as_it_is_by_import_and_training(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image(tmp_path, "b.png")
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(dataset("b.png", iscrowd=1)))
        archive.write(tmp_path / "b.png", "images/b.png")
        archive.writestr("../outside.json", "{}")
    assert main(["import", str(tmp_path / "task.zip"), "--out", str(tmp_path / "out")]) == 0
    assert cells_in(tmp_path / "out" / "b") == 3
    assert [len(sample.cells) for sample in find_samples(tmp_path / "task.zip").samples] == [3]
    assert not (tmp_path / "cache" / "napari-cellseg" / "outside.json").exists()


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("a.tif", "images\\a.tif"),
        ("images/a.tif", "a.tif"),
        ("images/a.tif", "..\\..\\files\\images\\a.tif"),
        ("images/90fbb0c7-a.tif", "/data/upload/1/90fbb0c7-a.tif"),
        ("a.tif", "images\\90fbb0c7-a.tif"),
        ("a b.tif", "/data/local-files/?d=x%5Ca%20b.tif"),
        ("Gewebe_mu\u0308ller.tif", "Gewebe_m\u00fcller.tif"),
        ("data/A.TIF", "C:\\x\\a.tif"),
    ],
)
def test_images_are_found_by_the_last_parts_of_their_names(tmp_path: Path, where: str, name: str) -> None:
    image(tmp_path, where.replace(".TIF", ".tif"))
    (tmp_path / where.replace(".TIF", ".tif")).rename(tmp_path / where)
    result = import_annotations(write(tmp_path / "result.json", dataset(name)))
    assert result.kept == 3
    assert result.images[0].path == tmp_path / where


def test_two_images_of_one_name_are_not_guessed(tmp_path: Path) -> None:
    image(tmp_path, "x/a.tif")
    image(tmp_path, "y/a.tif")
    result = import_annotations(write(tmp_path / "result.json", dataset("z/a.tif")))
    assert result.kept == 0
    assert {item.reason for item in result.left_out} == {"2 images are named a.tif"}
    assert import_annotations(write(tmp_path / "result.json", dataset("y/a.tif"))).kept == 3


def test_same_names_in_two_folders_stay_two_images(tmp_path: Path) -> None:
    data = dataset("slide1/t.tif")
    data["images"].append({"id": 2, "file_name": "slide2/t.tif"})
    data["annotations"][0]["image_id"] = 2
    for folder in ("slide1", "slide2"):
        image(tmp_path, f"{folder}/t.tif")
    path = write(tmp_path / "instances.json", data)
    assert main(["import", str(path), "--out", str(tmp_path / "out")]) == 0
    assert cells_in(tmp_path / "out" / "slide1__t") == 2
    assert cells_in(tmp_path / "out" / "slide2__t") == 1
    assert [sample.image_id for sample in find_samples(path).samples] == ["slide1/t", "slide2/t"]


def test_the_group_of_all_categories_is_no_class(tmp_path: Path) -> None:
    image(tmp_path)
    data = dataset()
    for category in data["categories"]:
        category["supercategory"] = "cells"
    data["categories"].insert(0, {"id": 0, "name": "cells", "supercategory": "none"})
    assert find_samples(write(tmp_path / "d.json", data)).classes.names == ("tumour", "lymphocyte")
    data["annotations"][0]["category_id"] = 0  # with a cell it is one
    assert find_samples(write(tmp_path / "d.json", data)).classes.names == ("cells", "tumour", "lymphocyte")


def test_training_says_what_was_left_out(tmp_path: Path, capsys) -> None:
    data = dataset()
    data["annotations"][0]["segmentation"] = []
    data["annotations"][1]["segmentation"].append([1, 1, 2, 2])
    image(tmp_path)
    path = write(tmp_path / "d.json", data)
    report = scan(path)
    assert report.cells.tolist() == [1, 1]
    texts = [problem.text for problem in report.warnings]
    assert "1 of 3 annotations left out: it is a box without a mask." in texts
    assert "1 kept cell: a part of fewer than three points was dropped." in texts
    out = tmp_path / "out"
    assert main(["export", str(path), "--out", str(out), "--to", "class-images"]) == 1
    assert "1 of 3 annotations left out: it is a box without a mask." in capsys.readouterr().err


def test_a_size_that_is_not_the_images_is_a_reason_and_swapped_sides_are_not(tmp_path: Path) -> None:
    image(tmp_path)
    data = dataset()
    data["images"][0] |= {"height": SIZE[1], "width": SIZE[0]}
    result = import_annotations(write(tmp_path / "d.json", data))
    assert result.kept == 3
    assert "swapped" in result.notes[0]
    data["images"][0] |= {"height": 96, "width": 128}
    result = import_annotations(write(tmp_path / "d.json", data))
    assert [item.row for item in result.left_out] == [1, 2, 3]
    assert result.left_out[0].reason == "it was annotated at 96 x 128 px, but the image has 48 x 64 px"


def test_parts_outside_are_clipped_and_said(tmp_path: Path) -> None:
    image(tmp_path)
    data = dataset()
    data["annotations"][0]["segmentation"] = [[-10, -10, 6, -10, 6, 6, -10, 6]]
    result = import_annotations(write(tmp_path / "d.json", data))
    assert result.images[0].cells.boxes[0].tolist() == [0, 0, 6, 6]
    assert result.notes == ("1 kept cell: reaches beyond the image; only what is inside is kept.",)


def test_several_files_of_one_set_share_their_classes(tmp_path: Path) -> None:
    for part, name in (("train", "x.tif"), ("valid", "y.tif")):
        image(tmp_path / part, name)
        data = dataset(name)
        data["categories"] = data["categories"][:: 1 if part == "train" else -1]
        write(tmp_path / part / "_annotations.coco.json", data)
    result = import_annotations(tmp_path)
    assert result.kept == 6
    assert result.classes.names == ("tumour", "lymphocyte")


def test_a_second_file_of_the_same_image_does_not_double_its_cells(tmp_path: Path) -> None:
    image(tmp_path)
    write(tmp_path / "a.json", dataset())
    write(tmp_path / "b.json", dataset())
    result = import_annotations(tmp_path)
    assert (result.kept, len(result.left_out)) == (3, 3)
    assert result.left_out[0].reason == "the image already has annotations in a.json"


def test_arrays_are_imported_before_they_train(tmp_path: Path, capsys) -> None:
    pannuke(tmp_path / "Fold 1", CELLS)
    out = tmp_path / "out"
    assert main(["import", str(tmp_path / "Fold 1"), "--out", str(out), "--rename", "neoplastic=tumour"]) == 0
    assert scan(out).cells.sum() == 3
    assert (tifffile.imread(out / "fold1_0001" / "image.tif") == 200).all()
    assert json.loads((out / "classes.json").read_text())["names"][0] == "tumour"
    assert main(["train", "--data", str(tmp_path / "Fold 1"), "--out", str(tmp_path / "run"), "--dry-run"]) == 2
    assert "napari-cellseg import" in capsys.readouterr().err


def test_a_nested_cell_is_said_and_kept_whole_in_a_file_of_its_own(tmp_path: Path, capsys) -> None:
    coco(tmp_path, [Written(10, 10, 20, 1), Written(15, 15, 5, 1)])
    out = tmp_path / "out"
    assert main(["import", str(tmp_path), "--out", str(out)]) == 0
    assert "class*.tif lacks 25 pixels of 1 cell. " in capsys.readouterr().out
    assert find_samples(out / "instances.json").samples[0].cells.areas.tolist() == [400, 25]
    assert scan(out / "instances.json").cells.tolist() == [2, 0]


def opened(path: Path) -> Any:
    return drive(open_folder(path))


@pytest.mark.parametrize("name", ["images/a.tif", "a.tif"])
def test_open_finds_the_images_of_a_data_set_in_a_folder_below(tmp_path: Path, name: str) -> None:
    image(tmp_path, name)
    data = dataset("images\\a.tif")
    data["annotations"][0]["segmentation"] = []
    folder = opened(write(tmp_path / "result.json", data))
    try:
        assert [file.image_id for file in folder.project.images] == ["a"]
        assert len(folder.imported.cells["a"]) == 2
        assert folder.imported.remarks == ("1 annotation left out: it is a box without a mask.",)
    finally:
        folder.project.close()


def test_a_training_folder_with_tiff_and_minus_one_is_complete(tmp_path: Path) -> None:
    values = np.full(SIZE, -1, np.int16)
    values[3:9, 3:9] = 1
    image(tmp_path / "s", "image.tif")
    tifffile.imwrite(tmp_path / "s" / "class1.tiff", values)
    tifffile.imwrite(tmp_path / "s" / "class2.TIF", (values == 1).astype(np.uint8))
    report = scan(tmp_path)
    assert report.cells.tolist() == [1, 1]
    assert any("the value -1 is background" in problem.text for problem in report.warnings)


def test_a_class_image_that_is_no_tiff_is_named(tmp_path: Path) -> None:
    image(tmp_path / "s", "image.tif")
    Image.fromarray(np.ones(SIZE, np.uint8)).save(tmp_path / "s" / "class1.png")
    with pytest.raises(AnnotationError, match=r"class1\.png is not a TIFF"):
        scan(tmp_path)
    assert main(["import", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert cells_in(tmp_path / "out" / "s") == 1
