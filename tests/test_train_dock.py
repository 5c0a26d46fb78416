from __future__ import annotations

from dataclasses import replace

import pytest
from napari.utils.notifications import notification_manager
from train_window import AnsweringEngine, open_folder, square, tissue_folder

from napari_cellseg.errors import EngineError, TrainingError
from napari_cellseg.formats.label_images import read_class_images
from napari_cellseg.gui import docks
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.gui.train import dock as dock_module
from napari_cellseg.gui.widgets.questions import Answer
from napari_cellseg.gui.widgets.workflow import is_in_front
from napari_cellseg.review import Cell, Status, instances_of
from training.sources import DataSource


@pytest.fixture
def engine():
    return AnsweringEngine()


@pytest.fixture
def dock(qtbot, engine, open_dock):
    dock = open_dock(docks.Train)
    dock.run.engine.run = engine
    dock.show()
    qtbot.waitUntil(lambda: is_in_front(dock), timeout=60_000)
    return dock


@pytest.fixture
def workspace(qtbot, dock, tmp_path):
    workspace = open_folder(dock.state, tissue_folder(tmp_path / "tissue"))
    wait_checked(qtbot, dock)
    yield workspace
    workspace.close()


def wait_checked(qtbot, dock):
    qtbot.waitUntil(lambda: dock.run.checked is not None and not dock.run.is_busy, timeout=60_000)


def train(qtbot, dock):
    dock.button.click()
    qtbot.waitUntil(lambda: dock.run.plan is not None and not dock.run.is_busy, timeout=60_000)


def correct_a_cell(dock):
    dock.state.session.add(1, (2, 2, 8, 8), square())


def test_without_data_the_button_says_what_to_do(dock):
    assert not dock.button.isEnabled()
    assert dock.button.toolTip() == "Open a folder of annotated images, or choose other data."
    assert dock.source.counts.text() == dock.button.toolTip()
    assert not dock.copy_button.isEnabled()


@pytest.mark.usefixtures("workspace")
def test_an_open_folder_is_looked_through_by_itself(dock):
    assert dock.source.choice.currentText() == "this folder: train"
    assert dock.source.counts.text().startswith("3 images, ")
    assert all(name in dock.source.counts.text() for name in dock.state.classes.names)
    assert "has few cells" in dock.source.problems.item(0).text()
    assert dock.button.isEnabled()
    assert dock.copy_button.isEnabled()


@pytest.mark.usefixtures("workspace")
def test_the_settings_shown_fit_the_data(dock):
    config = dock.form.config()
    assert config.classes.names == dock.state.classes.names
    assert config.data.validation_fraction == pytest.approx(1 / 3, abs=0.01)
    assert dock.form.forms["data"].values()["views"] == config.data.views > 1


def test_a_run_from_the_button_to_the_summary(qtbot, dock, workspace, engine):
    train(qtbot, dock)
    (call,) = engine.trained
    assert call.data == workspace.project.path
    assert call.run_folder.parent == workspace.project.state_folder / "runs"
    assert not call.resume
    assert dock.run.job.state is JobState.FINISHED
    monitor = dock.monitor
    assert monitor.summary.text().startswith("Finished after 3 epochs: all epochs done. Best epoch 3: AP50 0.300.")
    assert "epithelial 0.320" in monitor.summary.text()
    assert monitor.use_button.isEnabled()
    assert monitor.compare_button.isEnabled()
    assert dock.button.isEnabled()
    assert "3 images" not in monitor.log.toPlainText()
    assert "epoch 3: loss 0.667" in monitor.log.toPlainText()


@pytest.mark.usefixtures("workspace")
def test_a_time_limit_is_promised_and_given_to_the_run(qtbot, dock, engine):
    dock.form.limit.widget("max_minutes").setValue(5)
    assert dock.form.time.text().startswith("At most 5 min, then the validation.")
    train(qtbot, dock)
    assert engine.trained[0].config.max_minutes == 5
    dock.form.limit.widget("max_minutes").setValue(0)
    assert dock.form.config().max_minutes is None


@pytest.mark.usefixtures("workspace")
def test_while_it_trains_every_button_that_cannot_work_says_why(qtbot, dock, engine):
    engine.wait_s = 0.05
    dock.button.click()
    qtbot.waitUntil(lambda: bool(dock.run.history.rows), timeout=60_000)
    assert dock.button.toolTip() == "Training is running. Stop it first."
    assert dock.monitor.compare_button.toolTip() == "The engine is running. Wait for the end or stop it."
    qtbot.waitUntil(dock.monitor.use_button.isEnabled, timeout=60_000)
    assert dock.copy_button.isEnabled()
    dock.monitor.row.stop_button.click()
    qtbot.waitUntil(lambda: not dock.run.is_busy, timeout=60_000)
    assert dock.run.job.state is JobState.STOPPED
    assert dock.monitor.row.message.text().startswith("Stopped (best and last model kept).")
    assert dock.button.isEnabled()


@pytest.mark.usefixtures("workspace")
def test_a_run_of_an_earlier_session_is_offered_and_goes_on(qtbot, dock, engine, open_dock):
    engine.wait_s = 0.05
    dock.button.click()
    qtbot.waitUntil(lambda: bool(dock.run.history.rows), timeout=60_000)
    dock.monitor.row.stop_button.click()
    qtbot.waitUntil(lambda: not dock.run.is_busy, timeout=60_000)
    assert dock.past_label.text().startswith("Unfinished run: epoch ")

    later = open_dock(docks.Train)  # as after a restart: it knows only what is on disk
    later.run.engine.run = engine
    later.show()
    wait_checked(qtbot, later)
    assert later.past_label.text() == dock.past_label.text()
    engine.wait_s = 0.0
    later.resume_button.click()
    qtbot.waitUntil(lambda: not later.run.is_busy, timeout=60_000)
    first, second = engine.trained
    assert second == replace(first, resume=True)
    assert later.run.job.state is JobState.FINISHED
    assert not later.resume_row.isVisible(), "it came to its end"


@pytest.mark.usefixtures("workspace")
def test_pause_holds_the_run_and_resume_lets_it_go_on(qtbot, dock, engine):
    engine.wait_s = 0.05
    dock.button.click()
    qtbot.waitUntil(lambda: dock.run.history.step is not None, timeout=60_000)
    dock.monitor.row.pause_button.click()
    assert dock.run.job.is_busy
    assert dock.monitor.row.pause_button.text() == "Resume"
    assert dock.button.toolTip() == "Training is running. Stop it first."
    dock.monitor.row.pause_button.click()
    qtbot.waitUntil(lambda: dock.run.job.state is JobState.FINISHED, timeout=60_000)


@pytest.mark.usefixtures("workspace")
def test_closing_the_viewer_stops_the_run_which_can_be_resumed(qtbot, dock, engine, plugin):
    engine.wait_s = 0.05
    dock.button.click()
    qtbot.waitUntil(lambda: bool(dock.run.history.rows), timeout=60_000)
    plugin.close()
    assert dock.run.job.state is JobState.STOPPED
    assert (dock.run.plan.folder / "last.pt").exists()


def test_an_error_in_the_data_blocks_the_start_and_leads_to_the_image(qtbot, dock, workspace, engine):
    (workspace.project.images[1].path.parent / "class2.tif").write_bytes(b"no TIFF")
    shown = []
    dock.source.opener.show = shown.append
    dock.button.click()
    qtbot.waitUntil(lambda: dock.message.text() != "", timeout=60_000)
    assert dock.message.text().startswith("Training cannot start: fix 1 problem first.")
    assert not engine.trained
    item = dock.source.problems.item(0)
    assert item.text().startswith("Error: tissue_02:")
    dock.source.problems.itemClicked.emit(item)
    assert shown == ["tissue_02"]
    assert dock.button.isEnabled()


def test_corrections_are_written_to_the_label_images_when_asked(qtbot, dock, workspace, monkeypatch):
    asked = []
    monkeypatch.setattr(dock_module, "ask_to_write", lambda _, *about: asked.append(about) or Answer.SAVE)
    correct_a_cell(dock)
    proposed = Cell(
        cell_id=99,
        class_id=2,
        score=0.9,
        status=Status.PROPOSED,
        box=(20, 20, 26, 26),
        mask=square(),
        label_value=0,
        by="model",
        at=0.0,
    )
    dock.state.session.load_proposals(instances_of([proposed], dock.state.session.image_size))
    train(qtbot, dock)
    assert asked == [(["tissue_01"], 1)]
    assert (read_class_images(workspace.project.images[0].path.parent)[1][2:8, 2:8] > 0).all()
    assert not workspace.is_modified("tissue_01")
    assert not workspace.project.labels_changed("tissue_01")
    assert dock.run.job.state is JobState.FINISHED


def test_training_without_the_corrections_leaves_them_alone(qtbot, dock, workspace, monkeypatch):
    monkeypatch.setattr(dock_module, "ask_to_write", lambda *_: Answer.DISCARD)
    correct_a_cell(dock)
    train(qtbot, dock)
    assert workspace.is_modified("tissue_01")
    assert not any(path.name.endswith(".bak") for path in workspace.project.images[0].path.parent.iterdir())


@pytest.mark.usefixtures("workspace")
def test_cancel_starts_nothing(qtbot, dock, engine, monkeypatch):
    monkeypatch.setattr(dock_module, "ask_to_write", lambda *_: Answer.CANCEL)
    correct_a_cell(dock)
    dock.button.click()
    qtbot.waitUntil(lambda: not dock.run.is_busy and dock.button.isEnabled(), timeout=60_000)
    assert not engine.trained
    assert "1 image has corrections" in dock.source.counts.text()


def test_saved_corrections_of_an_image_that_is_not_open_count_too(qtbot, dock, workspace, monkeypatch):
    correct_a_cell(dock)
    workspace.save("tissue_01")
    dock.state.set_current(None, None, None)
    workspace.close_session("tissue_01")
    monkeypatch.setattr(dock_module, "ask_to_write", lambda *_: Answer.SAVE)
    train(qtbot, dock)
    assert (read_class_images(workspace.project.images[0].path.parent)[1][2:8, 2:8] > 0).all()
    assert not workspace.project.labels_changed("tissue_01")


def test_annotated_images_are_trained_on_as_review_shows_them(qtbot, dock, tmp_path, engine):
    folder = tissue_folder(tmp_path / "tissue")
    flat = tmp_path / "flat"
    flat.mkdir()
    for image in sorted(folder.glob("*/image.tif")):
        (flat / f"{image.parent.name}.tif").write_bytes(image.read_bytes())
    workspace = open_folder(dock.state, flat)
    qtbot.waitUntil(lambda: "annotated yet" in dock.source.counts.text(), timeout=60_000)
    assert dock.source.choice.currentData() is DataSource.ANNOTATED
    correct_a_cell(dock)
    train(qtbot, dock)
    (call,) = engine.trained
    assert [path.parent.name for path in call.data.glob("*/image.tif")] == ["tissue_01"]
    assert read_class_images(call.data / "tissue_01")[1].any()
    assert not list(flat.glob("*.bak"))
    workspace.close()


@pytest.mark.parametrize(
    "error", [EngineError("The engine process was killed from outside (SIGKILL)."), TrainingError("The disk is full.")]
)
@pytest.mark.usefixtures("workspace")
def test_a_failure_is_one_message_and_the_next_run_works(qtbot, dock, engine, error):
    engine.error = error
    train(qtbot, dock)
    assert dock.run.job.state is JobState.FAILED
    assert dock.monitor.row.message.text() == f"Failed: {error}"
    assert len([record for record in notification_manager.records if str(record.message) == str(error)]) == 1
    assert dock.button.isEnabled()
    engine.error = None
    train(qtbot, dock)
    qtbot.waitUntil(lambda: dock.run.job.state is JobState.FINISHED, timeout=60_000)


@pytest.mark.usefixtures("workspace")
def test_plots_are_drawn_only_when_seen_and_at_most_twice_a_second(qtbot, dock):
    dock.hide()
    train(qtbot, dock)
    hidden = dock.monitor.plots.draws
    assert hidden == 0
    dock.show()
    qtbot.waitUntil(lambda: "ap50" in dock.monitor.plots.lines, timeout=60_000)
    assert dock.monitor.plots.draws <= 2
    assert list(dock.monitor.plots.lines["ap50"].xData) == [1, 2, 3]
    assert dock.monitor.plots.lines["ap50/epithelial"].opts["pen"].color().name() == dock.state.classes.colour(3)


@pytest.mark.usefixtures("qtbot")
@pytest.mark.parametrize(("epochs", "width"), [(1, 250), (4, 250), (150, 250), (3, 900)])
def test_the_epoch_axis_has_ticks_at_whole_epochs_only(epochs, width):
    from napari_cellseg.gui.train.plots import _EpochAxis

    ticks = [value for _, values in _EpochAxis("bottom").tickValues(0, epochs, width) for value in values]
    assert ticks
    assert all(float(value).is_integer() for value in ticks)
