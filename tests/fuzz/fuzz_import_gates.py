"""The importers of annotations: each damaged file is read as far as it goes, every row kept or counted as left out."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import fuzz_mutators as mutators
import import_writers as writers
import numpy as np
from fuzz_gate import Gate
from fuzz_image_gates import mutate_head, mutate_png
from scipy.io import savemat

ROWS = [writers.Written(4 + 9 * i, 5 + 7 * (i % 4), 6, 1 + i % 2) for i in range(6)]
Files = dict[str, bytes]


@cache
def written(name: str) -> Files:
    """Return all files of a sound source, by their places in it."""
    with TemporaryDirectory() as folder:
        writers.WRITERS[name](Path(folder), ROWS)
        return {
            p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()
        }


def read_folder(path: Path, files: Files, part: str) -> object:
    """Read the folder in which all but the damaged file are sound."""
    root = path.parents[len(Path(part).parts) - 1]
    for name, content in files.items():
        if name != part:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return read_source(root)


def read_source(path: Path) -> object:
    from napari_cellseg.importers import import_annotations

    found = import_annotations(path)
    assert found.kept + found.joined + len(found.left_out) == found.rows
    found.headline()
    for image in found.images:
        if image.pixels is not None:
            image.pixels()
    return found


def import_gate(
    name: str, part: str, mutate: mutators.Mutator, cases: int, *more: Callable[[], bytes], refuses: bool = True
) -> Gate:
    """Return the gate of one file of an importer; ``more`` make other sound contents of it.

    ``refuses`` is False for files that are known by their names: a damaged one is left out, and the rest imported.
    """

    def make(_: Path) -> list[bytes]:
        return [written(name)[part], *(content() for content in more)]

    def read(path: Path) -> object:
        return read_folder(path, written(name), part)

    return Gate(f"import-{name}", make, read, mutate, cases, part, refuses)


def coco_of_rle() -> bytes:
    with TemporaryDirectory() as folder:
        writers.coco(Path(folder), ROWS, rle=True)
        return Path(folder, "instances.json").read_bytes()


def packed_mat() -> bytes:
    file = io.BytesIO()
    numbers = np.arange(1, 7)[:, None]
    content = {"inst_map": writers.painted(ROWS)[0].astype(np.int32), "class": 1 + numbers % 2, "id": numbers}
    savemat(file, content, do_compression=True)
    return file.getvalue()


def plain_npy() -> bytes:
    file = io.BytesIO()
    np.save(file, writers.painted(ROWS)[0].astype(np.uint16))
    return file.getvalue()


def zipped_coco(_: Path) -> list[bytes]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in written("coco").items():
            archive.writestr("annotations/instances.json" if name.endswith(".json") else f"images/{name}", content)
    return [packed.getvalue()]


def read_zip(path: Path) -> object:
    import platformdirs

    try:
        return read_source(path)
    finally:
        shutil.rmtree(platformdirs.user_cache_path("napari-cellseg") / "unpacked", ignore_errors=True)


def mutate_member(data: bytes, rng: Random) -> bytes:
    return mutators.mutate_json(data, rng) if data[:1] in b"[{" else mutators.mutate_bytes(data, rng)


def mutate_xml(data: bytes, rng: Random) -> bytes:
    """Put other values into attributes, repeat or remove elements, nest deeply, define entities."""
    if rng.random() < 0.2:
        return mutators.mutate_bytes(data, rng)
    text = data.decode()
    kind = rng.randrange(8)
    if kind <= 4:
        token = rng.choice(("", "nan", "1e300", "-5e7", "x", "9" * 5000, "&#0;", "&a;", "ü", "1e400", "0x10", "'", "<"))
        places = [found.span(1) for found in re.finditer('="([^"]*)"', text)]
        for start, end in sorted(rng.sample(places, min(len(places), rng.choice((1, 1, 5)))), reverse=True):
            text = text[:start] + token + text[end:]
    elif kind == 5:
        elements = re.findall("<[^>]+>", text)
        text = text.replace(
            rng.choice(elements), rng.choice(("", "<a>", "</a>", "<!-- -->", rng.choice(elements) * 500))
        )
    elif kind == 6:
        before, end, after = text.rpartition("</")  # the end of the root, whatever its name is
        text = before + "<Region>" * 50_000 + "</Region>" * rng.choice((0, 50_000)) + end + after
    else:
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        text = text.replace("?>", "?>" + bomb, 1)
    return text.encode("utf-8", "replace")


def mutate_npy(data: bytes, rng: Random) -> bytes:
    """Damage bytes, or the text of the header: type, order and shape."""
    found = re.search(rb"\{'descr'.*?\}", data[:400])
    if found is None or rng.random() < 0.5:
        return mutators.mutate_bytes(data, rng)
    header = found[0]
    if rng.random() < 0.5:
        shape: tuple[Any, ...] = (b"()", b"(1,)", b"(10**9,)", b"(4000000000, 4000000000)", b"(-1, 5)", b"('a',)", b"(" * 500,
                                  b"(3, 2, 48, 64, 6)", b"(0, 48, 64, 6)", b"(100000, 48, 64, 6)", b"(1e3,)", b"None")  # fmt: skip
        header = re.sub(rb"\(.*\)", lambda _: rng.choice(shape), header)
    else:
        kinds = (
            b"'|O'",
            b"'<U9'",
            b"'|V8'",
            b"'<M8[s]'",
            b"'<f2'",
            b"'<c16'",
            b"'|b1'",
            b"'<i8'",
            b"[('a', '<f8')]",
            b"5",
            b"'x'",
        )
        header = re.sub(rb"'[<|>][a-zA-Z]\d*'", lambda _: rng.choice(kinds), header)
    size = len(found[0])
    return data[: found.start()] + header[:size].ljust(size) + data[found.end() :]


IMPORT_GATES = (
    import_gate("coco", "instances.json", mutators.mutate_json, 500, coco_of_rle),
    import_gate("datumaro", "d.json", mutators.mutate_json, 250),
    import_gate("via", "via.json", mutators.mutate_json, 250),
    import_gate("via3", "via_project.json", mutators.mutate_json, 250),
    import_gate("label-studio", "project.json", mutators.mutate_json, 250),
    import_gate("cvat", "annotations.xml", mutate_xml, 250),
    import_gate("labelme", "a.json", mutators.mutate_json, 250),
    import_gate("geojson", "a.geojson", mutators.mutate_json, 250),
    import_gate("imagej", "a.zip", mutators.mutate_zip(mutators.mutate_bytes), 250),
    import_gate("aperio", "a.xml", mutate_xml, 250),
    import_gate("mat", "Labels/a.mat", mutate_head, 400, packed_mat),
    import_gate("pannuke", "masks/fold1/masks.npy", mutate_npy, 150, refuses=False),
    import_gate("cellpose", "a_seg.npy", mutate_npy, 300, plain_npy, refuses=False),
    import_gate("bowl", "abc/masks/0.png", mutate_png, 200, refuses=False),
    import_gate("labels", "s/a_class1.tif", mutators.mutate_tiff, 200, refuses=False),
    Gate("import-zip", zipped_coco, read_zip, mutators.mutate_zip(mutate_member), 250, "export.zip"),
)
