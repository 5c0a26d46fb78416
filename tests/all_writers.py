"""Every writer of the project: each writes its files for a version, 1 or 2, into a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch
from faults import SCRATCH
from matplotlib.figure import Figure
from model_cases import tiny_config
from review_actions import some_cells

from napari_cellseg.atomic import export_write, file_set, replace_folder, write_errors
from napari_cellseg.batch import write_submission
from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.demo import write_samples
from napari_cellseg.commands.samples import write_samples as write_annotated_samples
from napari_cellseg.events import drive
from napari_cellseg.export import EXPORTER_NAMES, ExportItem, ExportPlan, export_folder
from napari_cellseg.export.exporter import ExportJob
from napari_cellseg.export.exporters import exporters_of
from napari_cellseg.export.stream import CellBatch, StreamedImage, write_streamed
from napari_cellseg.formats.coco import write_image_ids
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.images.listing import ImageFile
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.importers.result import Imported, ImportedImage, LeftOut
from napari_cellseg.importers.write import write_training_folder as write_import
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.checkpoint import save_checkpoint
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.model.network.build import build_model
from napari_cellseg.review import ReviewSession, Status, cells_from
from napari_cellseg.workspace.annotations import Annotations, summarise, write_annotations
from napari_cellseg.workspace.kept_edits import keep_edits
from napari_cellseg.workspace.project_file import write_classes
from training.config import TrainConfig
from training.evaluate import evaluate
from training.examples import write_examples
from training.experiment import Result, Variant
from training.experiment import _write as _write_experiment
from training.past_runs import _write_note
from training.plots import save_figure
from training.resume import write_state
from training.run_folder import RunFolder
from training.sources import write_annotated
from training.split import Split
from training.validation import Example

SIZE = (64, 64)
CLASSES = ClassTable(("a", "b", "c", "d"))
Write = Callable[[Path, int], object]


def cells_of(version: int) -> InstanceMasks:
    """Return cells of classes 1, 2, 3 (version 1), or of 1 and 4 and more of them."""
    found = some_cells(8 + 4 * version, version, SIZE)
    kinds = (1, 2, 3) if version == 1 else (1, 4)
    return replace(found, class_ids=np.resize(np.array(kinds, np.int32), len(found)))


def annotations_of(version: int) -> Annotations:
    cells = tuple(cells_from(cells_of(version), Status.ACCEPTED, "ana", 0.0))
    return Annotations(
        image_size=SIZE, classes=CLASSES, cells=cells, min_scores={}, next_id=len(cells) + 1, revision=f"r{version}"
    )


def items_of(version: int) -> list[ExportItem]:
    path = SCRATCH / f"image{version}" / "a.tif"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(version).integers(0, 255, (*SIZE, 3), np.uint8)
        tifffile.imwrite(path, pixels, photometric="rgb")
    return [ExportItem(ImageFile("a", path), lambda: annotations_of(version))]


def export(name: str) -> Write:
    return lambda folder, version: list(
        export_folder(items_of(version), CLASSES, ExportPlan(folder=folder, formats=frozenset({name})))
    )


def streamed(name: str) -> Write:
    """Return a writer of a format whose cells come in batches, as those of a slide do."""
    (exporter,) = exporters_of([name])

    def batches(version: int, colours: bool) -> Iterator[CellBatch]:
        cells = cells_of(version)
        cells = replace(cells, label_values=np.arange(1, len(cells) + 1))
        sums = np.tile(np.int64(version), (len(cells), 3)) if colours else None
        for half in (np.arange(len(cells)) < 5, np.arange(len(cells)) >= 5):
            yield CellBatch(cells.select(half), None if sums is None else sums[half])

    def write(folder: Path, version: int) -> None:
        job = ExportJob(ExportPlan(folder=folder, formats=frozenset({name})), CLASSES, None)
        image = StreamedImage(
            file=items_of(version)[0].file,
            number=1,
            size=SIZE,
            count=len(cells_of(version)),
            pixel_size_um=lambda: 0.25,
            batches=partial(batches, version),
            limits={},
        )
        drive(write_streamed([exporter], job, [image]))

    return write


def labels(folder: Path, version: int) -> object:
    return write_class_images(folder, cells_of(version), keep="always")


def annotations(folder: Path, version: int) -> None:
    now = annotations_of(version)
    write_annotations(folder / "a.jsonl", now, summarise(now.cells, {}, saved_at=1.0))


def image_ids(folder: Path, version: int) -> None:
    write_image_ids(folder / "ids.json", [ImageId(f"{i}.tif", i, *SIZE) for i in range(5 * version)])


def several(folder: Path, version: int) -> None:
    def blob(letter: bytes) -> bytes:
        return letter * (3000 * version)

    with export_write(folder / "one.bin") as file:
        file.write(blob(b"1"))
    with write_errors(folder), file_set() as files:
        for name in ("a.bin", "b.bin"):
            with files.open(folder / name) as file:
                file.write(blob(name.encode()))
        if version == 2 and (folder / "gone.bin").exists():
            files.remove(folder / "gone.bin")
    if version == 1:
        with export_write(folder / "gone.bin") as file:
            file.write(b"gone")


def whole_folder(folder: Path, version: int) -> None:
    new = folder / f".out.{version:08x}.tmp"
    with write_errors(folder):
        new.mkdir()
        for name in ("a.bin", "b.bin")[:version]:
            with export_write(new / name, keep="never") as file:
                file.write(name.encode() * 1000 * version)
        replace_folder(new, folder / "out")


def model_file(version: int) -> Path:
    path = SCRATCH / f"model{version}.safetensors"
    if not path.exists():
        torch.manual_seed(version)
        save_checkpoint(path, build_model(tiny_config()))
    return path


def library(folder: Path, version: int) -> None:
    ModelLibrary(folder).import_file(model_file(version), f"model {version}")


def library_export(folder: Path, version: int) -> None:
    models = ModelLibrary(SCRATCH / "library")
    kept = SCRATCH / "library" / "imported" / f"m{version}.safetensors"
    if not kept.exists():  # before any fault: main() calls this first
        models.import_file(model_file(version), kept.stem)
    (entry,) = [entry for entry in models.entries() if entry.path == kept]
    models.export_file(entry, folder / "model.safetensors", overwrite=True)


def state(folder: Path, version: int) -> None:
    write_state(folder / "last.pt", {"weights": torch.full((20_000,), float(version)), "epoch": version})


def run_folder(folder: Path, version: int) -> None:
    run = RunFolder(folder)
    run.write(run.config, "epochs: 1\n" * version)
    run.write_metrics([{"epoch": epoch, "loss": 0.5} for epoch in range(1, 40 * version)])
    TrainConfig.preset("lite", CLASSES).with_changes(epochs=version).save(folder / "settings.yaml")
    Split(("a",) * version, ("b",), 0, 0.5).save(run.split)


def training_data(folder: Path, version: int) -> None:
    list(write_annotated(folder / "training", items_of(version), CLASSES))


def figure(folder: Path, version: int) -> None:
    drawn = Figure(figsize=(1, 1))
    drawn.subplots().plot([0, version], [version, 0])
    save_figure(drawn, folder / "losses.png")


def imported(folder: Path, version: int) -> None:
    """Write what an importer found: an image, its classes, and a row that was left out."""
    pixels = np.full((*SIZE, 3), version, np.uint8)
    images = tuple(ImportedImage(name, None, cells_of(version), lambda: pixels) for name in ("a", "b")[:version])
    left_out = (LeftOut("a.json", 3, "a", "its polygon has 2 points"),) * version
    found = Imported(
        source=folder, format_name="x", images=images, classes=CLASSES, left_out=left_out, notes=(), rows=0
    )
    list(write_import(found, folder))


def kept_edits(folder: Path, version: int) -> None:
    session = ReviewSession(SIZE, CLASSES, annotations_of(version).cells, user="ana")
    keep_edits(folder / "a.jsonl", annotations_of(3 - version), session, version)


def examples(folder: Path, version: int) -> None:
    found = evaluate({"a": cells_of(version)}, {"a": cells_of(version)}, CLASSES)
    example = Example("a", np.full((*SIZE, 3), version, np.uint8), cells_of(version), cells_of(version))
    write_examples(folder, 1, [example], found, CLASSES)


def experiment(folder: Path, version: int) -> None:
    rows = tuple({"epoch": float(epoch), "train_loss": 1.0 / epoch} for epoch in range(1, 3 + version))
    variant = Variant(f"lr={version}", {"lr": float(version)})
    result = Result(variant=variant, epochs=3, best_epoch=2, metrics={"ap50": 0.5}, seconds=9.0, rows=rows)
    _write_experiment(folder, [result] * version)


STREAMED = [exporter.name for exporter in exporters_of(EXPORTER_NAMES) if exporter.stream is not None]
WRITERS: dict[str, Write] = {
    **{f"export {name}": export(name) for name in EXPORTER_NAMES},
    **{f"streamed {name}": streamed(name) for name in STREAMED},
    "imported annotations": imported,
    "kept edits": kept_edits,
    "examples": examples,
    "experiment": experiment,
    "run note": lambda folder, version: _write_note(folder, {"data": "x" * 40 * version}),
    "annotated samples": lambda folder, version: write_annotated_samples(folder, version, SIZE),
    "submission": lambda folder, version: list(write_submission(items_of(version), CLASSES, folder, None)),
    "class images": labels,
    "annotations": annotations,
    "classes": lambda folder, version: write_classes(folder, ClassTable(("a", "b", "c")[: version + 1])),
    "image ids": image_ids,
    "file set": several,
    "folder": whole_folder,
    "model library": library,
    "model export": library_export,
    "training state": state,
    "run folder": run_folder,
    "figure": figure,
    "training data": training_data,
    "training folder": lambda folder, version: write_training_folder(folder, 1, (48, 48), seed=version),
    "demo samples": lambda folder, version: write_samples(folder) if version else None,
}
FOLDERS = {"folder", "training data", "export ome-zarr"}
"""What replaces a whole folder: killed between two renames, the old one is there as ``.bak``."""
OWN_FOLDER = {"annotations", "classes"}
"""Files below ``.cellseg``, which no one else writes."""
