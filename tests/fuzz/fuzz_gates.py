"""Every function that reads a file, with a sound file for it and the ways to damage one."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import fuzz_mutators as mutators
import numpy as np
import tifffile
from fuzz_gate import Gate
from fuzz_image_gates import IMAGE_GATES
from fuzz_import_gates import IMPORT_GATES

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.instances import InstanceMasks

SIZE = (96, 120)
CLASSES = ClassTable(("a", "b", "c"))


def cells(count: int = 6) -> InstanceMasks:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-7:8, -7:8]
    masks = [y * y + x * x <= r * r for r in rng.integers(3, 8, count)]
    offsets = np.stack([rng.integers(0, SIZE[1] - 15, count), rng.integers(0, SIZE[0] - 15, count)], 1)
    return InstanceMasks.from_crops(SIZE, offsets, masks, rng.integers(1, 4, count), rng.random(count, np.float32))


def review_cells() -> list[Any]:
    from napari_cellseg.review import Status, cells_from

    return cells_from(cells(), Status.ACCEPTED, "ana", 1e9)


def written(folder: Path, name: str, write: Callable[[Path], object]) -> bytes:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return path.read_bytes()


# ---- images ----


def tiffs(folder: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (*SIZE, 3), np.uint8)
    grey = rng.integers(0, 4000, SIZE, np.uint16)
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (rgb, {"photometric": "rgb", "compression": c})
        for c in (None, "zlib", "lzw", "jpeg", "zstd", "webp", "jpeg2000", "packbits")
    ]
    kinds += [
        (rgb, {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}),
        (grey, {"predictor": True, "compression": "lzw"}),
    ]
    kinds += [
        (np.stack([grey] * 3), {"imagej": True}),
        (np.stack([grey] * 3), {"ome": True, "metadata": {"axes": "ZYX"}}),
    ]
    kinds += [
        (rng.random(SIZE).astype(np.float32), {"bigtiff": True}),
        (rgb[..., 0] > 99, {}),
        (np.stack([grey] * 4), {"metadata": None}),
    ]
    return [
        written(folder, f"{i}.tif", lambda path, p=p, o=o: tifffile.imwrite(path, p, **o))
        for i, (p, o) in enumerate(kinds)
    ]


def read_image(path: Path) -> object:
    from napari_cellseg.images.read import read_size, read_tiff

    image = read_tiff(path)
    image.rgb(0)
    return image, read_size(path)


def label_images(folder: Path) -> list[bytes]:
    from napari_cellseg.formats.label_images import from_instances

    painted = from_instances(cells(), [1])[1]
    kinds = [
        (painted.astype(t), c)
        for t, c in ((np.float64, "zlib"), (np.uint16, "lzw"), (np.int32, None), (np.uint8, "zstd"))
    ]
    return [
        written(folder, f"{i}.tif", lambda path, p=p, c=c: tifffile.imwrite(path, p, compression=c))
        for i, (p, c) in enumerate(kinds)
    ]


def read_labels(path: Path) -> object:
    from napari_cellseg.formats.label_images import read_label_image, to_instances

    label_image = read_label_image(path)
    return to_instances({1: label_image}, (label_image.shape[0], label_image.shape[1]))


# ---- COCO and other formats ----


def image_ids() -> tuple[Any, ...]:
    from napari_cellseg.formats.coco import ImageId

    return ImageId("a.tif", 1, *SIZE), ImageId("b.tif", 2, 30, 40)


def datasets(folder: Path) -> list[bytes]:
    from napari_cellseg.formats.coco import CocoDataset, write_dataset

    data = CocoDataset(image_ids(), CLASSES, {1: cells()})
    return [
        written(folder, f"{p}.json", lambda path, p=p: write_dataset(path, data, polygons=p)) for p in (False, True)
    ]


def read_coco(path: Path) -> object:
    from napari_cellseg.formats.coco import read_dataset

    return read_dataset(path)


def results(folder: Path) -> list[bytes]:
    from napari_cellseg.formats.coco import result_rows, write_results

    return [write_results(folder / "results", result_rows(cells(), 1), image_ids()).read_bytes()]


def zipped_results(folder: Path) -> list[bytes]:
    results(folder)
    return [(folder / "results" / "test-results.zip").read_bytes()]


def read_rows(path: Path) -> object:
    from napari_cellseg.formats.coco import check_results, read_results

    check_results(path, image_ids(), 3)
    return read_results(path, image_ids())


def id_files(folder: Path) -> list[bytes]:
    from napari_cellseg.formats.coco import write_image_ids

    return [written(folder, "ids.json", lambda path: write_image_ids(path, image_ids()))]


def read_ids(path: Path) -> object:
    from napari_cellseg.formats.coco import read_image_ids

    return read_image_ids(path)


def roi_zips(folder: Path) -> list[bytes]:
    from napari_cellseg.export.imagej import write_rois

    return [written(folder, "rois.zip", lambda path: write_rois(path, review_cells(), CLASSES))]


def read_roi_zip(path: Path) -> object:
    from napari_cellseg.export.imagej import read_rois

    return read_rois(path, SIZE, CLASSES)


def geojsons(folder: Path) -> list[bytes]:
    from napari_cellseg.export.geojson import write_geojson

    return [written(folder, "a.geojson", lambda path: write_geojson(path, review_cells(), CLASSES))]


def read_qupath(path: Path) -> object:
    from napari_cellseg.export.geojson import read_geojson

    return read_geojson(path, SIZE, CLASSES)


# ---- a project ----


def annotation_files(folder: Path) -> list[bytes]:
    from napari_cellseg.workspace.annotations import Annotations, summarise, write_annotations

    kept = tuple(review_cells())
    annotations = Annotations(
        image_size=SIZE,
        classes=CLASSES,
        cells=kept,
        min_scores={1: 0.5},
        next_id=9,
        revision="abc",
        labels={"class1.tif": (5, 6)},
    )
    return [written(folder, "a.jsonl", lambda path: write_annotations(path, annotations, summarise(kept, {})))]


def read_saved(path: Path) -> object:
    from napari_cellseg.errors import CellSegError
    from napari_cellseg.review import ReviewSession
    from napari_cellseg.workspace.annotations import read_annotations, read_header

    with contextlib.suppress(CellSegError):
        read_header(path)
    found = read_annotations(path, SIZE)
    found.instances()
    try:
        return ReviewSession(SIZE, found.classes, found.cells, user="ana", next_id=found.next_id)
    except CellSegError:  # a class that the table lacks
        return read_annotations(path)


def journals(folder: Path) -> list[bytes]:  # noqa: ARG001
    from napari_cellseg.review import Change, ChangeKind
    from napari_cellseg.workspace.annotations import Annotations
    from napari_cellseg.workspace.journal import change_record, pack, start_record

    kept = review_cells()
    base = Annotations(image_size=SIZE, classes=CLASSES, cells=tuple(kept[:3]), revision="abc")
    changes = [Change(text="Add", kind=ChangeKind.DO, pairs=((None, cell),)) for cell in kept[3:]]
    changes.append(Change(text="Undo", kind=ChangeKind.UNDO, pairs=((kept[0], None), (kept[1], kept[1]))))
    records = [start_record(base, saved=False, user="ana"), *(change_record(change, 1e9) for change in changes)]
    return [b"".join(map(pack, records))]


def read_edits(path: Path) -> object:
    from napari_cellseg.workspace.journal import read_journal

    journal = read_journal(path)
    if journal is None or not journal.changes:
        return None
    start = journal.begins_with()
    journal.recovery("a")
    return journal.replay(review_cells()[:3] if start is None else start.cells)


def project_files(folder: Path) -> list[bytes]:
    from napari_cellseg.workspace.project_file import write_classes

    return [written(folder, "project.json", lambda path: write_classes(path.parent, CLASSES))]


def read_project(path: Path) -> object:
    from napari_cellseg.workspace.project_file import read_classes

    return read_classes(path.parent, path.parent / "images" / "x")


def class_tables(folder: Path) -> list[bytes]:  # noqa: ARG001
    return [b'{"1": "a", "2": "b"}', b'["a", "b"]', json.dumps(CLASSES.to_json()).encode()]


def read_classes_json(path: Path) -> object:
    from napari_cellseg.formats.class_names import read_class_names

    return read_class_names(path)


def locks(folder: Path) -> list[bytes]:
    from napari_cellseg.workspace.lock import FolderLock

    return [written(folder, "lock.json", lambda path: FolderLock(path, "ana").acquire())]


def read_lock(path: Path) -> object:
    from napari_cellseg.workspace.lock import FolderLock

    owner = FolderLock(path, "bob").owner
    return owner and (str(owner), owner.is_gone)


def prediction_logs(folder: Path) -> list[bytes]:
    from napari_cellseg.workspace.predictions import LogEntry, PredictionLog

    log = PredictionLog(folder)
    for name in ("a", "b", "ü"):
        log.add(LogEntry(image_id=name, key="key", model="lite", stamp=(1, 2), cells=3, at=1e9))
    return [log.path.read_bytes()]


def read_log(path: Path) -> object:
    from napari_cellseg.workspace.predictions import PredictionLog

    log = PredictionLog(path.parent)
    log.path = path
    return log.entries()


# ---- models and runs ----


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


GATES = (
    Gate("image", tiffs, read_image, mutators.mutate_tiff, 1500, "a.tif"),
    Gate("label-image", label_images, read_labels, mutators.mutate_tiff, 800, "class1.tif"),
    Gate("coco", datasets, read_coco, mutators.mutate_json, 1200, "a.json"),
    Gate("results", results, read_rows, mutators.mutate_json, 900, "test-results.json"),
    Gate("results-zip", zipped_results, read_rows, mutators.mutate_zip(mutators.mutate_json), 500, "r.zip"),
    Gate("id-file", id_files, read_ids, mutators.mutate_json, 400, "ids.json"),
    Gate("roi-zip", roi_zips, read_roi_zip, mutators.mutate_zip(mutators.mutate_bytes), 700, "rois.zip"),
    Gate("geojson", geojsons, read_qupath, mutators.mutate_json, 400, "a.geojson"),
    Gate("annotations", annotation_files, read_saved, mutators.mutate_lines, 800, "a.jsonl"),
    Gate("journal", journals, read_edits, mutators.mutate_signed_lines, 700, "j.jsonl"),
    Gate("project", project_files, read_project, mutators.mutate_json, 250, "project.json"),
    Gate("classes", class_tables, read_classes_json, mutators.mutate_json, 250, "classes.json"),
    Gate("lock", locks, read_lock, mutators.mutate_json, 300, "lock.json", refuses=False),
    Gate("prediction-log", prediction_logs, read_log, mutators.mutate_lines, 300, "predictions.jsonl", refuses=False),
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
    *IMAGE_GATES,
    *IMPORT_GATES,
)
"""Together more than ten thousand cases."""


SHARE = 50
"""The default suite runs every fiftieth case."""


def share_cases() -> list[tuple[Gate, int]]:
    """Return the cases of the default suite; all of them run in one child. A whole model takes too long to build."""
    return [(gate, case) for gate in GATES if gate.name != "model" for case in range(max(4, gate.cases // SHARE))]
