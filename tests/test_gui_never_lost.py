"""Edits are never lost: a killed viewer and a full disk, in a real window."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue, write_training_folder
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions

pytestmark = [pytest.mark.gui, pytest.mark.skipif(os.name != "posix", reason="kill -9 and tmpfs are of POSIX systems")]

PROGRAM = Path(__file__).with_name("viewer_session.py")


def said(line: str) -> dict[str, Any] | None:
    return json.loads(line[5:]) if line.startswith("SAYS ") and line.endswith("\n") else None


def viewer(what: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parent)}
    command = [sys.executable, str(PROGRAM), what, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_viewer_killed_in_the_middle_of_edits_offers_them_again(tmp_path: Path) -> None:
    write_training_folder(tmp_path, 1, (96, 96))
    folder = tmp_path / "train"
    originals = {path: path.read_bytes() for path in folder.rglob("*.tif")}
    with Sessions.of_folder(folder) as workspace:  # something to decide about
        workspace.set_classes(TISSUE_CLASSES)
        session = workspace.open_session("tissue_01", (96, 96))
        session.set_status(tuple(session.cells), Status.PROPOSED)
        workspace.save("tissue_01")

    first = viewer("edit", folder)
    assert first.stdout is not None
    told = []
    while len(told) < 25:
        line = first.stdout.readline()
        assert line, "the viewer ended unexpectedly"
        told += [fact for fact in [said(line)] if fact is not None]
    killed = time.time()
    first.send_signal(signal.SIGKILL)
    told += [fact for line in first.stdout.readlines() if (fact := said(line)) is not None]
    first.wait()

    second = viewer("reopen", folder)
    output, _ = second.communicate(timeout=200)
    (recovered,) = [fact for line in output.splitlines(keepends=True) if (fact := said(line)) is not None]

    states = [fact["state"] for fact in told]
    assert recovered["state"] in states
    place = len(states) - 1 - states[::-1].index(recovered["state"])
    assert all(fact["at"] > killed - 2 for fact in told[place + 1 :]), "at most the last two seconds"
    assert recovered["edits"] >= 20
    assert killed - 60 < recovered["last_at"] < killed + 1
    assert {path: path.read_bytes() for path in originals} == originals


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount is not None and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_clear_message_and_nothing_is_lost(qtbot: Any, small_disk: Path) -> None:
    from napari.components import ViewerModel
    from napari.utils.notifications import notification_manager

    from napari_cellseg.gui import docks
    from napari_cellseg.gui.plugin import plugin_of

    rgb, _ = generate_tissue((96, 96), 4, 1)
    tifffile.imwrite(small_disk / "a.tif", rgb, photometric="rgb")
    model = ViewerModel()
    plugin = plugin_of(model)
    state, opener = plugin.state, plugin.opener
    dock = docks.Review(model)
    qtbot.addWidget(dock)
    opener.open_path(small_disk)
    qtbot.waitUntil(lambda: state.session is not None, timeout=60_000)
    session = state.session
    draw(session, 3)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass  # full
    notification_manager.records.clear()

    draw(session, 40)
    assert not opener.save()

    messages = [str(record.message) for record in notification_manager.records]
    assert len(messages) == 1, messages
    assert "No space left" in messages[0]
    qtbot.waitUntil(lambda: "journal" in state.workspace.problem, timeout=60_000)
    qtbot.waitUntil(lambda: "No space left" in dock.saved.text(), timeout=60_000)
    assert "43 edits not saved" in dock.saved.text()
    assert len(session.cells) == 43

    filler.unlink()
    qtbot.waitUntil(lambda: not state.workspace.problem, timeout=60_000)
    assert opener.save()
    plugin.close()
    with Sessions.of_folder(small_disk) as workspace:
        assert len(workspace.open_session("a", (96, 96)).cells) == 43


def draw(session: Any, count: int) -> None:
    for i in range(count):
        y, x = 2 * (i % 40), 2 * (i // 40)
        session.add(1, (x, y, x + 2, y + 2), np.ones((2, 2), bool))
