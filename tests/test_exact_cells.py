"""Overlapping cells of one class survive an import to a training folder; what is left out shows in the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_cellseg.classes import ClassTable
from napari_cellseg.cli import main
from napari_cellseg.formats.coco import CocoDataset, ImageId, write_dataset, write_image_ids, write_results
from napari_cellseg.formats.coco_results import result_rows
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.instances import InstanceMasks
from training.dataset import find_samples, read_sample

SIZE = (60, 80)
CLASSES = ClassTable(("round", "long"))


def overlapping(shift: int = 0) -> InstanceMasks:
    """Return two cells of class 1 that share pixels, one inside another, and one of class 2."""
    places = [(10 + shift, 10), (20 + shift, 20), (14 + shift, 14), (50, 30)]
    masks = [np.ones((side, side), bool) for side in (20, 25, 5, 10)]
    return InstanceMasks.from_crops(SIZE, places, masks, [1, 1, 1, 2])


def coco(folder: Path, name: str, cells: InstanceMasks, seed: int) -> Path:
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / f"{name}.tif", generate_tissue(SIZE, 4, seed=seed)[0], photometric="rgb")
    path = folder / f"{name}.json"
    write_dataset(path, CocoDataset((ImageId(f"{name}.tif", 1, *SIZE),), CLASSES, {1: cells}))
    return path


def regions(cells: InstanceMasks) -> list[tuple[int, ...]]:
    boxes = zip(cells.class_ids.tolist(), cells.boxes.tolist(), cells.areas.tolist(), strict=True)
    return sorted((class_id, *box, area) for class_id, box, area in boxes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    assert main(["import", str(coco(tmp_path / "in", "a", overlapping(), 1)), "--out", str(tmp_path / "data")]) == 0
    return tmp_path / "data"


def test_training_and_evaluation_read_an_imported_folder_with_every_cell_whole(tmp_path: Path, data: Path) -> None:
    source = find_samples(data)
    assert source.remarks == ()
    assert read_sample(source.samples[0]).cell_count == 4
    assert regions(source.samples[0].cells) == regions(overlapping())

    ids = (ImageId("a.tif", 3, *SIZE),)
    write_image_ids(tmp_path / "ids.json", ids)
    answer = write_results(tmp_path, result_rows(overlapping(), 3), ids)
    numbers = tmp_path / "numbers.json"
    command = ["evaluate", "--data", str(data), "--results", str(answer), "--ids", str(tmp_path / "ids.json")]
    assert main([*command, "--json", str(numbers)]) == 0
    found = json.loads(numbers.read_text())
    assert found["all_cells"]["pq"] == 1
    assert found["mean"]["ap50"] == 1


def test_label_images_that_were_corrected_after_the_import_take_precedence(data: Path) -> None:
    label_image = tifffile.imread(data / "a" / "class1.tif")
    label_image[label_image == label_image[32, 40]] = 0  # a cell was removed
    tifffile.imwrite(data / "a" / "class1.tif", label_image)
    source = find_samples(data)
    assert source.samples[0].cells is None
    assert "The label images of a were changed after instances.json was written" in source.remarks[0]


def test_other_values_for_the_same_cells_are_no_correction(data: Path) -> None:
    label_image = tifffile.imread(data / "a" / "class1.tif")
    tifffile.imwrite(data / "a" / "class1.tif", np.where(label_image > 0, label_image * 7 + 3, 0))
    assert find_samples(data).samples[0].cells is not None


def test_a_second_import_into_the_folder_keeps_the_cells_of_the_first(tmp_path: Path, data: Path) -> None:
    plain = overlapping().select([0, 3])
    for name, cells in (("b", overlapping(3)), ("c", plain)):
        path = coco(tmp_path / name, name, cells, 2)
        assert main(["import", str(path), "--out", str(data)]) == 0
    samples = {sample.image_id: sample for sample in find_samples(data).samples}
    assert regions(samples["a"].cells) == regions(overlapping())
    assert regions(samples["b"].cells) == regions(overlapping(3))
    assert read_sample(samples["c"]).cell_count == 2


def test_annotations_left_out_are_exit_code_1_in_export_and_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = coco(tmp_path / "in", "a", overlapping(), 1)
    data = json.loads(path.read_text())
    data["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4]]})
    path.write_text(json.dumps(data))
    assert main(["export", str(path), "--out", str(tmp_path / "out"), "--to", "coco"]) == 1
    assert "1 of 5 annotations left out" in capsys.readouterr().err
    ids = (ImageId("a.tif", 3, *SIZE),)
    write_image_ids(tmp_path / "ids.json", ids)
    answer = write_results(tmp_path, result_rows(overlapping(), 3), ids)
    command = ["evaluate", "--results", str(answer), "--ids", str(tmp_path / "ids.json"), "--data"]
    assert main([*command, str(path)]) == 1
    assert "1 of 5 annotations left out" in capsys.readouterr().err


def test_images_left_out_are_exit_code_1(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(coco(tmp_path / "b", "b", overlapping(3), 2)), "--out", str(data)]) == 0
    ids = (ImageId("a.tif", 3, *SIZE),)
    write_image_ids(tmp_path / "ids.json", ids)
    answer = str(write_results(tmp_path, result_rows(overlapping(), 3), ids))
    capsys.readouterr()
    assert main(["evaluate", "--data", str(data), "--results", answer, "--ids", str(tmp_path / "ids.json")]) == 1
    assert "does not list them: b" in capsys.readouterr().err

    more = (*ids, ImageId("gone.tif", 4, *SIZE))
    write_image_ids(tmp_path / "more.json", more)
    command = ["export", answer, "--ids", str(tmp_path / "more.json"), "--images", str(tmp_path / "in")]
    assert main([*command, "--out", str(tmp_path / "out"), "--to", "measurements"]) == 1
    assert "does not have them: gone" in capsys.readouterr().err

    tifffile.imwrite(data / "loose.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    assert main(["export", str(data), "--out", str(tmp_path / "out2"), "--to", "measurements"]) == 1
    assert "without a folder of its own): loose.tif" in capsys.readouterr().err
