"""No edit is lost in a real window: the same folder twice, two windows, two processes, and closing in each state."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from closing_window import (
    IMAGE,
    Answers,
    Window,
    endless,
    keep_apart,
    make_folder,
    open_windows,
    status_on_disk,
    wait,
)

from napari_cellseg.images.samples import generate_tissue, write_training_folder
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions, look_at, recoverable

pytestmark = pytest.mark.gui


def slow(*values: str) -> list[Any]:
    """Return parameters that take part with ``-m slow`` only."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_apart(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.fixture
def windows(qapp: Any) -> Iterator[Callable[[Path], Window]]:  # noqa: ARG001 - windows need an application
    with open_windows() as make:
        yield make


# ---- the same folder twice ----


@pytest.mark.parametrize("how", ["same", *slow("slash", "link")])
def test_opening_the_open_folder_again_keeps_the_edits_and_finds_new_images(windows, folder, tmp_path, how):
    (tmp_path / "link").symlink_to(folder)
    path = {"same": folder, "slash": Path(f"{folder}/."), "link": tmp_path / "link"}[how]
    window = windows(folder)
    window.accept(1)
    session = window.state.session
    (folder / "tissue_03").mkdir()
    tifffile.imwrite(folder / "tissue_03" / "image.tif", generate_tissue((96, 96), 4)[0], photometric="rgb")

    for _ in range(3):
        window.open(path)
        assert window.state.session is session
        assert not window.state.workspace.read_only
    window.accept(2)

    assert [file.image_id for file in window.state.images] == ["tissue_01", "tissue_02", "tissue_03"]
    assert window.open_dock.images.model().rowCount() == 3
    assert [window.status(i) for i in (1, 2)] == [Status.ACCEPTED] * 2
    assert "2 edits not saved yet" in window.open_dock.saved.text()
    window.ask_to_close()
    assert window.is_closed
    assert [status_on_disk(folder, i) for i in (1, 2)] == [Status.ACCEPTED] * 2


# ---- two windows, two processes ----


def test_a_second_window_is_told_refuses_keys_and_takes_over_without_a_loss(windows, folder):
    first = windows(folder)
    first.accept(1)
    second = windows(folder)
    assert second.open_dock.saved.text().startswith("read-only: Open in another window of this program: ")
    assert second.review_dock.saved.text() == second.open_dock.saved.text()
    assert not second.review_dock.buttons["accept"].isEnabled()
    second.accept(2)
    assert second.status(2) is Status.PROPOSED
    assert "another window" in second.viewer.status
    assert not any(layer.editable for layer in second.plugin.layers)

    second.open_dock.take_over.click()
    second.wait_until_open()
    assert second.status(1) is Status.ACCEPTED, "the first window saved"
    second.accept(2)
    assert second.status(2) is Status.ACCEPTED
    assert all(layer.editable for layer in second.plugin.layers)
    wait(lambda: "took over" in first.review_dock.saved.text())
    first.accept(3)
    assert first.status(3) is Status.PROPOSED
    second.ask_to_close()
    first.ask_to_close()
    assert first.is_closed
    assert [status_on_disk(folder, i) for i in (1, 2, 3)] == [Status.ACCEPTED, Status.ACCEPTED, Status.PROPOSED]


OTHER = """
import sys
from pathlib import Path
from napari_cellseg.workspace import Sessions
sessions = Sessions.of_folder(Path(sys.argv[1]), user="ana", take_over=len(sys.argv) > 2)
session = sessions.open_session("tissue_01", (96, 96))
if len(sys.argv) > 2:
    session.accept([2])
    sessions.save("tissue_01")
print("ready", flush=True)
sys.stdin.readline()
sessions.close()
"""


def other_process(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OTHER, str(folder), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_a_folder_of_another_process_is_taken_over_with_its_button(windows, folder):
    process = other_process(folder)
    window = windows(folder)
    assert "Open in another viewer: ana" in window.open_dock.saved.text()
    window.accept(1)
    assert window.status(1) is Status.PROPOSED
    window.open_dock.take_over.click()
    window.wait_until_open()
    window.accept(1)
    window.ask_to_close()
    process.communicate("\n", timeout=30)
    assert window.is_closed
    assert status_on_disk(folder, 1) is Status.ACCEPTED


@pytest.mark.slow
def test_edits_made_before_another_process_took_over_are_offered_again(windows, folder):
    window = windows(folder)
    window.accept(1)
    process = other_process(folder, "replace the lock")
    wait(lambda: "took over" in window.review_dock.saved.text())
    window.accept(3)
    assert window.status(3) is Status.PROPOSED
    window.ask_to_close()
    assert window.is_closed, "they are kept: nothing to ask"
    process.communicate("\n", timeout=30)
    assert status_on_disk(folder, 2) is Status.ACCEPTED

    answers = Answers("Bring back")
    again = windows(folder)
    answers.stop()
    assert "Bring back 1 edit of tissue_01?" in answers.asked[0]
    assert [again.status(i) for i in (1, 2, 3)] == [Status.ACCEPTED, Status.ACCEPTED, Status.PROPOSED]


@pytest.mark.slow
def test_cancel_of_bring_back_leaves_what_was_open(windows, folder, tmp_path):
    write_training_folder(tmp_path / "second", 1, (96, 96))
    other = tmp_path / "second" / "train"
    with Sessions.of_folder(other) as sessions:
        session = sessions.open_session(IMAGE, (96, 96))
        session.reject([min(session.cells)])
    window = windows(folder)
    window.accept(1)
    answers = Answers("Cancel")
    window.open(other)
    answers.stop()
    assert window.state.workspace.project.is_at(folder)
    assert window.state.image_id == IMAGE
    assert window.status(1) is Status.ACCEPTED
    assert any(layer.visible for layer in window.plugin.layers)
    assert not (other / ".cellseg" / "lock.json").exists()
    assert recoverable(look_at(other), IMAGE) is not None


# ---- closing ----


@pytest.mark.slow
def test_closing_an_idle_window_asks_nothing(windows, folder):
    window = windows(folder)
    answers = Answers()
    window.ask_to_close()
    answers.stop()
    assert window.is_closed
    assert not answers.asked
    assert not (folder / ".cellseg" / "lock.json").exists()


@pytest.mark.slow
def test_closing_an_edited_window_saves_and_asks_nothing(windows, folder):
    window = windows(folder)
    window.accept(1)
    answers = Answers()
    window.ask_to_close()
    answers.stop()
    assert window.is_closed
    assert not answers.asked
    assert status_on_disk(folder, 1) is Status.ACCEPTED


@pytest.mark.parametrize("what", ["training", *slow("segmentation", "batch")])
def test_closing_names_what_runs_and_cancel_keeps_it_running(windows, folder, what):
    from napari_cellseg.events import EpochDone

    window = windows(folder)
    window.accept(1)
    job = getattr(window.plugin, what).job
    job.start(endless)
    wait(lambda: job.is_busy)
    if what == "training":
        history = window.plugin.training.history
        history.epochs, history.last_epoch = 150, object.__new__(EpochDone)
        object.__setattr__(history.last_epoch, "epoch", 2)
    text = {
        "training": "Training at epoch 2 of 150 stops; it can be resumed.",
        "segmentation": "Segmenting stops.",
        "batch": "Predicting the folder stops; the images that are left are predicted at the next start.",
    }[what]

    answers = Answers("Cancel")
    window.ask_to_close()
    answers.stop()
    assert text in answers.asked[0]
    assert "1 edit of tissue_01 is saved." in answers.asked[0]
    assert not window.is_closed
    assert window.qt_window.isVisible()
    assert job.is_busy
    window.accept(2)

    answers = Answers("Close")
    window.ask_to_close()
    answers.stop()
    assert window.is_closed
    assert not job.is_busy
    assert [status_on_disk(folder, i) for i in (1, 2)] == [Status.ACCEPTED] * 2


@pytest.mark.slow
def test_closing_a_read_only_window_asks_nothing_and_changes_nothing(windows, folder):
    process = other_process(folder)
    before = {path: path.read_bytes() for path in (folder / ".cellseg").rglob("*") if path.is_file()}
    window = windows(folder)
    window.accept(1)
    answers = Answers()
    window.ask_to_close()
    answers.stop()
    assert window.is_closed
    assert not answers.asked
    assert {path: path.read_bytes() for path in (folder / ".cellseg").rglob("*") if path.is_file()} == before
    process.communicate("\n", timeout=30)


@pytest.mark.parametrize("answer", ["Cancel", *slow("Save elsewhere", "Discard")])
def test_closing_with_edits_that_cannot_be_saved_asks(windows, folder, monkeypatch, answer):
    from napari_cellseg.errors import ExportError

    def full(*_: object, **__: object) -> None:
        raise ExportError("Cannot write tissue_01.jsonl: No space left on device.")

    window = windows(folder)
    window.accept(1)
    with monkeypatch.context() as patch:
        patch.setattr(Sessions, "save", full)
        answers = Answers(answer)
        window.ask_to_close()
        answers.stop()
    assert "1 edit of tissue_01 cannot be saved\nCannot write tissue_01.jsonl: No space left" in answers.asked[0]
    if answer == "Cancel":
        assert not window.is_closed
        assert window.status(1) is Status.ACCEPTED
        window.ask_to_close()
        assert window.is_closed
        assert status_on_disk(folder, 1) is Status.ACCEPTED
        return
    assert window.is_closed
    assert status_on_disk(folder, 1) is Status.PROPOSED
    answers = Answers(*(["Bring back"] if answer == "Save elsewhere" else []))
    again = windows(folder)
    answers.stop()
    assert again.status(1) is (Status.ACCEPTED if answer == "Save elsewhere" else Status.PROPOSED)


@pytest.mark.slow
def test_closing_by_a_script_asks_nothing_and_keeps_what_cannot_be_saved(windows, folder, monkeypatch):
    from napari_cellseg.errors import ExportError

    def full(*_: object, **__: object) -> None:
        raise ExportError("No space left on device.")

    window = windows(folder)
    window.accept(1)
    window.plugin.segmentation.job.start(endless)
    answers = Answers()
    with monkeypatch.context() as patch:
        patch.setattr(Sessions, "save", full)
        window.viewer.close()
    answers.stop()
    assert not answers.asked
    assert window.is_closed
    assert recoverable(look_at(folder), IMAGE) is not None


def test_napari_asks_once_and_names_what_stops(windows, folder, monkeypatch, tmp_path):
    keep_apart(monkeypatch, tmp_path / "home", napari_asks=True)
    window = windows(folder)
    window.accept(1)
    for name in ("Export", "Models"):
        _, dock = window.viewer.window.add_plugin_dock_widget("napari-cellseg", name)
        dock.job.start(endless)
    for answer in ("Cancel", "Close"):
        answers = Answers(answer)
        window.ask_to_close()
        answers.stop()
        assert len(answers.asked) == 1
        assert "Confirm to close window" in answers.asked[0]
        assert "Exporting stops; the export is incomplete." in answers.asked[0]
        assert "Copying the model stops; no copy is made." in answers.asked[0]
        assert window.is_closed == (answer == "Close")
    assert status_on_disk(folder, 1) is Status.ACCEPTED
