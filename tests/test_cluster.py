"""Prediction on the workers of a Dask scheduler: the bytes of one machine, whatever worker did what."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason='the extra "dask" is not installed')

from command_cases import write_image, write_model
from distributed import Client, Scheduler, SpecCluster, Worker, get_worker
from test_slide import write_slide

from napari_cellseg import cli
from napari_cellseg.commands import scheduler
from napari_cellseg.commands.scheduler import lost_line
from napari_cellseg.errors import ConfigError, ImageReadError
from napari_cellseg.events import ImageDone, ImageFailed, PredictEvent, SlideDone, SlideTileDone
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference import cluster_tasks as tasks
from napari_cellseg.model.inference.cluster import Cluster
from napari_cellseg.model.inference.cluster_tasks import ModelOnDisk, Refusal
from napari_cellseg.model.inference.predict import predict
from napari_cellseg.model.inference.predict_item import PredictItem, SlideTask

SIZE = (300, 350)
DEVICE = Device("cpu", "for a test")

pytestmark = pytest.mark.usefixtures("one_thread")


def in_process(*resources: dict[str, float]) -> SpecCluster:
    """Start a scheduler and one worker for each of some resources, all in this process."""
    common = {"dashboard_address": ":0", "protocol": "inproc://"}
    workers = {
        number: {"cls": Worker, "options": {"nthreads": 1, "resources": each, "memory_limit": 0, **common}}
        for number, each in enumerate(resources)
    }
    return SpecCluster(workers=workers, scheduler={"cls": Scheduler, "options": common}, silence_logs=50)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Return the client of a scheduler with two workers in this process."""
    with in_process({}, {}) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> PredictOptions:
    model = write_model(tmp_path_factory.mktemp("model") / "model.safetensors")
    return PredictOptions(checkpoint=model, device="cpu", tile=160, overlap=40, batch=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a slide, small images, and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    write_slide(folder / "slide.tif", generate_tissue(SIZE, 40, seed=1)[0], photometric="rgb")
    for number in range(4):
        write_image(folder / f"{number}.tif", number)
    (folder / "bad.tif").write_bytes(b"no image")
    return folder


def items(folder: Path, out: Path) -> list[PredictItem]:
    """Return a slide between small images."""
    small = [PredictItem(name, folder / f"{name}.tif") for name in ("0", "1", "bad", "2", "3")]
    task = SlideTask(out / "slide.sqlite", skips_glass=False)
    return [
        *small[:2],
        PredictItem("slide", folder / "slide.tif", reading=ReadOptions(level=0), slide=task),
        *small[2:],
    ]


def facts(events: list[PredictEvent]) -> list[Any]:
    """Return of each event what does not depend on the time or the place of the store."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, ImageDone):
            cells = event.instances
            found.append((event.image, event.image_id, cells.boxes.tolist(), cells.scores.tolist()))
            found.append([mask.tobytes() for mask in cells.masks])
        elif isinstance(event, SlideDone | SlideTileDone):
            changes = {"seconds": 0, "store": Path()} if isinstance(event, SlideDone) else {"seconds_left": 0}
            found.append(replace(event, **changes))
        elif isinstance(event, ImageFailed):
            found.append(event)
    return found


def test_workers_give_the_events_and_the_bytes_of_one_process(
    client: Client, options: PredictOptions, folder: Path, tmp_path: Path
) -> None:
    here = [*predict(items(folder, tmp_path / "here"), options)]
    cluster = Cluster(client, print, threads=1)
    there = [*predict(items(folder, tmp_path / "there"), options, workers=cluster)]
    assert len([event for event in here if isinstance(event, SlideTileDone)]) == 5
    assert facts(there) == facts(here)
    assert (tmp_path / "here" / "slide.sqlite").read_bytes() == (tmp_path / "there" / "slide.sqlite").read_bytes()
    assert cluster.lost() == (0, 0)
    assert cluster.workers == 2
    cluster.close()


def test_a_stopped_run_gives_up_its_tasks_and_is_resumed_without_workers(
    client: Client, options: PredictOptions, folder: Path, tmp_path: Path
) -> None:
    chosen = items(folder, tmp_path)[2:3]
    run = predict(chosen, options, workers=Cluster(client, print, threads=1))
    while not isinstance(next(run), SlideTileDone):
        pass
    run.close()
    assert not client.futures or all(future.status == "cancelled" for future in client.futures.values())
    left = [event.tile for event in predict(chosen, options) if isinstance(event, SlideTileDone)]
    assert left == [4, 6, 8, 9]


def test_only_workers_with_the_resource_gpu_are_used_if_there_are_any(
    options: PredictOptions, folder: Path, tmp_path: Path
) -> None:
    with in_process({}, {"GPU": 1}) as workers, Client(workers) as client:
        client.wait_for_workers(2)
        cluster = Cluster(client, print, threads=1)
        events = [*predict(items(folder, tmp_path), options, workers=cluster)]
        assert sum(isinstance(event, ImageDone) for event in events) == 4
        assert cluster.workers == 1
        workers_of = client.scheduler_info()["workers"]
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
        assert {address for address, count in done.items() if count} == {
            address for address, worker in workers_of.items() if worker["resources"]
        }


@pytest.fixture
def on_worker(client: Client) -> Callable[..., Any]:
    """Return a function that runs a task on a worker."""
    return lambda task, *arguments: client.submit(task, *arguments, pure=False).result(timeout=60)


def asked(options: PredictOptions, **changes: Any) -> ModelOnDisk:
    assert options.checkpoint is not None
    model = ModelOnDisk.of(options.checkpoint, read_header(options.checkpoint), options, threads=1)
    return replace(model, **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"versions": (("napari-cellseg", "0.0.1"), ("torch", "1.0"))}, "Install the same versions everywhere"),
        ({"path": "/no/where.safetensors"}, "does not see the model /no/where.safetensors"),
        ({"sha256": "0" * 64}, "has another model under"),
    ],
)
def test_a_worker_with_another_program_or_model_refuses(
    on_worker: Callable[..., Any], options: PredictOptions, changes: dict[str, Any], told: str
) -> None:
    answer = on_worker(tasks.survey, asked(options, **changes))
    assert isinstance(answer, Refusal)
    assert told in str(answer.error)
    assert "The worker inproc://" in str(answer.error)


def test_the_model_of_the_package_may_be_installed_elsewhere_on_a_worker() -> None:
    from napari_cellseg.model.bundled import bundled

    model = ModelOnDisk.of(bundled(), read_header(bundled()), PredictOptions())
    assert model.in_package
    assert not Path(model.path).is_absolute()
    assert model.here() == bundled()


def test_an_image_that_a_worker_does_not_see_says_that_paths_must_agree(
    on_worker: Callable[..., Any], options: PredictOptions, folder: Path, tmp_path: Path
) -> None:
    gone = PredictItem("gone", tmp_path / "gone.tif")
    answer = on_worker(tasks.predict_image, asked(options), gone, (), (1, 1))
    assert isinstance(answer.error, ImageReadError)
    assert f"does not see {tmp_path / 'gone.tif'}" in str(answer.error)
    assert "under the same path" in str(answer.error)
    other = PredictItem("other", folder / "0.tif")
    answer = on_worker(tasks.predict_image, asked(options), other, (("bytes", 7), ("sha256_of_ends", "")), (1, 1))
    assert "sees another file under" in str(answer.error)
    assert "instead of 7" in str(answer.error)


def test_workers_that_compute_differently_are_refused(
    client: Client, options: PredictOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def survey(_: ModelOnDisk) -> tasks.WorkerFacts:
        return tasks.WorkerFacts("W", DEVICE, ("fp32", "bf16")[get_worker().name], "x")

    monkeypatch.setattr(tasks, "survey", survey)
    with pytest.raises(ConfigError, match="differ in device or precision"):
        next(predict([PredictItem("0", folder / "0.tif")], options, workers=Cluster(client, print)))


def test_a_scheduler_that_is_gone_fails_the_images_in_words(
    options: PredictOptions, folder: Path, tmp_path: Path
) -> None:
    with in_process({}) as workers, Client(workers) as client:
        run = predict(items(folder, tmp_path)[2:], options, workers=Cluster(client, print, threads=1))
        while not isinstance(next(run), SlideTileDone):
            pass
        workers.close()
        failed = [event.message for event in run if isinstance(event, ImageFailed)]
    assert len(failed) == 4
    assert all("start the same command again" in text for text in failed)


def test_without_the_extra_the_command_says_how_to_install_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ["predict", str(folder / "0.tif"), "--out", str(tmp_path), "--scheduler", "local:2"]
    assert cli.main(words) == 2
    assert 'pip install "napari-cellseg[dask]"' in capsys.readouterr().err


@pytest.mark.parametrize("word", ["tcp://127.0.0.1:9", "nonsense", "local:0", "missing.json"])
def test_a_scheduler_that_is_not_there_is_one_line(
    word: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scheduler, "_PATIENCE_S", 0.3)
    assert cli.main(["predict", str(folder / "0.tif"), "--out", str(tmp_path), "--scheduler", word]) == 2
    error = capsys.readouterr().err
    assert f"--scheduler {word}" in error
    assert "Traceback" not in error


def test_the_summary_names_workers_that_died() -> None:
    assert lost_line(0, 0) == ""
    assert lost_line(1, 1) == "1 worker died, and 1 task was repeated"
    assert lost_line(2, 7) == "2 workers died, and 7 tasks were repeated"
