"""Real, very small training runs through `Job` and `Engine`: stopped in every stage, killed, out of memory or disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from engine_room import EngineRoom, wait_until
from training_settings import tiny_config, tissue

from napari_cellseg.engine_process.tasks import Compare, Predict, Report, Train
from napari_cellseg.errors import CellSegError, EngineError, TrainingError
from napari_cellseg.events import CheckpointSaved, ImageDone, RunStarted, StepDone, StopReason, ValidationStep
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
from training.comparison import Comparison, ComparisonStep
from training.report import DataReport, ScanStep
from training.resume import read_state

# No window is opened here, so it need not wait for the tests that do.
pytestmark = pytest.mark.timeout(600)  # alone it takes seconds
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of a running process are set with prlimit")

ENDLESS = tiny_config(epochs=1000)
STOPPED_S = 10.0  # a hang; how long it really takes is measured by benchmarks/training_latency.py
FELT_S = 2.0


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tissue(tmp_path_factory.mktemp("data"), images=6)


@pytest.fixture(scope="module")
def room(qapp):  # noqa: ARG001 - signals need an application
    room = EngineRoom()
    yield room
    room.close()


@pytest.fixture(autouse=True)
def _idle_afterwards(room):
    """Leave nothing running to the next test, also when this one failed."""
    yield
    room.job.shutdown(30)


@pytest.fixture(scope="module")
def finished(room, data, tmp_path_factory):
    """Return the folder of a run that ended well; it has a model."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    room.start(Train(config=tiny_config(epochs=1), data=data, run_folder=folder))
    assert wait_until_over(room) is JobState.FINISHED, room.errors
    return folder


def wait_until_over(room):
    from qtpy.QtWidgets import QApplication

    def is_over():
        QApplication.processEvents()
        return not room.job.is_busy

    assert wait_until(is_over, 300)
    return room.job.state


def train(room, data, folder, config=ENDLESS, **more):
    room.start(Train(config=config, data=data, run_folder=folder, **more))


def resumes(qtbot, room, data, folder):
    """Check that a run continues where it stopped, with the state in the folder."""
    train(room, data, folder, resume=True)
    room.wait_for(qtbot, StepDone)
    started = next(event for event in room.events if isinstance(event, RunStarted))
    assert room.stop(qtbot)[1] < STOPPED_S
    return started


# ---- tasks ----


def test_the_report_tells_each_image_and_comes_back_whole(qtbot, room, data):
    room.start(Report(data=data))
    assert room.wait_for_end(qtbot) is JobState.FINISHED
    report = room.results[0]
    assert isinstance(report, DataReport)
    assert room.events[-1] == ScanStep(6, 6, report.images[-1].image_id)
    assert report.cells.sum() > 0
    assert not report.errors


def test_a_finished_training_returns_its_summary(room, finished):
    assert room.results[0].reason is StopReason.FINISHED
    assert room.results[0].checkpoint == finished / "best.safetensors"


def test_two_models_are_compared_in_the_engine(qtbot, room, data, finished):
    model = finished / "best.safetensors"
    room.start(Compare(data=data, old=model, new=model, device="cpu", image_ids=["tissue_01"]))
    assert room.wait_for_end(qtbot) is JobState.FINISHED, room.errors
    comparison = room.results[0]
    assert isinstance(comparison, Comparison)
    assert [image.image_id for image in comparison.images] == ["tissue_01"]
    assert comparison.gained == comparison.lost == 0


# ---- stop ----


def test_stop_while_the_engine_starts(qtbot, data, tmp_path):
    room = EngineRoom()
    train(room, data, tmp_path / "run")
    felt, stopped = room.stop(qtbot)
    assert felt < FELT_S
    assert stopped < STOPPED_S

    qtbot.waitUntil(lambda: room.engine.process_id is None or not room.process.children(), timeout=60_000)
    room.close()
    assert room.engine.process_id is None
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "stage",
    [
        StepDone,
        *(pytest.param(stage, marks=pytest.mark.slow) for stage in (RunStarted, ValidationStep, CheckpointSaved)),
    ],
)
def test_stop_in_each_stage_of_a_training_which_then_goes_on(qtbot, room, data, tmp_path, stage):
    train(room, data, tmp_path / "run")
    room.wait_for(qtbot, stage)
    felt, stopped = room.stop(qtbot)
    assert felt < FELT_S
    assert stopped < STOPPED_S
    resumes(qtbot, room, data, tmp_path / "run")


def test_stop_while_the_training_is_paused(qtbot, room, data, tmp_path):
    train(room, data, tmp_path / "run")
    room.wait_for(qtbot, StepDone)
    room.job.pause()
    qtbot.waitUntil(lambda: room.job.state is JobState.PAUSED, timeout=60_000)
    felt, stopped = room.stop(qtbot)
    assert felt < FELT_S
    assert stopped < STOPPED_S
    resumes(qtbot, room, data, tmp_path / "run")


def test_stop_while_the_data_are_looked_through(qtbot, room, tmp_path):
    many = tissue(tmp_path / "many", images=60, side=96)
    room.start(Report(data=many))
    room.wait_for(qtbot, ScanStep)
    felt, stopped = room.stop(qtbot)
    assert felt < FELT_S
    assert stopped < STOPPED_S
    assert room.events[-1].image < 60


def test_stop_while_two_models_are_compared(qtbot, room, data, finished):
    model = finished / "best.safetensors"
    room.start(
        Compare(data=data, old=model, new=model, device="cpu", image_ids=[f"tissue_0{1 + i % 6}" for i in range(300)])
    )
    room.wait_for(qtbot, ComparisonStep)
    felt, stopped = room.stop(qtbot)
    assert felt < FELT_S
    assert stopped < STOPPED_S


@pytest.mark.slow  # by default, twenty of a shorter task: test_gui_jobs
@pytest.mark.parametrize("cycles", [2, 20])
def test_quick_starts_and_stops_leave_no_process_no_thread_and_nothing_stuck(qtbot, data, tmp_path, cycles):
    processes, threads = set(psutil.Process().children(recursive=True)), set(threading.enumerate())
    room = EngineRoom()
    for i in range(cycles):
        train(room, data, tmp_path / f"run{i}")
        qtbot.wait(i * 137 % 1000)
        if i % 3 == 1:
            room.job.pause()
        assert max(room.stop(qtbot)) < STOPPED_S
        assert len(set(psutil.Process().children(recursive=True)) - processes) <= 1
    train(room, data, tmp_path / "last")
    room.wait_for(qtbot, StepDone)
    room.stop(qtbot)
    room.close()

    assert wait_until(lambda: set(psutil.Process().children(recursive=True)) <= processes)
    assert wait_until(lambda: set(threading.enumerate()) <= threads), threading.enumerate()


# ---- what goes wrong ----


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_killed_engine_is_one_clear_message_and_the_run_can_be_resumed(qtbot, room, data, tmp_path):
    train(room, data, tmp_path / "run")
    room.wait_for(qtbot, CheckpointSaved)
    killed = room.process
    killed.kill()

    assert room.wait_for_end(qtbot) is JobState.FAILED
    assert len(room.errors) == 1
    assert isinstance(room.errors[0], EngineError)
    assert "was killed from outside" in str(room.errors[0])
    assert "Resume th" in str(room.errors[0])

    assert resumes(qtbot, room, data, tmp_path / "run").first_epoch >= 1
    assert room.engine.process_id != killed.pid  # None where the stop took so long that it was killed too
    assert not list((tmp_path / "run").glob(".*.tmp"))


@contextmanager
def limited(process, which, value):
    before = process.rlimit(which)
    process.rlimit(which, (value, before[1]))
    try:
        yield
    finally:
        if process.is_running():
            process.rlimit(which, before)


@pytest.mark.slow
@linux
def test_running_out_of_memory_is_one_clear_message_and_the_next_run_works(qtbot, room, data, tmp_path):
    large = tissue(tmp_path / "large", images=4, side=512)
    hungry = tiny_config(augment__crop=1024, optimizer__batch=16, data__views=16, data__workers=0)
    train(room, data, tmp_path / "first")
    room.wait_for(qtbot, StepDone)
    room.stop(qtbot)
    process = room.process

    with limited(process, psutil.RLIMIT_AS, process.memory_info().vms + 300 * 2**20):
        train(room, large, tmp_path / "hungry", hungry)
        assert room.wait_for_end(qtbot) is JobState.FAILED
    assert len(room.errors) == 1
    assert isinstance(room.errors[0], TrainingError | EngineError)
    assert "not enough" in str(room.errors[0]), room.errors[0].details
    assert "memory" in str(room.errors[0])

    train(room, data, tmp_path / "next")
    room.wait_for(qtbot, CheckpointSaved)
    assert room.process != process  # oneDNN does not recover from it
    room.stop(qtbot)


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of 40 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted as root on Linux")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_clear_message_nothing_saved_is_lost_and_the_run_goes_on(qtbot, room, data, small_disk):
    folder = small_disk / "run"
    train(room, data, folder)
    room.wait_for(qtbot, CheckpointSaved)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

    assert room.wait_for_end(qtbot) is JobState.FAILED
    assert len(room.errors) == 1
    assert isinstance(room.errors[0], CellSegError)
    assert "No space left on device" in str(room.errors[0]) or "disk is full" in str(room.errors[0])
    assert str(folder) in str(room.errors[0])
    assert not list(folder.glob(".*.tmp"))
    epoch = read_state(folder / "last.pt")["progress"]["epoch"]

    filler.unlink()
    assert resumes(qtbot, room, data, folder).first_epoch == epoch


@pytest.mark.slow  # by default, a full disk
@linux
def test_a_file_that_may_not_grow_is_one_clear_message(qtbot, room, data, tmp_path):
    train(room, data, tmp_path / "run")
    room.wait_for(qtbot, CheckpointSaved)
    with limited(room.process, psutil.RLIMIT_FSIZE, 100_000):
        assert room.wait_for_end(qtbot) is JobState.FAILED
    assert len(room.errors) == 1
    assert "File too large" in str(room.errors[0])
    resumes(qtbot, room, data, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_when_the_viewer_is_killed_the_training_saves_itself_and_ends(qtbot, room, data, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from training_settings import tiny_config\n"
        "from napari_cellseg.engine_process.client import EngineClient\n"
        "from napari_cellseg.engine_process.tasks import Train\n"
        "from napari_cellseg.events import StepDone\n"
        "client = EngineClient()\n"
        "data, folder = map(Path, sys.argv[1:])\n"
        "run = Train(config=tiny_config(epochs=1000), data=data, run_folder=folder).on(client.run)\n"
        "next(e for e in run if isinstance(e, StepDone))\n"
        "print(client.process_id, flush=True)\n"
        "for _ in run: pass\n"
    )
    command = [sys.executable, "-c", script, data, tmp_path / "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer:
        engine = psutil.Process(int(viewer.stdout.readline()))
        viewer.kill()

    assert wait_until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE)
    resumes(qtbot, room, data, tmp_path / "run")


# ---- two engines ----


def test_a_prediction_runs_while_a_training_does(qtbot, room, data, finished, tmp_path):
    segment = EngineRoom()
    train(room, data, tmp_path / "run")
    room.wait_for(qtbot, StepDone)
    item = PredictItem("a", generate_tissue((128, 128), 20)[0], None)
    options = PredictOptions(checkpoint=finished / "best.safetensors", device="cpu")
    segment.start(Predict(items=[item], options=options))
    assert segment.wait_for_end(qtbot) is JobState.FINISHED, segment.errors
    assert any(isinstance(event, ImageDone) for event in segment.events)

    steps = len(room.events)
    qtbot.waitUntil(lambda: len(room.events) > steps, timeout=60_000)
    assert room.job.state is JobState.RUNNING
    room.stop(qtbot)
    segment.close()
