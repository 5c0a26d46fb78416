"""The statistics of the pyramid's norms: of training crops in a new model, and of the last steps in a trained one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_setup import run, tiny_config, tissue

from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.network.norms import stored_norms
from training.prepare import _check_settings

SHORT = {"max_steps": 1, "epochs": 1, "validation__examples": 0}


@pytest.fixture(scope="module")
def new_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    run(tiny_config(**SHORT), tissue(folder / "data"), folder / "run")
    return folder / "run" / "best.safetensors"


def statistics(path: Path) -> list[torch.Tensor]:
    norms = stored_norms(load_checkpoint(path)[0])
    return [values for norm in norms for values in (norm.running_mean, norm.running_var)]


def test_a_new_model_gets_the_statistics_of_training_crops(new_model: Path) -> None:
    norms = stored_norms(load_checkpoint(new_model)[0])
    assert len(norms) == 8
    assert all(norm.calibrated for norm in norms)


def test_training_from_a_model_moves_its_statistics_slowly(new_model: Path, tmp_path: Path) -> None:
    config = tiny_config(**SHORT, start_from=str(new_model), seed=5)
    run(config, tissue(tmp_path / "data", side=160), tmp_path / "run")
    pairs = list(zip(statistics(new_model), statistics(tmp_path / "run" / "best.safetensors"), strict=True))
    assert not any(torch.equal(old, new) for old, new in pairs)
    assert all(torch.allclose(old, new, rtol=0.2, atol=0.2 * float(old.abs().max())) for old, new in pairs)


def test_training_with_the_stored_statistics_leaves_them_and_trains_the_weights(
    new_model: Path, tmp_path: Path
) -> None:
    config = tiny_config(**SHORT, start_from=str(new_model), seed=5, optimizer__norm_statistics="stored")
    run(config, tissue(tmp_path / "data", side=160), tmp_path / "run")
    trained = tmp_path / "run" / "best.safetensors"
    assert all(torch.equal(old, new) for old, new in zip(statistics(new_model), statistics(trained), strict=True))
    weights = [[norm.weight for norm in stored_norms(load_checkpoint(path)[0])] for path in (new_model, trained)]
    assert not any(torch.equal(old, new) for old, new in zip(*weights, strict=True))


def test_a_run_of_an_older_version_can_be_resumed() -> None:
    config = tiny_config(model__fpn__norm="group", model__rpn__cap_side=768)
    old = config.model_dump(mode="json")
    old["model"]["fpn"]["norm"] = True
    del old["model"]["rpn"]["cap_side"]
    _check_settings(config, old)
