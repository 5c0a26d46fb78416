"""Write the pixel size and the statistics of its training images into the header of a model file.

Training does this for every new model; this script is for older models, such as the bundled one:

    python benchmarks/describe_model.py napari_cellseg/model/weights/lite-consep.safetensors \
        --data consep --pixel-size 0.25 --without train_02 train_08 train_16 train_24 train_27
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_cellseg.model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from training.report import scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="training folder or COCO file")
    parser.add_argument("--pixel-size", type=float, required=True, metavar="UM")
    parser.add_argument("--without", nargs="*", default=[], metavar="ID", help="images that it was not trained on")
    options = parser.parse_args()
    model, header = load_checkpoint(options.model)
    report = scan(options.data, reading=header.config.reading)
    statistics = report.statistics([i.image_id for i in report.images if i.image_id not in options.without])
    model.config = header.config.with_changes(pixel_size_um=options.pixel_size)
    known = {name: getattr(header, name) for name in CheckpointMetadata.model_fields}
    written = save_checkpoint(options.model, model, CheckpointMetadata(**{**known, "statistics": statistics}))
    print(written.statistics, written.sha256)


if __name__ == "__main__":
    main()
