"""Model files: everything round-trips, and a damaged, foreign or dangerous file gives one clear message."""

from __future__ import annotations

import json
import os
import struct

import pytest
import torch
from model_cases import draw_image, draw_target, tiny_config
from safetensors.torch import save_file

from napari_cellseg.errors import CheckpointError
from napari_cellseg.model.checkpoint import (
    CheckpointMetadata,
    load_checkpoint,
    load_weights,
    read_header,
    save_checkpoint,
)
from napari_cellseg.model.network.build import build_model

METADATA = CheckpointMetadata(
    name="Kerne",
    metrics={"ap50": 0.51, "ap50/a": float("nan")},
    thresholds=(0.5, 0.4, 0.3),
    provenance={"data": "細胞"},
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(tiny_config(rpn__min_score=0, detection__min_score=0)).eval()


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, METADATA)
    return path


def test_the_model_comes_back_to_the_bit(model, tmp_path):
    path = tmp_path / "model.safetensors"
    written = save_checkpoint(path, model, METADATA, half=False)
    again, header = load_checkpoint(path)
    assert header == written == read_header(path)
    assert header.config == model.config
    assert header.classes.names == ("class1", "class2", "class3")
    assert header.metrics == {"ap50": 0.51}
    assert header.thresholds == (0.5, 0.4, 0.3)
    assert not again.training
    image = draw_image(draw_target((64, 64), 5))
    ours, theirs = model.detect([image])[0], again.detect([image])[0]
    assert len(ours) > 0
    assert torch.equal(ours.boxes, theirs.boxes)
    assert torch.equal(ours.mask_probs, theirs.mask_probs)


def test_the_header_of_a_replaced_file_is_read_again(model, saved):
    assert read_header(saved).name == "Kerne"
    save_checkpoint(saved, model, METADATA.model_copy(update={"name": "Zellen"}))
    assert read_header(saved).name == "Zellen"
    saved.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_header(saved)


def test_half_precision_halves_the_file_and_comes_back_as_float32(model, saved, tmp_path):
    full = tmp_path / "full.safetensors"
    save_checkpoint(full, model, half=False)
    assert saved.stat().st_size < 0.6 * full.stat().st_size
    state, _ = load_weights(saved)
    assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {torch.float32}
    for name, tensor in model.state_dict().items():
        assert torch.allclose(state[name].float(), tensor.float(), rtol=1e-3, atol=1e-6), name


def test_values_too_large_for_half_precision_stay_whole(model, tmp_path):
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = "roi_heads.box_predictor.cls_score.weight"
    weights[name][0, 0] = 1e6
    save_checkpoint(tmp_path / "m.safetensors", model, weights=weights)
    assert load_weights(tmp_path / "m.safetensors")[0][name][0, 0] == 1e6


def test_any_flipped_bit_is_noticed(saved):
    content = saved.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    for place in (0, 5, 8, 8 + length // 3, 8 + length, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 4
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged|not a safetensors|header|format"):
            load_checkpoint(saved)


@pytest.mark.parametrize("kept", [0, 5, 300, 0.5, 0.999])
def test_a_cut_off_file(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=r"cut off|damaged"):
        load_checkpoint(saved)


def test_a_pickle_is_refused_unopened(model, tmp_path):
    path = tmp_path / "model.safetensors"  # whatever its name says
    torch.save(model.state_dict(), path)
    for read in (read_header, load_checkpoint):
        with pytest.raises(CheckpointError, match="pickled"):
            read(path)


def foreign(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"just some text, no model", "not a safetensors"),
        (foreign(b"[" * 100_000), "not a safetensors"),
        (foreign(b"[1]"), "no settings|not a safetensors"),
        (foreign(json.dumps({"__metadata__": {"napari_cellseg": "7"}}).encode()), "no settings"),
        (foreign(json.dumps({"__metadata__": {"napari_cellseg": '{"format": 9}'}}).encode()), "format 9"),
        (foreign(json.dumps({"__metadata__": {"napari_cellseg": '{"format": 1}'}}).encode()), "config"),
        (foreign(b'{"__metadata__": {"napari_cellseg": "{\\"format\\":1,\\"config\\":{\\"classes\\":[]}}"}}'), "class"),
    ],
)
def test_what_is_no_model(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_header(path)


def test_a_safetensors_file_of_another_program(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not a model of napari-cellseg"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_weights_that_do_not_fit_the_settings(model, tmp_path):
    path = tmp_path / "m.safetensors"
    weights = dict(model.state_dict())
    weights.pop("roi_heads.box_predictor.cls_score.weight")
    save_checkpoint(path, model, weights=weights)
    with pytest.raises(CheckpointError, match="cannot be rebuilt"):
        load_checkpoint(path)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_header(path)


def test_a_failed_write_leaves_the_old_model(saved, model, monkeypatch):
    before = saved.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(saved, model)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
