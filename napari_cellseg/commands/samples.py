"""``napari-cellseg samples``: writes synthetic tissue images with their annotations, to try things on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run", "write_samples"]


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser("samples", help="write synthetic sample images with annotations, to try things on")
    parser.add_argument("--out", type=Path, default=Path("samples"), metavar="DIR", help="default: samples")
    parser.add_argument("--images", type=int, default=4, metavar="N", help="annotated images (default: 4)")
    parser.add_argument("--size", type=int, default=256, metavar="PX", help="height and width (default: 256)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the samples."""
    from napari_cellseg.atomic import heard_replaced
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.wording import counted, replaced_text

    if not 1 <= options.images <= 1000 or not 32 <= options.size <= 4096:
        raise ConfigError(
            f"--images {options.images} --size {options.size}: 1 to 1000 images of 32 to 4096 px can be drawn."
        )
    with heard_replaced() as replaced:
        write_samples(options.out, options.images, (options.size, options.size))
    if replaced:
        print(replaced_text(replaced, options.out), file=sys.stderr)
    print(f"{counted(options.images, 'annotated image')} -> {options.out / 'train'}, 1 more -> {options.out / 'test'}")
    return 0


def write_samples(folder: Path, images: int, size: tuple[int, int], seed: int = 0) -> None:
    """Write ``train/<image_id>/`` with annotations, ``classes.json``, and in ``test`` one more image and its id file.

    Raises
    ------
    ExportError
        A file cannot be written.
    """
    import tifffile

    from napari_cellseg.atomic import export_write, write_errors
    from napari_cellseg.formats.coco_images import ImageId, write_image_ids
    from napari_cellseg.formats.ids import IDS_NAME
    from napari_cellseg.images.samples import generate_tissue, write_training_folder

    with write_errors(folder):
        (folder / "test").mkdir(parents=True, exist_ok=True)
        write_training_folder(folder, images, size, seed)
    name = f"tissue_{images + 1:02d}.tif"
    rgb, _ = generate_tissue(size, max(4, size[0] * size[1] // 1800), seed + images)
    with export_write(folder / "test" / name) as file:
        tifffile.imwrite(file, rgb, photometric="rgb", compression="zlib", metadata=None)
    write_image_ids(folder / "test" / IDS_NAME, [ImageId(name, 1, *size)])
