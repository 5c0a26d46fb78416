"""The readers of images that are no TIFF: PNG, JPEG, BMP, JPEG 2000 and OME-Zarr."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import fuzz_mutators as mutators
import imagecodecs
import numpy as np
from fuzz_gate import Gate
from PIL import Image

SIZE = (48, 64)


def pixels(kind: type = np.uint8, channels: int = 3) -> Any:
    shape = SIZE if channels == 1 else (*SIZE, channels)
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind)


def read(path: Path) -> object:
    from napari_cellseg.images.formats import image_size, read_image

    size = image_size(path)
    image = read_image(path)
    image.rgb()
    assert image.size == size
    return image


def by_pillow(name: str, *images: Any, **options: Any) -> Callable[[Path], list[bytes]]:
    def make(_: Path) -> list[bytes]:
        found = []
        for image in images:
            file = io.BytesIO()
            (image() if callable(image) else Image.fromarray(image)).save(file, name, **options)
            found.append(file.getvalue())
        return found

    return make


def pngs(folder: Path) -> list[bytes]:
    plain = [pixels(), pixels(channels=1), pixels(channels=4), pixels(channels=1) > 99]
    made = by_pillow("PNG", *plain, lambda: Image.fromarray(pixels()).quantize(16))(folder)
    return [*made, imagecodecs.png_encode(pixels(np.uint16)), imagecodecs.png_encode(pixels(np.uint16, 1))]


def jpeg2000s(_: Path) -> list[bytes]:
    kinds = (pixels(), pixels(channels=1), pixels(np.uint16))
    made = [imagecodecs.jpeg2k_encode(kind, codecformat="jp2") for kind in kinds]
    return [*made, imagecodecs.jpeg2k_encode(pixels(), codecformat="j2k")]


def mutate_png(data: bytes, rng: Random) -> bytes:
    """Damage bytes, or chunks with a right checksum: sizes, types, palettes, packed data, bombs."""
    if rng.random() < 0.3:
        return mutators.mutate_bytes(data, rng)
    chunks, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    number = rng.randrange(len(chunks))
    name, content = chunks[number]
    kind = rng.randrange(6)
    if kind <= 1:
        chunks[0] = (b"IHDR", mutate_header(chunks[0][1], rng))
    elif kind == 2:
        chunks[number] = (name, mutators.mutate_bytes(content, rng))
    elif kind == 3:
        del chunks[number]
    elif kind == 4:
        chunks.insert(number, rng.choice((*chunks, (b"tRNS", b"\xff" * 999), (b"zTXt", zlib.compress(bytes(10**7))))))
    else:
        chunks[number] = (name, zlib.compress(bytes(rng.choice((0, 10**4, 10**7)))))
    packed = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return data[:8] + packed


def mutate_header(content: bytes, rng: Random) -> bytes:
    out = bytearray(content)
    if rng.random() < 0.6:
        place = rng.choice((0, 4))
        out[place : place + 4] = struct.pack(">I", rng.choice((*mutators.NUMBERS, 30_000, 100_000)))
    else:
        out[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 255))
    return bytes(out)


def mutate_head(data: bytes, rng: Random) -> bytes:
    """Damage bytes, mostly among the first two hundred, where sizes and types are."""
    if rng.random() < 0.4:
        return mutators.mutate_bytes(data, rng)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(min(len(out), 200))
        order, width = rng.choice("<>"), rng.choice("BHI")
        number = rng.choice((*mutators.NUMBERS, rng.randrange(2**16))) & (256 ** struct.calcsize(width) - 1)
        part = struct.pack(order + width, number)
        out[place : place + len(part)] = part
    return bytes(out)


# ---- a folder ----


@cache
def zarr_files(version: str) -> dict[str, bytes]:
    """Return the files of a sound OME-Zarr image, by their places in it."""
    import zarr

    with TemporaryDirectory() as folder:
        root = Path(folder, "a.zarr")
        group = zarr.open_group(root, mode="w", zarr_format=2 if version == "0.4" else 3)
        group.create_array("0", shape=(3, *SIZE), dtype="u1", chunks=(1, *SIZE))[...] = pixels().transpose(2, 0, 1)
        described = {
            "version": version,
            "axes": [{"name": "c", "type": "channel"}]
            + [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"],
            "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5, 0.5]}]}],
        }
        group.attrs.update({"multiscales": [described]} if version == "0.4" else {"ome": {"multiscales": [described]}})
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def zarr_gate(version: str, part: str, mutate: mutators.Mutator, cases: int) -> Gate:
    def read_folder(path: Path) -> object:
        root = next(parent for parent in path.parents if parent.name == "a.zarr")
        for name, content in zarr_files(version).items():
            if name != part:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
        return read(root)

    name = f"zarr-{version}-{part.replace('/', '-')}"
    return Gate(name, lambda _: [zarr_files(version)[part]], read_folder, mutate, cases, f"a.zarr/{part}")


IMAGE_GATES = (
    Gate("png", pngs, read, mutate_png, 500, "a.png"),
    Gate("jpeg", by_pillow("JPEG", pixels(), pixels(channels=1)), read, mutate_head, 300, "a.jpg"),
    Gate(
        "bmp",
        by_pillow("BMP", pixels(), pixels(channels=1), lambda: Image.fromarray(pixels()).quantize(16)),
        read,
        mutate_head,
        300,
        "a.bmp",
    ),
    Gate("jpeg2000", jpeg2000s, read, mutate_head, 400, "a.jp2"),
    zarr_gate("0.5", "zarr.json", mutators.mutate_json, 200),
    zarr_gate("0.5", "0/zarr.json", mutators.mutate_json, 200),
    zarr_gate("0.5", "0/c/0/0/0", mutators.mutate_bytes, 80),
    zarr_gate("0.4", ".zattrs", mutators.mutate_json, 100),
    zarr_gate("0.4", "0/.zarray", mutators.mutate_json, 100),
)
