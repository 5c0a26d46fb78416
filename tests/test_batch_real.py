"""*Batch* with the real engine process and a real (tiny) network: its results equal those of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tifffile
import torch
from model_cases import TINY
from napari.components import ViewerModel

from napari_cellseg.cli import main
from napari_cellseg.formats.coco import ImageId, read_image_ids, write_image_ids
from napari_cellseg.formats.coco_results import check_results
from napari_cellseg.gui import docks
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.build import build_model

SIZE = (128, 160)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "test"
    folder.mkdir()
    for seed, name in enumerate("ab"):
        tifffile.imwrite(folder / f"{name}.tif", generate_tissue(SIZE, 12, seed=seed)[0], photometric="rgb")
    write_image_ids(
        folder / "test_image_name_to_ids.json", [ImageId(f"{n}.tif", i, *SIZE) for i, n in enumerate("ab", 7)]
    )
    return folder


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(**TINY, detection__min_score=0.0)
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, build_model(config), CheckpointMetadata(name="tiny", thresholds=(0.2,) * 4))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)  # the engine gives way to everything else on a busy machine
def test_a_folder_with_a_broken_image_gives_the_results_of_the_command(qtbot, folder, model_file, tmp_path):
    (folder / "broken.tif").write_bytes((folder / "a.tif").read_bytes()[:3000])
    viewer = ViewerModel()
    dock = docks.Batch(viewer)
    qtbot.addWidget(dock)
    try:
        dock.model.choose(model_file)
        dock.opener.open_path(folder, image_id="b")
        qtbot.waitUntil(lambda: dock.state.image_id == "b" and dock.button.isEnabled(), timeout=60_000)
        dock.button.click()
        qtbot.waitUntil(lambda: dock.batch.job.state is JobState.RUNNING, timeout=400_000)
        dock.row.pause_button.click()
        qtbot.waitUntil(lambda: dock.batch.job.state is not JobState.PAUSING, timeout=60_000)
        dock.batch.job.resume()
        qtbot.waitUntil(lambda: not dock.batch.job.is_busy, timeout=400_000)
        assert dock.batch.job.state is JobState.FINISHED
        assert list(dock.batch.failures) == ["broken"]
        assert "cut off" in dock.batch.failures["broken"]
        assert dock.state.session.cells

        qtbot.waitUntil(lambda: dock.results.write.isEnabled(), timeout=60_000)
        dock.results.folder.setText(str(tmp_path / "out"))
        dock.results.write.click()
        qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
        _, *arguments = dock.results.command()
    finally:
        plugin_of(viewer).close()

    ids = read_image_ids(folder / "test_image_name_to_ids.json")
    written = tmp_path / "out" / "test-results.json"
    assert check_results(written, ids, len(TISSUE_CLASSES)) == []
    (folder / "broken.tif").unlink()
    arguments = [each.replace(str(tmp_path / "out"), str(tmp_path / "command")) for each in arguments]
    assert main([*arguments, "--quiet"]) == 0
    by_mask = [
        sorted(
            json.loads(path.read_text()), key=lambda row: (row["image_id"], row["segmentation"]["counts"], row["score"])
        )
        for path in (written, tmp_path / "command" / "test-results.json")
    ]
    assert by_mask[0] == by_mask[1]
    assert len(by_mask[0]) > 0
