"""Every function that reads a file, with a sound file for it and the ways to damage one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import fuzz_mutators as mutators
import numpy as np
import tifffile
from fuzz_gate import CLASSES, Gate, written
from fuzz_image_gates import IMAGE_GATES
from fuzz_import_gates import IMPORT_GATES
from fuzz_model_gates import MODEL_GATES

from napari_cellseg.instances import InstanceMasks

SIZE = (96, 120)


def cells(count: int = 6) -> InstanceMasks:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-7:8, -7:8]
    masks = [y * y + x * x <= r * r for r in rng.integers(3, 8, count)]
    offsets = np.stack([rng.integers(0, SIZE[1] - 15, count), rng.integers(0, SIZE[0] - 15, count)], 1)
    return InstanceMasks.from_crops(SIZE, offsets, masks, rng.integers(1, 4, count), rng.random(count, np.float32))


def review_cells() -> list[Any]:
    from napari_cellseg.review import Status, cells_from

    return cells_from(cells(), Status.ACCEPTED, "ana", 1e9)


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


def cell_stores(folder: Path) -> list[bytes]:
    from napari_cellseg.formats.cell_store import CellStore
    from napari_cellseg.formats.tile_cells import TileCells

    found = []
    for number in (1, 2):
        path = folder / f"{number}.cells"
        count = 12 * number
        with CellStore.create(path, SIZE, {"made_from": {"tile": 64}}) as store:
            every = TileCells.of_tile(0, cells(count), np.ones((count, 3), np.int64))
            store.add({0: "done", 1: "glass"}, every.select(np.arange(8)), every.select(np.arange(8, 12)))
            store.finish()
        found.append(path.read_bytes())
    return found


def read_cell_store(path: Path) -> object:
    from napari_cellseg.formats.cell_store import CellStore

    with CellStore.open(path, read_only=True) as store:
        shown = store.in_box((0, 0, 60, 60))
        return store.facts, store.tiles(), store.counts(), list(store.best_first(5)), store.pieces(), shown


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
    Gate("cell-store", cell_stores, read_cell_store, mutators.mutate_bytes, 400, "slide.cells"),
    *MODEL_GATES,
    *IMAGE_GATES,
    *IMPORT_GATES,
)
"""Together more than ten thousand cases."""


SHARE = 50
"""The default suite runs every fiftieth case."""


def share_cases() -> list[tuple[Gate, int]]:
    """Return the cases of the default suite; all of them run in one child. A whole model takes too long to build."""
    return [(gate, case) for gate in GATES if gate.name != "model" for case in range(max(4, gate.cases // SHARE))]
