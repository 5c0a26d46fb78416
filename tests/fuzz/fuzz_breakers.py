"""The files that once broke a reader, each made by a few lines, with what must come of it now."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import fuzz_gates as gates
import fuzz_image_gates as images
import fuzz_import_gates as importing
import fuzz_mutators as mutators
import numpy as np
import tifffile
from scipy.io import savemat

Outcome = Literal["error", "value"]


@dataclass(frozen=True)
class Breaker:
    """``expected``: a clear error, or a value (what is damaged is left out). ``is_slow``: not in the default suite."""

    file_name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    expected: Outcome
    is_slow: bool = False


def sound(name: str) -> bytes:
    with TemporaryDirectory() as folder:
        return next(gate for gate in gates.GATES if gate.name == name).make(Path(folder))[-1]


def breaker(gate: str, content: Callable[[], bytes], expected: Outcome = "error", *, is_slow: bool = False) -> Breaker:
    found = next(found for found in gates.GATES if found.name == gate)
    return Breaker(found.file_name, lambda path: path.write_bytes(content()), found.read, expected, is_slow)


def dataset(**annotation: Any) -> bytes:
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 40, 1, 40, 30, 1, 30]], **annotation}
    image = {"id": 1, "file_name": "a.tif", "height": 96, "width": 96}
    return json.dumps({"images": [image], "categories": [{"id": 1, "name": "c"}], "annotations": [row]}).encode()


def rows(**changes: Any) -> bytes:
    found = json.loads(sound("results"))
    found[0] = {**found[0], **changes}
    return json.dumps(found).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def damaged_zip() -> bytes:
    data = bytearray(zipped({"test-results.json": sound("results")}))
    data[100:140] = bytes(40)
    return bytes(data)


def bomb_tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((20_000, 20_000), np.uint8), compression="zlib", rowsperstrip=20_000)
    return file.getvalue()


def tiff(tag: str, offset: int, value: int, pages: int = 1) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((pages, 16, 16, 3), np.uint8), photometric="rgb", metadata=None)
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tif:
        page = tif.pages[pages - 1]
        place = page.offset + 2 + 12 * len(page.tags) if tag == "next" else page.tags[tag].offset + offset
        data[place : place + 4] = struct.pack("<I", tif.pages[0].offset if tag == "next" else value)
    return bytes(data)


def wide_tiff() -> bytes:
    """A page larger than the shape in tifffile's own description."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((96, 120), np.uint8))
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tif:
        place = tif.pages[0].tags["ImageWidth"].offset + 8
    data[place : place + 4] = struct.pack("<I", 60_000)
    return bytes(data)


def line(gate: str, number: int, change: Callable[[Any], Any]) -> bytes:
    lines = sound(gate).split(b"\n")
    lines[number] = mutators.dump(change(json.loads(lines[number])))
    return b"\n".join(lines)


def changed(place: Any, value: Any) -> Callable[[Any], Any]:
    def change(row: Any) -> Any:
        row[place] = value
        return row

    return change


def journal(number: int, change: Callable[[Any], Any]) -> bytes:
    lines = sound("journal").splitlines()
    body = mutators.dump(change(json.loads(lines[number].partition(b" ")[2])))
    lines[number] = b"%08x %b" % (zlib.crc32(body), body)
    return b"\n".join(lines) + b"\n"


def lock(**changes: Any) -> bytes:
    return json.dumps({**json.loads(sound("lock")), **changes}).encode()


def checkpoint(
    settings: Callable[[Any], Any] = lambda d: d, table: Callable[[Any], Any] = lambda t: t, nan: bool = False
) -> bytes:
    from napari_cellseg.model.checkpoint import _KEY, _digest

    data = sound("checkpoint")
    (length,) = struct.unpack("<Q", data[:8])
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    described = settings(json.loads(header.pop("__metadata__")[_KEY]))
    header = table(header)
    if nan:
        start, end = header["a.bias"]["data_offsets"]
        tensors = tensors[:start] + struct.pack("<f", float("nan")) * ((end - start) // 4) + tensors[end:]
    described["sha256"] = _digest(described, header, tensors)
    text = json.dumps({"__metadata__": {_KEY: json.dumps(described)}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def config(group: str | None, name: str, value: Any) -> Callable[[Any], Any]:
    def change(described: Any) -> Any:
        place = described["config"] if group is None else described["config"][group]
        place[name] = value
        return described

    return change


def state(content: Callable[[], Any]) -> Callable[[], bytes]:
    def make() -> bytes:
        import torch

        file = io.BytesIO()
        torch.save(content(), file)
        return file.getvalue()

    return make


def unpickled_index() -> bytes:
    """A pickle that takes from an empty stack, in torch's own archive."""
    with zipfile.ZipFile(io.BytesIO(sound("resume-state"))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, b"\x80\x02t." if name.endswith("data.pkl") else content)
    return packed.getvalue()


def vast_tensor() -> Any:
    import torch

    return {"version": 1, "sha256": "", "state": {"w": torch.zeros(1).expand(10**12)}}


def yaml_with(text: str) -> Callable[[], bytes]:
    return lambda: sound("run-settings") + text.encode()


# ---- importers and images ----


def stored(name: str, part: str) -> bytes:
    return importing.written(name)[part]


def coco_rows(count: int) -> bytes:
    """Many cells, each of whose few characters claim nearly the whole of a large image."""
    side = 11_000
    row = {"image_id": 1, "category_id": 1, "segmentation": {"size": [side, side], "counts": [1, side * side - 1]}}
    images = [{"id": 1, "file_name": "large.tif", "height": side, "width": side}]
    rows = [{"id": number, **row} for number in range(count)]
    return json.dumps({"images": images, "categories": [{"id": 1, "name": "c"}], "annotations": rows}).encode()


def read_beside_large(path: Path) -> object:
    """Import a file next to an image whose header alone is 11,000 x 11,000 px."""
    data = io.BytesIO()
    tifffile.imwrite(data, np.zeros((16, 16), np.uint8), metadata=None)
    content = bytearray(data.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as tif:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            place = tif.pages[0].tags[tag].offset
            content[place + 2 : place + 4] = struct.pack("<H", 4)
            content[place + 8 : place + 12] = struct.pack("<I", 11_000)
    path.with_name("large.tif").write_bytes(content)
    return importing.read_source(path.parent)


def mat_bomb() -> bytes:
    """A label image of 100 MB, packed to 100 kB; its cells would take 1.3 GB to find."""
    file = io.BytesIO()
    savemat(file, {"inst_map": np.zeros((10_000, 10_000), np.uint8)}, do_compression=True)
    return file.getvalue()


def type_map() -> bytes:
    file = io.BytesIO()
    labels = importing.writers.painted(importing.ROWS)[0]
    savemat(file, {"inst_map": labels, "type_map": np.where(labels > 0, 2.0**40, 0)})
    return file.getvalue()


def noise(dtype: Any = np.uint16) -> bytes:
    """A photograph that is named like a label image: 60,000 values, each of them everywhere."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.random.default_rng(0).integers(0, 60_000, (1500, 1500), dtype))
    return file.getvalue()


def read_noise(path: Path) -> object:
    tifffile.imwrite(path.with_name("a.tif"), np.zeros((1500, 1500), np.uint8))
    return importing.read_source(path.parent)


def changed_categories(value: Any) -> bytes:
    return json.dumps({**json.loads(stored("datumaro", "d.json")), "categories": value}).encode()


def labelme_bomb() -> bytes:
    data = json.loads(stored("labelme", "a.json"))
    for shape in data["shapes"]:
        if shape["shape_type"] == "mask":
            shape["mask"] = base64.b64encode(wide_png(12_000)).decode()
    return json.dumps(data).encode()


def packed_zeros(count: int) -> bytes:
    """What zlib makes of ``count`` zeros, without packing each of them."""
    piece = 1 << 20
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(bytes(count % piece)) + packer.flush()
    return b"\x78\xda" + packed * (count // piece) + last + struct.pack(">I", (count % 65521) << 16 | 1)


def wide_png(side: int = 13_000) -> bytes:
    packed = packed_zeros(side * (1 + 3 * side))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b""))
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zarr_json(part: str, change: Callable[[Any], Any]) -> bytes:
    return mutators.dump(change(json.loads(images.zarr_files("0.5")[part])))


def multiscale(name: str, value: Any) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        data["attributes"]["ome"]["multiscales"][0][name] = value
        return data

    return change


DEEP = b"[" * 100_000 + b"]" * 100_000
BREAKERS: dict[str, Breaker] = {
    "polygon-1e300": breaker("coco", lambda: dataset(segmentation=[[1, 1, 1e300, 1, 40, 30]])),
    "polygon-5e7": breaker("coco", lambda: dataset(segmentation=[[1, 1, 5e7, 1, 40, 30]])),
    "polygon-nan": breaker("coco", lambda: dataset(segmentation=[[1, 1, float("nan"), 1, 40, 30]])),
    "polygon-long-outline": breaker("coco", lambda: dataset(segmentation=[[0, 0, 95, 95] * 50_000])),
    "polygon-of-texts": breaker("coco", lambda: dataset(segmentation=[["1", "1", "5", "1", "5", "5"]])),
    "rle-surrogate": breaker("coco", lambda: dataset(segmentation={"size": [96, 96], "counts": "0\ud800"})),
    "rle-no-counts": breaker("coco", lambda: dataset(segmentation={"size": [96, 96], "counts": None})),
    "rle-huge-box": breaker("coco", lambda: dataset(segmentation={"size": [60_000, 60_000], "counts": [0, 3_600_000_000]})
                            .replace(b'"height": 96, "width": 96', b'"height": 60000, "width": 60000')),
    "label-id-1e400": breaker("coco", lambda: dataset(label_id=10**30)),
    "dataset-duplicate-keys": breaker("coco", lambda: dataset().replace(b'"image_id": 1', b'"image_id": 1, "image_id": 2')),
    "dataset-deep": breaker("coco", lambda: DEEP),
    "dataset-5000-digits": breaker("coco", lambda: dataset().replace(b'"id": 1', b'"id": ' + b"9" * 5000)),
    "dataset-many-lists": breaker("coco", lambda: b"[" + b"[]," * 30_000_000 + b"1]", is_slow=True),
    "results-nan": breaker("results", lambda: rows(score=float("nan"))),
    "results-surrogate": breaker("results", lambda: rows(segmentation={"size": list(gates.SIZE), "counts": "\ud800"})),
    "results-size-of-objects": breaker("results", lambda: rows(segmentation={"size": [{}, []], "counts": "0"})),
    "results-zip-bomb": breaker("results-zip", lambda: zipped({"test-results.json": b"[" + b" " * 80_000_000 + b"]"})),
    "results-zip-bomb-of-lists": breaker("results-zip", lambda: zipped({"test-results.json": b"[" + b"[]," * 20_000_000 + b"1]"}), is_slow=True),
    "results-zip-damaged": breaker("results-zip", damaged_zip),
    "ids-deep": breaker("id-file", lambda: DEEP),
    "rois-damaged-zip": breaker("roi-zip", lambda: sound("roi-zip").replace(b"PK\x01\x02", b"PK\x01\xff", 1)),
    "rois-cut-roi": breaker("roi-zip", lambda: zipped({"a.roi": b"Iout\x00\xe4\x07\x00" + bytes(20)})),
    "rois-no-roi": breaker("roi-zip", lambda: zipped({"a.roi": b"text"})),
    "rois-many-corners": breaker("roi-zip", lambda: zipped({"a.roi": b"Iout\x00\xe4\x07\x00" + b"\xff" * 56})),
    "tiff-deflate-bomb": breaker("image", bomb_tiff, is_slow=True),
    "tiff-4e9-bits-per-sample": breaker("image", lambda: tiff("BitsPerSample", 4, 4_000_000_000)),
    "tiff-4e9-samples": breaker("image", lambda: tiff("SamplesPerPixel", 4, 4_000_000_000)),
    "tiff-no-strip": breaker("image", lambda: tiff("StripByteCounts", 8, 0)),
    "tiff-wider-than-described": breaker("image", wide_tiff),
    "tiff-circle-of-pages": breaker("image", lambda: tiff("next", 0, 0, pages=3)),
    "ann-text-as-id": breaker("annotations", lambda: line("annotations", 2, changed(0, "1")), "value"),
    "ann-class-1e9": breaker("annotations", lambda: line("annotations", 2, changed(1, 10**9)), "value"),
    "ann-status-list": breaker("annotations", lambda: line("annotations", 2, changed(3, [])), "value"),
    "ann-box-of-texts": breaker("annotations", lambda: line("annotations", 2, changed(7, ["a", 0, 5, 5])), "value"),
    "ann-box-huge": breaker("annotations", lambda: line("annotations", 2, changed(7, [0, 0, 10**6, 10**6])), "value"),
    "ann-min-scores-list": breaker("annotations", lambda: line("annotations", 0, changed("min_scores", [1])), "value"),
    "ann-labels-number": breaker("annotations", lambda: line("annotations", 0, changed("labels", 5)), "value"),
    "ann-version-text": breaker("annotations", lambda: line("annotations", 0, changed("version", "x")), "value"),
    "ann-deep": breaker("annotations", lambda: sound("annotations") + DEEP, "value"),
    "journal-no-base": breaker("journal", lambda: journal(0, changed("base", None)), "value"),
    "journal-text-at": breaker("journal", lambda: journal(1, changed("at", "x")), "value"),
    "journal-gone-number": breaker("journal", lambda: journal(1, changed("gone", 5)), "value"),
    "journal-put-object": breaker("journal", lambda: journal(1, changed("put", {"a": 1})), "value"),
    "journal-list": breaker("journal", lambda: journal(1, lambda _: [1]), "value"),
    "journal-unknown-cell": breaker("journal", lambda: journal(1, changed("put", [[77, 1, 1.0, "edited", 0, "", 1, None, None]]))),
    "lock-pid-minus-1": breaker("lock", lambda: lock(pid=-1), "value"),
    "lock-pid-huge": breaker("lock", lambda: lock(pid=10**30), "value"),
    "lock-since-1e300": breaker("lock", lambda: lock(since=1e300), "value"),
    "lock-wrong-types": breaker("lock", lambda: lock(host=5, user=None, process_started="x"), "value"),
    "lock-foreign": breaker("lock", lambda: b'{"name": "another program", "version": 3}', "value"),
    "lock-deep": breaker("lock", lambda: DEEP, "value"),
    "predlog-image-list": breaker("prediction-log", lambda: line("prediction-log", 0, changed("image_id", [])), "value"),
    "predlog-stamp-object": breaker("prediction-log", lambda: line("prediction-log", 0, changed("stamp", {})), "value"),
    "predlog-deep": breaker("prediction-log", lambda: DEEP, "value"),
    "project-list": breaker("project", lambda: b"[]", "value"),
    "project-deep": breaker("project", lambda: DEEP, "value"),
    "classes-deep": breaker("classes", lambda: DEEP),
    "classes-200000": breaker("classes", lambda: json.dumps([str(i) for i in range(200_000)]).encode()),
    "checkpoint-metrics-list": breaker("checkpoint", lambda: checkpoint(changed("metrics", [1]))),
    "checkpoint-shape": breaker("checkpoint", lambda: checkpoint(table=changed("a.bias", {"dtype": "F32", "shape": [9], "data_offsets": [0, 16]}))),
    "checkpoint-dtype": breaker("checkpoint", lambda: checkpoint(table=changed("a.bias", {"dtype": "F33", "shape": [4], "data_offsets": [0, 16]}))),
    "checkpoint-nan": breaker("checkpoint", lambda: checkpoint(nan=True)),
    "checkpoint-working-scale": breaker("checkpoint", lambda: checkpoint(config(None, "working_scale", 1e-9))),
    "checkpoint-pixel-size": breaker("checkpoint", lambda: checkpoint(config(None, "pixel_size_um", 1e-12))),
    "checkpoint-1e6-channels": breaker("model", lambda: checkpoint(config("mask_head", "channels", 10**6))),
    "checkpoint-large-backbone": breaker("model", lambda: checkpoint(config("backbone", "name", "resnetrs420")), is_slow=True),
    "yaml-alias-bomb": breaker("run-settings", lambda: mutators.alias_bomb().encode()),
    "yaml-alias-circle": breaker("run-settings", yaml_with("a: &a [*a]\n")),
    "yaml-deep": breaker("run-settings", yaml_with("a: " + "[" * 5000 + "\n")),
    "yaml-5000-digits": breaker("run-settings", yaml_with("epochs: " + "9" * 5000 + "\n")),
    "yaml-date": breaker("run-settings", yaml_with("a: 2024-99-99\n")),
    "set-5000-digits": breaker("set-option", lambda: b"9" * 5000),
    "state-index-error": breaker("resume-state", unpickled_index),
    "state-no-checksum": breaker("resume-state", state(lambda: {"version": 1, "state": {}})),
    "state-vast-tensor": breaker("resume-state", state(vast_tensor)),
    "state-not-a-state": breaker("resume-state", state(lambda: [1, 2])),
    "split-texts": breaker("split", lambda: b'{"train": "abc", "validation": 5}'),
    "metrics-texts": breaker("metrics", lambda: b"epoch,step\nx,y\n1,2\n", "value"),
    "events-deep": breaker("events", lambda: sound("events") + DEEP, "value"),
    "import-coco-large-boxes": Breaker("i.json", lambda path: path.write_bytes(coco_rows(40)), read_beside_large, "value", is_slow=True),
    "import-coco-long-name": breaker("import-coco", lambda: stored("coco", "instances.json").replace(b"a.tif", b"9" * 5000), "value"),
    "import-datumaro-label": breaker("import-datumaro", lambda: changed_categories({"label": 1.5}), "value"),
    "import-datumaro-labels": breaker("import-datumaro", lambda: changed_categories({"label": {"labels": 7}}), "value"),
    "import-labelme-mask-bomb": breaker("import-labelme", lambda: labelme_bomb(), "value"),
    "import-aperio-deep": breaker("import-aperio", lambda: stored("aperio", "a.xml").replace(b"<Regions>", b"<Region>" * 50_000, 1), "value"),
    "import-aperio-deep-closed": breaker("import-aperio", lambda: stored("aperio", "a.xml").replace(
        b"<Regions>", b"<Region>" * 50_000 + b"</Region>" * 50_000 + b"<Regions>", 1), "value"),
    "import-mat-class-1e12": breaker("import-mat", type_map, "value"),
    "import-mat-bomb": breaker("import-mat", mat_bomb, "value"),
    "import-pannuke-header": breaker("import-pannuke", lambda: stored("pannuke", "masks/fold1/masks.npy").replace(b"(2, 48", b"((((("), "value"),
    "import-photograph": Breaker("a_mask.tif", lambda path: path.write_bytes(noise()), read_noise, "value", is_slow=True),
    "labels-photograph": breaker("label-image", noise),
    "png-bomb": breaker("png", wide_png),
    "zarr-vast": breaker("zarr-0.5-0-zarr.json", lambda: zarr_json("0/zarr.json", changed("shape", [3, 30_000, 30_000]))),
    "zarr-deep": breaker("zarr-0.5-zarr.json", lambda: DEEP),
    "zarr-axes-xy": breaker("zarr-0.5-zarr.json", lambda: zarr_json("zarr.json", multiscale("axes", ["c", "x", "y"]))),
    "zarr-axes-twice": breaker("zarr-0.5-zarr.json", lambda: zarr_json("zarr.json", multiscale("axes", ["y", "y", "x"]))),
    "zarr-group-as-array": breaker("zarr-0.5-zarr.json", lambda: zarr_json("zarr.json", multiscale("datasets", [{"path": ""}]))),
    "note-number": breaker("run-note", lambda: b'{"data": 5}', "value"),
}  # fmt: skip
