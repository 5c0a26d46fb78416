"""Write the pixel size and the statistics of its training images into the header of a model file.

Training does this for every new model; this script is for older models, such as the bundled one:

    python benchmarks/describe_model.py napari_cellseg/model/weights/lite-consep.safetensors \
        --data consep --pixel-size 0.25 --without train_02 train_08 train_16 train_24 train_27

Without arguments it is shown on a copy of that model, with drawn images.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from training.report import scan


def describe(path: Path, data: Path, pixel_size_um: float, without: Sequence[str] = ()) -> None:
    """Write the header of a model file again."""
    model, header = load_checkpoint(path)
    report = scan(data, reading=header.config.reading)
    statistics = report.statistics([i.image_id for i in report.images if i.image_id not in without])
    model.config = header.config.with_changes(pixel_size_um=pixel_size_um)
    known = {name: getattr(header, name) for name in CheckpointMetadata.model_fields}
    written = save_checkpoint(path, model, CheckpointMetadata(**{**known, "statistics": statistics}))
    print(written.statistics, written.sha256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, help="training folder or COCO file")
    parser.add_argument("--pixel-size", type=float, metavar="UM")
    parser.add_argument("--without", nargs="*", default=[], metavar="ID", help="images that it was not trained on")
    options = parser.parse_args()
    if options.model is not None:
        if options.data is None or options.pixel_size is None:
            parser.error("a model needs --data and --pixel-size")
        describe(options.model, options.data, options.pixel_size, options.without)
        return
    with tempfile.TemporaryDirectory() as scratch:
        data, copy = Path(scratch) / "data", Path(scratch) / "model.safetensors"
        write_training_folder(data, images=2, size=(256, 256))
        shutil.copyfile(bundled(), copy)
        describe(copy, data, 0.25)


if __name__ == "__main__":
    main()
