"""The gates of models and runs: checkpoints, settings, resume states, and what a run folder holds."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from pathlib import Path
from random import Random
from typing import Any

import fuzz_mutators as mutators
from fuzz_gate import CLASSES, Gate, written

from napari_cellseg.errors import ConfigError


def model_config() -> Any:
    from napari_cellseg.model.config import ModelConfig

    changes = {
        "backbone__name": "test_efficientnet",
        "fpn__channels": 16,
        "box_head__hidden": 16,
        "mask_head__channels": 8,
    }
    return ModelConfig.preset("lite", CLASSES).with_changes(**changes)


def checkpoints(folder: Path) -> list[bytes]:
    import torch

    from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint

    class Model:
        config = model_config()

    weights = {"a.weight": torch.randn(4, 3), "a.bias": torch.randn(4), "n": torch.tensor(3)}
    metadata = CheckpointMetadata(name="x", metrics={"ap50": 0.5}, thresholds=(0.1, 0.2, 0.3), provenance={"data": "x"})
    return [written(folder, "a.safetensors", lambda path: save_checkpoint(path, Model(), metadata, weights=weights))]


def whole_models(folder: Path) -> list[bytes]:
    from napari_cellseg.model.checkpoint import save_checkpoint
    from napari_cellseg.model.network.build import build_model

    return [written(folder, "m.safetensors", lambda path: save_checkpoint(path, build_model(model_config())))]


def mutate_checkpoint(data: bytes, rng: Random) -> bytes:
    """Damage bytes, or settings, tensor table or tensors with a right checksum."""
    from napari_cellseg.model.checkpoint import _KEY, _digest

    kind = rng.randrange(10)
    if kind <= 2:
        return mutators.mutate_bytes(data, rng)
    (length,) = struct.unpack("<Q", data[:8])
    table, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    described = json.loads(table.pop("__metadata__")[_KEY])
    if kind <= 6:
        part = rng.choice(("config", "config", "metrics", "thresholds", None))
        if part is None or not isinstance(described.get(part), dict):
            described = mutators.mutate_value(described, rng)
        else:
            described[part] = mutators.mutate_value(described[part], rng)
    elif kind <= 8:
        table = mutators.mutate_value(table, rng)
    else:
        tensors = mutators.mutate_bytes(tensors, rng)
    if isinstance(described, dict) and isinstance(table, dict):
        with contextlib.suppress(ValueError, RecursionError):
            described["sha256"] = _digest(described, table, tensors)
        table["__metadata__"] = {"format": "pt", _KEY: mutators.dump(described).decode()}
    text = mutators.dump(table)
    return struct.pack("<Q", len(text)) + text + tensors


def read_weights(path: Path) -> object:
    from napari_cellseg.model.checkpoint import load_weights

    return load_weights(path)


def read_model(path: Path) -> object:
    from napari_cellseg.model.checkpoint import load_checkpoint

    return load_checkpoint(path)


def run_settings(folder: Path) -> list[bytes]:  # noqa: ARG001
    from training.config import TrainConfig

    return [TrainConfig.preset("lite", CLASSES).to_yaml().encode()]


def read_settings(path: Path) -> object:
    from training.config import TrainConfig

    return TrainConfig.load(path)


def states(folder: Path) -> list[bytes]:
    import torch

    from training.resume import random_state, write_state

    state = {"config": {"a": 1}, "model": {"w": torch.randn(3, 4)}, "progress": {"epoch": 1}, "random": random_state()}
    return [written(folder, "last.pt", lambda path: write_state(path, state))]


def mutate_state(data: bytes, rng: Random) -> bytes:
    """Damage bytes, members, or values with a right checksum."""
    if rng.random() < 0.7:
        return mutators.mutate_zip(mutators.mutate_bytes)(data, rng)
    import torch

    content = torch.load(io.BytesIO(data), weights_only=True)
    content = mutators.mutate_value(content, rng)
    if rng.random() < 0.3:
        content = {"version": 1, "sha256": "x", "state": {"w": torch.zeros(1).expand(10**12)}}
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def read_resume(path: Path) -> object:
    from training.resume import read_state

    return read_state(path)


def splits(folder: Path) -> list[bytes]:  # noqa: ARG001
    return [b'{"train": ["a", "b"], "validation": ["c"], "seed": 3, "fraction": 0.2}']


def read_split(path: Path) -> object:
    from training.split import Split

    return Split.load(path)


def group_tables(folder: Path) -> list[bytes]:  # noqa: ARG001
    return [b"image_id,group\na,1\nb,1\nc,2\n"]


def read_group_table(path: Path) -> object:
    from training.split import read_groups

    return read_groups(path)


def metric_tables(folder: Path) -> list[bytes]:  # noqa: ARG001
    return [b"epoch,step,train_loss,ap50\n1,10,0.5,0.1\n2,20,0.4,\n3,30,0.3,0.3\n"]


def read_metrics(path: Path) -> object:
    from training.history import RunHistory
    from training.run_folder import RunFolder

    RunHistory.of_folder(path.parent)
    return RunFolder(path.parent).read_metrics()


def event_logs(folder: Path) -> list[bytes]:  # noqa: ARG001
    rows = [
        {"event": "RunStarted", "time": 1e9, "first_epoch": 1, "epochs": 5},
        {"event": "StepDone", "time": 1e9, "epoch": 1, "losses": {"loss": 1.5}},
        {"event": "EpochDone", "time": 1e9, "epoch": 2},
    ]
    return [b"\n".join(mutators.dump(row) for row in rows) + b"\n"]


def past_run(path: Path) -> object:
    from training.past_runs import unfinished

    folder = path.parent
    for name, text in (("viewer.json", '{"data": "x"}'), ("last.pt", "x"), ("config.yaml", "x")):
        if not (folder / name).exists():
            (folder / name).write_text(text)
    run = unfinished(folder.parent)
    return run and str(run)


def notes(folder: Path) -> list[bytes]:  # noqa: ARG001
    return [b'{"data": "/data/x", "forgotten": false}']


def noted_run(path: Path) -> object:
    from training.past_runs import unfinished

    folder = path.parent
    (folder / "last.pt").write_text("x")
    (folder / "config.yaml").write_text("x")
    (folder / "events.jsonl").write_bytes(event_logs(folder)[0])
    run = unfinished(folder.parent)
    return run and str(run)


def read_set_value(path: Path) -> object:
    """The command line's ``--set name=value``."""
    from napari_cellseg.commands.train import _setting

    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ConfigError("no text") from None
    return _setting("a=" + text)


def set_values(folder: Path) -> list[bytes]:  # noqa: ARG001
    return [b"4", b"[1, 2]", b"{a: 1}"]


MODEL_GATES = (
    Gate("checkpoint", checkpoints, read_weights, mutate_checkpoint, 500, "a.safetensors"),
    Gate("model", whole_models, read_model, mutate_checkpoint, 60, "m.safetensors"),
    Gate("run-settings", run_settings, read_settings, mutators.mutate_yaml, 500, "config.yaml"),
    Gate("set-option", set_values, read_set_value, mutators.mutate_yaml, 200, "value"),
    Gate("resume-state", states, read_resume, mutate_state, 400, "last.pt"),
    Gate("split", splits, read_split, mutators.mutate_json, 200, "split.json"),
    Gate("groups", group_tables, read_group_table, mutators.mutate_table, 200, "groups.csv"),
    Gate("metrics", metric_tables, read_metrics, mutators.mutate_table, 200, "run/metrics.csv", refuses=False),
    Gate("events", event_logs, past_run, mutators.mutate_lines, 250, "run/events.jsonl", refuses=False),
    Gate("run-note", notes, noted_run, mutators.mutate_json, 150, "run/viewer.json", refuses=False),
)
