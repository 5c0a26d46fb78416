"""Workers in processes of their own, one killed, Ctrl-C, a full disk: in the end the bytes of one process."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("distributed", reason='the extra "dask" is not installed')

import cluster_cases
import dask
from command_cases import write_image, write_model
from distributed import Client, LocalCluster
from test_slide import write_slide

from napari_cellseg.events import ImageFailed, PredictEvent
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference import cluster_tasks
from napari_cellseg.model.inference.cluster import Cluster
from napari_cellseg.model.inference.predict import predict
from napari_cellseg.model.inference.predict_item import PredictItem

pytestmark = [
    pytest.mark.slow,  # workers import torch; a minute in all
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals"),
]
SIZE = (800, 900)
LOCAL = ("--scheduler", "local:2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, a slide, and the results of one process."""
    folder = tmp_path_factory.mktemp("cluster")
    write_model(folder / "model.safetensors")
    write_slide(folder / "slide.tif", generate_tissue(SIZE, 200, seed=1)[0], photometric="rgb")
    with start(folder, "here") as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder


def start(folder: Path, out: str, *words: str, before: Callable[[], Any] = lambda: None) -> subprocess.Popen[str]:
    """Start the command on the slide, as a terminal does."""
    command = [sys.executable, "-m", "napari_cellseg.cli", "predict", str(folder / "slide.tif")]
    command += ["--out", str(folder / out), "--region", f"0,0,{SIZE[1]},{SIZE[0]}", "--to", "coco", "--json"]
    command += [
        "--checkpoint",
        str(folder / "model.safetensors"),
        "--device",
        "cpu",
        "--tile",
        "128",
        "--overlap",
        "32",
    ]

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()

    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *words], **pipes, env=environment, start_new_session=True, preexec_fn=prepare)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def exports(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if not name.startswith("cells")}


def workers_in_mid_run(process: subprocess.Popen[str], store: Path) -> Sequence[psutil.Process]:
    """Wait until some tiles are on disk; return all processes below the command's."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("model "):
            break
    log = store.with_name(f"{store.name}-wal")
    while process.poll() is None and not (log.exists() and log.stat().st_size > 100_000):
        pass
    assert process.poll() is None, "the run ended too early"
    return psutil.Process(process.pid).children(recursive=True)


def is_worker(process: psutil.Process) -> bool:
    return any("spawn_main" in word for word in process.cmdline())


def test_two_workers_give_the_bytes_of_one_process(folder: Path) -> None:
    with start(folder, "there", *LOCAL) as process:
        told, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "dashboard http://127.0.0.1:" in errors
    assert "2 workers, none died" in errors
    assert json.loads(told)["workers"] == {"died": 0, "repeated tasks": 0}
    assert contents(folder / "there") == contents(folder / "here")
    assert len(json.loads(told)["predicted"]["slide"]) > 1


def test_a_worker_killed_in_mid_run_changes_no_byte_and_is_in_the_summary(folder: Path) -> None:
    with start(folder, "killed", *LOCAL) as process:
        workers = [
            each for each in workers_in_mid_run(process, folder / "killed/cells/slide.sqlite") if is_worker(each)
        ]
        assert len(workers) == 2
        workers[0].kill()
        told, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    answer = json.loads(told)["workers"]
    assert answer["died"] == 1
    assert answer["repeated tasks"] >= 1
    assert "1 worker died, and" in errors
    assert contents(folder / "killed") == contents(folder / "here")


def test_ctrl_c_leaves_no_process_and_the_run_resumes_without_workers(folder: Path) -> None:
    with start(folder, "stopped", *LOCAL) as process:
        below = workers_in_mid_run(process, folder / "stopped/cells/slide.sqlite")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command resumes the run" in errors
    assert "Traceback" not in errors
    assert not psutil.wait_procs(below, timeout=10)[1]
    with start(folder, "stopped") as process:
        _, errors = process.communicate(timeout=300)
    assert "the run is resumed after" in errors
    assert exports(folder / "stopped") == exports(folder / "here")


def test_a_full_disk_leaves_no_process_and_the_run_resumes_with_workers(folder: Path) -> None:
    size = 200_000
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with start(
        folder, "full", *LOCAL, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit))
    ) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "Cannot write" in errors
    assert "Traceback" not in errors
    with start(folder, "full", *LOCAL) as process:
        _, errors = process.communicate(timeout=300)
    assert "the run is resumed after" in errors
    assert exports(folder / "full") == exports(folder / "here")


def test_an_image_that_kills_every_worker_fails_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_tasks, "predict_image", cluster_cases.die)
    options = PredictOptions(checkpoint=write_model(tmp_path / "model.safetensors"), device="cpu")
    items = [PredictItem("a", write_image(tmp_path / "a.tif"))]
    paths = os.pathsep.join(str(path) for path in (Path(__file__).parents[1], Path(__file__).parent))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", env={"PYTHONPATH": paths}) as workers,
        Client(workers) as client,
    ):
        cluster = Cluster(client, print, threads=1)
        events: list[PredictEvent] = [*predict(items, options, workers=cluster)]
        assert cluster.lost() == (1, 1)
    (failed,) = [event for event in events if isinstance(event, ImageFailed)]
    assert "1 worker died with this part of the image" in failed.message
    assert "--tile" in failed.message
