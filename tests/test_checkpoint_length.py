from __future__ import annotations

from pathlib import Path

import pytest
from training_setup import tiny_config

from napari_cellseg.errors import CheckpointError
from napari_cellseg.model.checkpoint import CheckpointMetadata, load_weights, save_checkpoint
from training.prepare import first_network


def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path: Path) -> None:
    """The first byte of a safetensors file is the low byte of its header's length: one file in 32 begins with 0x80."""
    model = first_network(tiny_config())
    path = tmp_path / "model.safetensors"
    for padding in range(0, 257, 8):
        save_checkpoint(path, model, CheckpointMetadata(name="x" * padding))
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    _, header = load_weights(path)
    assert header.name == "x" * padding


@pytest.mark.parametrize(
    "start", [b"\x80\x02}q\x00(X\x05", b"\x80\x04\x95\x25\x00\x00\x00\x00", b"PK\x03\x04\x00\x00\x08\x08"]
)
def test_pickles_are_still_named_as_such(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(start + bytes(200))
    with pytest.raises(CheckpointError, match="pickled"):
        load_weights(tmp_path / "model.safetensors")
