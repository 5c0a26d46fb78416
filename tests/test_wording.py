"""Counts and summaries: right for one, for many and for none, and each message once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from command_cases import write_image, write_labelled, write_model

from napari_cellseg.cli import _Once, main
from napari_cellseg.commands.found import FoundImage
from napari_cellseg.commands.predict import total_line
from napari_cellseg.events import RunFinished, StopReason
from napari_cellseg.export import ExportSummary
from napari_cellseg.images.read import ImageFile
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.wording import about_time
from training.history import run_line
from training.report import scan


def finished(epochs: int, best: int) -> str:
    return run_line(
        RunFinished(reason=StopReason.STOPPED, epochs=epochs, best_epoch=best, best_value=0.25, checkpoint=None)
    )


def test_the_best_epoch_is_never_one_of_none():
    reason = StopReason.STOPPED.value
    assert finished(3, 2) == f"{reason}: best epoch 2 (0.2500) of 3"
    assert finished(0, 1) == f"{reason}: best epoch 1 (0.2500), stopped before its end"
    assert finished(0, 0) == f"{reason}: no epoch was validated"


def test_the_largest_class_of_a_small_set_is_not_called_rare(tmp_path):
    for number in (1, 2):
        folder = write_labelled(tmp_path / f"x{number}", number)
        for class_id in (2, 3, 4):
            (folder / f"class{class_id}.tif").unlink(missing_ok=True)
    report = scan(tmp_path)
    assert int(report.cells.sum()) == int(report.cells[0])
    texts = [problem.text for problem in report.warnings]
    assert any("has few cells" in text for text in texts)
    assert not any("rare" in text for text in texts)


@pytest.mark.parametrize(
    ("images", "text"), [(1, "1 image, "), (3, "3 images, "), (0, "0 images, 0 predicted cells, ")]
)
def test_the_total_counts_the_images_of_all_processes(images, text):
    cells = generate_tissue((64, 64), 4, 1)[1]
    found = [FoundImage(ImageFile(str(i), Path()), cells) for i in range(images)]
    line = total_line(found, 2.0, {})
    assert line.startswith(text)
    assert f"{images * len(cells)} predicted cells" in line or images * len(cells) == 1
    assert line.endswith("2.0 s")


def test_predict_says_the_total_once(tmp_path, capsys):
    model = write_model(tmp_path / "m.safetensors")
    write_image(tmp_path / "in" / "a.tif")
    arguments = ["--out", str(tmp_path / "o"), "--checkpoint", str(model), "--device", "cpu"]
    assert main(["predict", str(tmp_path / "in"), *arguments]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("1 image, ") for line in said) == 1


def test_an_export_of_one_image_with_one_cell():
    summary = ExportSummary(
        folder=Path(), files=(), images=1, cells=1, without_cells=0, not_annotated=1, problems=(("a", "b"),), covered=1
    )
    assert str(summary) == (
        "1 image, 0 without cells, 1 not annotated and left out, 1 cell partly covered in label images, 1 problem"
    )


def test_a_message_is_logged_once():
    once = _Once()

    def passes(text: str, *arguments: object, level: int = logging.WARNING) -> bool:
        return once.filter(logging.LogRecord("napari_cellseg.x", level, "", 0, text, arguments, None))

    assert passes("%s: no size", "a.tif")
    assert not passes("%s: no size", "a.tif")
    assert passes("%s: no size", "b.tif")
    assert passes("%s: no size", "a.tif", level=logging.ERROR)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "about 1 s"), (7, "about 7 s"), (41, "about 40 s"), (130, "about 2 min"), (1290, "about 20 min"),
     (5500, "about 1.5 h"), (10_700, "about 3 h"), (86_400, "about 24 h")],
)  # fmt: skip
def test_an_estimated_time_is_told_as_people_say_it(seconds, text):
    assert about_time(seconds) == text
