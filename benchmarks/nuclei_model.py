"""Data and finish of the bundled model `nuclei`; its model card lists the commands between them.

    python benchmarks/nuclei_model.py data dsb2018 --out nuclei
    python benchmarks/nuclei_model.py second dsb2018 --out nuclei --split runs/first/split.json
    python benchmarks/nuclei_model.py weights runs/first --out first.safetensors
    python benchmarks/nuclei_model.py finish runs/second --out nuclei.safetensors --data nuclei \
        --split runs/first/split.json

``data`` divides the training part of the Data Science Bowl 2018 images into ``train`` and, drawn per modality with a
seed, ``heldout`` (also per modality). ``second`` writes ``train-second``: the training images of the first run, rare
modalities more often. ``weights`` writes the running average of the weights where a run ended or was stopped.
``finish`` adds score thresholds from the validation images of the first run, and metrics from the held-out images with
these thresholds.
Folders contain links. Without arguments, the script shows on drawn images that it works.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_cellseg.events import drive
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.checkpoint import (
    CheckpointHeader,
    CheckpointMetadata,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from training.dataset import find_samples, read_sample
from training.evaluate import evaluate
from training.report import scan
from training.resume import read_state
from training.validation import truth_of

HELD_OUT = {"fluorescence": 44, "purple-tissue": 7, "purple-on-white": 5, "brightfield-gray": 4}
FIRST = {"fluorescence": 1, "purple-tissue": 2, "purple-on-white": 2, "brightfield-gray": 4}
SECOND = {"fluorescence": 1, "purple-tissue": 4, "purple-on-white": 4, "brightfield-gray": 6}
"""How many times each image of a modality is in the training folder of the first and of the second run."""

Cells = dict[str, InstanceMasks]


def modalities(data: Path) -> dict[str, list[str]]:
    """Return the image_ids of the training part of each modality, sorted."""
    found = defaultdict(list)
    with (data / "images.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train":
                found[row["modality"]].append(row["image_id"])
    return {modality: sorted(names) for modality, names in sorted(found.items())}


def held_out(data: Path, seed: int) -> dict[str, list[str]]:
    """Return the held-out image_ids of each modality."""
    rng = np.random.default_rng(seed)
    return {
        modality: sorted(rng.permutation(names)[: HELD_OUT[modality]].tolist())
        for modality, names in modalities(data).items()
    }


def link(data: Path, target: Path, name: str, *, times: int = 1) -> None:
    """Put an image with its label image into a training folder, under as many names."""
    for number in range(1, times + 1):
        folder = target / (f"{name}_{number}" if number > 1 else name)
        folder.mkdir(parents=True)
        for file in ("image.tif", "class1.tif"):
            (folder / file).symlink_to((data / "train" / name / file).resolve())
    shutil.copyfile(data / "classes.json", target / "classes.json")


def write_data(data: Path, out: Path, seed: int) -> None:
    """Write the folders train, heldout and heldout-MODALITY."""
    held = held_out(data, seed)
    for modality, names in modalities(data).items():
        for name in names:
            if name in held[modality]:
                link(data, out / "heldout", name)
                link(data, out / f"heldout-{modality}", name)
            else:
                link(data, out / "train", name, times=FIRST[modality])


def write_second(data: Path, out: Path, split: Path) -> None:
    """Write the folder train-second from the training images of a run."""
    trained = {name.partition("_")[0] for name in json.loads(split.read_text())["train"]}
    for modality, names in modalities(data).items():
        for name in sorted(trained.intersection(names)):
            link(data, out / "train-second", name, times=SECOND[modality])


def predicted(model: CellMaskRCNN, folder: Path, names: Iterable[str] = ()) -> tuple[Cells, Cells]:
    """Return ground truth and predicted cells of images of a training folder, in fp32; of all without names."""
    options = PredictOptions(precision="fp32", test_time_augmentation="off")
    predictor = Predictor(model, None, Device("cpu", "always"), options)
    wanted, truth, found = set(names), {}, {}
    for sample in find_samples(folder).samples:
        if wanted and sample.image_id not in wanted:
            continue
        image = read_sample(sample)
        truth[sample.image_id] = truth_of(image)
        found[sample.image_id] = drive(predictor.image(image.rgb))
    return truth, found


def averaged(run: Path) -> tuple[CellMaskRCNN, CheckpointHeader]:
    """Return the best model of a run with its last running average of the weights instead."""
    model, header = load_checkpoint(run / "best.safetensors")
    average: Mapping[str, Tensor] = read_state(run / "last.pt")["averaged"]
    prefix = "module."
    model.load_state_dict({name.removeprefix(prefix): value for name, value in average.items() if prefix in name})
    return model, header


def write_weights(run: Path, out: Path) -> None:
    """Write a model file to start another run from."""
    model, header = averaged(run)
    save_checkpoint(out, model, CheckpointMetadata(name=run.name, statistics=header.statistics))


def finish(run: Path, out: Path, data: Path, split: Path) -> None:
    """Write the model file, and print its metrics on the held-out images."""
    divided = json.loads(split.read_text())
    validation = {name for name in divided["validation"] if "_" not in name}
    trained = {name for name in divided["train"] if "_" not in name}
    model, header = averaged(run)
    known = {name: getattr(header, name) for name in CheckpointMetadata.model_fields}
    report = scan(data / "train")
    known |= {"name": "nuclei", "statistics": report.statistics(sorted(trained))}
    save_checkpoint(out, model, CheckpointMetadata(**known))
    model = load_checkpoint(out)[0]  # rounded as in the file
    chosen = evaluate(*predicted(model, data / "train", validation), model.config.classes).thresholds
    result = evaluate(*predicted(model, data / "heldout"), model.config.classes, min_scores=chosen)
    known |= {"thresholds": tuple(chosen.values()), "metrics": result.flat()}
    known["provenance"] = {
        **header.provenance,
        "data": "dsb2018",
        "steps": read_state(run / "last.pt")["progress"]["step"],
        "train_images": len(trained),
        "train_cells": sum(int(image.cells.sum()) for image in report.images if image.image_id in trained),
        "validation_images": len(validation),
        "held_out_images": len(find_samples(data / "heldout").samples),
        "metrics": "of the held-out images, with score thresholds of the validation images",
    }
    save_checkpoint(out, model, CheckpointMetadata(**known))
    print(result.table())
    print("score threshold", chosen, "statistics", read_header(out).statistics)


def show() -> None:
    """Divide drawn images."""
    with tempfile.TemporaryDirectory() as scratch:
        data, out = Path(scratch) / "drawn", Path(scratch) / "out"
        write_training_folder(data, 8, (64, 64))
        names = sorted(path.name for path in (data / "train").iterdir() if path.is_dir())
        kinds = [list(HELD_OUT)[i % 4] for i in range(len(names))]
        for name in names:
            shutil.copyfile(next((data / "train" / name).glob("class*.tif")), data / "train" / name / "class1.tif")
        rows = [f"{name},train,{kind}" for name, kind in zip(names, kinds, strict=True)]
        (data / "images.csv").write_text("image_id,split,modality\n" + "\n".join(rows) + "\n")
        HELD_OUT.update(dict.fromkeys(HELD_OUT, 1))
        write_data(data, out, seed=2018)
        print({folder.name: sum(path.is_dir() for path in folder.iterdir()) for folder in sorted(out.iterdir())})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=("data", "second", "weights", "finish"))
    parser.add_argument("source", type=Path, nargs="?", help="the data set, or for weights and finish a run folder")
    parser.add_argument("--out", type=Path, help="folder, or for weights and finish the model file")
    parser.add_argument("--data", type=Path, help="for finish: the folder of the task data")
    parser.add_argument("--split", type=Path, help="split.json of the first run")
    parser.add_argument("--seed", type=int, default=2018)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.task == "data":
        write_data(options.source, options.out, options.seed)
    elif options.task == "second":
        write_second(options.source, options.out, options.split)
    elif options.task == "weights":
        write_weights(options.source, options.out)
    elif options.task == "finish":
        finish(options.source, options.out, options.data, options.split)
    else:
        show()


if __name__ == "__main__":
    main()
