"""Annotations in the formats of other tools, each with deliberately wrong rows; one writer per importer.

A writer gets the rows, writes them into a folder with image ``a.tif``, and returns how many of them its format can
hold (and so wrote), and which of these are sound.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import roifile
import tifffile
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.io import savemat

SIZE = (48, 64)
CLASSES = ("tumour", "lymphocyte")


@dataclass(frozen=True)
class Written:
    """What a cell or wrong row is: ``fault`` is empty for a sound cell, a square of ``side`` px at ``x``, ``y``."""

    x: int
    y: int
    side: int
    class_id: int
    fault: str = ""

    @property
    def ring(self) -> list[list[float]]:
        if self.fault == "outside":
            return [[900, 900], [910, 900], [910, 910], [900, 910]]
        if self.fault == "two points":
            return [[1, 1], [5, 5]]
        if self.fault == "no numbers":
            return [["a", 1], [5, 5], [7, 7]]
        if self.fault == "huge":
            return [[1e300, 1], [5, 5], [7, 7]]
        a, b = self.x + self.side, self.y + self.side
        return [[self.x, self.y], [a, self.y], [a, b], [self.x, b]]

    @property
    def mask(self) -> np.ndarray:
        mask = np.zeros(SIZE, bool)
        mask[self.y : self.y + self.side, self.x : self.x + self.side] = True
        return mask


OUTLINE_FAULTS = ("outside", "two points", "no numbers", "huge")


def image(folder: Path, name: str = "a.tif", size: tuple[int, int] = SIZE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="rgb") if name.endswith((".tif", ".svs")) else Image.fromarray(
        pixels
    ).save(path)
    return path


def flat(ring: list[list[float]]) -> list[float]:
    return [value for point in ring for value in point]


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def coco(folder: Path, rows: list[Written], *, rle: bool = False) -> list[Written]:
    image(folder)
    annotations: list[Any] = []
    for number, row in enumerate(rows, start=1):
        segmentation: Any = [flat(row.ring)]
        if rle and not row.fault:
            packed = coco_mask.encode(np.asfortranarray(row.mask.astype(np.uint8)))
            segmentation = {"size": list(SIZE), "counts": packed["counts"].decode()}
        annotation = {"id": number, "image_id": "1", "category_id": row.class_id, "segmentation": segmentation}
        annotation |= {"score": None, "bbox": [row.x, row.y, row.side, row.side], "iscrowd": number % 2}
        changes = {
            "orphan": {"image_id": 77}, "no class": {"category_id": 9}, "box": {"segmentation": []},
            "wrong size": {"segmentation": {"size": [5, 5], "counts": [25]}},
            "bad counts": {"segmentation": {"size": list(SIZE), "counts": "~~"}},
        }  # fmt: skip
        annotations.append("no row" if row.fault == "no row" else annotation | changes.get(row.fault, {}))
    write_json(
        folder / "instances.json",
        {
            "images": [{"id": 1.0, "file_name": "C:\\data\\a.tif"}],
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)],
            "annotations": annotations,
        },
    )
    return rows


def datumaro(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    annotations = []
    for number, row in enumerate(rows):
        annotation = {"id": number, "type": "polygon", "label_id": row.class_id - 1, "group": 0}
        annotation |= {"points": flat(row.ring), "attributes": {}}
        changes = {"box": {"type": "bbox"}, "no class": {"label_id": 9}, "no row": {"type": None}}
        annotations.append(annotation | changes.get(row.fault, {}))
    labels = [{"name": name, "parent": "", "attributes": []} for name in CLASSES]
    item = {"id": "a", "annotations": annotations, "image": {"path": "a.tif", "size": list(SIZE)}}
    write_json(folder / "d.json", {"info": {}, "categories": {"label": {"labels": labels}}, "items": [item]})
    return rows


def via(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    regions: list[Any] = []
    for row in rows:
        xs, ys = zip(*row.ring, strict=True)
        shape: dict[str, Any] = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
        if row.fault == "box":
            shape = {"name": "rect", "x": 1, "y": 1, "width": 4, "height": 4}
        label = "" if row.fault == "no class" else CLASSES[row.class_id - 1]
        region = {"shape_attributes": shape, "region_attributes": {"type": label, "note": ""}}
        regions.append("no row" if row.fault == "no row" else region)
    write_json(folder / "via.json", {"a.tif9999": {"filename": "a.tif", "size": 9999, "regions": regions}})
    return rows


def labelme(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    shapes: list[Any] = []
    for number, row in enumerate(rows):
        shape: dict[str, Any] = {"label": CLASSES[row.class_id - 1], "points": row.ring, "shape_type": "polygon"}
        if not row.fault and number % 2:
            packed = io.BytesIO()
            Image.fromarray(np.full((row.side, row.side), 255, np.uint8)).save(packed, "PNG")
            corner = [row.x + row.side - 1, row.y + row.side - 1]
            shape |= {"shape_type": "mask", "points": [[row.x, row.y], corner]}
            shape |= {"mask": base64.b64encode(packed.getvalue()).decode()}
        changes = {"box": {"shape_type": "rectangle"}, "no class": {"label": None}}
        shapes.append("no row" if row.fault == "no row" else shape | changes.get(row.fault, {}))
    data = {"version": "5.4.1", "shapes": shapes, "imagePath": "..\\x\\a.tif", "imageData": None}
    write_json(folder / "a.json", data | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]})
    return rows


def geojson(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    features: list[Any] = []
    for row in rows:
        ring = [*row.ring, row.ring[0]]
        classification = {"name": CLASSES[row.class_id - 1], "color": [200, 0, row.class_id]}
        feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
        feature["properties"] = {"objectType": "detection", "classification": classification}
        if row.fault == "box":
            feature["geometry"] = {"type": "Point", "coordinates": [3, 3]}
        if row.fault == "no class":
            feature["properties"] = {"objectType": "annotation"}
        features.append("no row" if row.fault == "no row" else feature)
    # A region is one only around detections.
    features.append({"type": "Feature", "geometry": None, "properties": {"objectType": "detection"}})
    write_json(folder / "a.geojson", {"type": "FeatureCollection", "features": features})
    return [*rows, Written(0, 0, 1, 1, "no outline")]


def imagej(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    written = []
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number, row in enumerate(rows):
            name = f"{number:05d}-{CLASSES[row.class_id - 1]}.roi"
            if row.fault in ("no numbers", "huge", "no class", "two points"):  # a ROI cannot say so
                continue
            roi = roifile.ImagejRoi.frompoints(np.array(row.ring, np.float32))
            roi.properties = {"label_id": str(number + 1), "score": "0.5"}
            if row.fault == "box":
                roi = roifile.ImagejRoi.frompoints(np.array([[1, 1]]))
                roi.roitype = roifile.ROI_TYPE.POINT
            archive.writestr(name, b"garbage" if row.fault == "no row" else roi.tobytes())
            written.append(row)
        archive.writestr("readme.txt", "one of another kind")
        if not written:
            archive.writestr("x.roi", b"no ROI")
            written.append(Written(0, 0, 1, 1, "no row"))
    return written


def aperio(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder, "a.svs")
    parts = []
    for class_id, name in enumerate(CLASSES, start=1):
        regions = []
        for row in (row for row in rows if row.class_id == class_id and row.fault != "no class"):
            vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0" />' for x, y in row.ring)
            negative = int(row.fault == "box")
            vertices = "" if row.fault == "no row" else vertices
            regions.append(f'<Region NegativeROA="{negative}"><Vertices>{vertices}</Vertices></Region>')
        attribute = f'<Attributes><Attribute Name="{name}" Id="0" Value="" /></Attributes>'
        parts.append(f'<Annotation LineColor="65280">{attribute}<Regions>{"".join(regions)}</Regions></Annotation>')
    (folder / "a.xml").write_text(f'<?xml version="1.0"?><Annotations>{"".join(parts)}</Annotations>')
    return [row for row in rows if row.fault != "no class"]


def painted(rows: list[Written]) -> tuple[np.ndarray, list[Written]]:
    """Return a label image, and which rows are to be seen in it; a wrong row is a value that is no whole number."""
    labels, seen = np.zeros(SIZE, np.float32), []
    for number, row in enumerate(rows, start=1):
        place = np.s_[row.y : row.y + row.side, row.x : row.x + row.side]
        if not labels[place].any():
            labels[place] = number + (0.5 if row.fault else 0)
            seen.append(row)
    return labels, seen


def labels(folder: Path, rows: list[Written]) -> list[Written]:
    seen = []
    for class_id in (1, 2):
        image(folder / "s")
        label_image, drawn = painted([row for row in rows if row.class_id == class_id])
        tifffile.imwrite(folder / "s" / f"a_class{class_id}.tif", label_image)
        seen += drawn
    return seen


def cellpose(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    label_image, seen = painted([row for row in rows if row.class_id == 1])
    content = {"masks": label_image, "filename": "a.tif", "colors": np.zeros((3, 3), np.uint8), "est_diam": 9.5}
    np.save(folder / "a_seg.npy", content | {"flows": [np.zeros((2, 2)), None]}, allow_pickle=True)
    return seen


def mat(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder / "Images", "a.png")
    label_image, seen = painted(rows)
    (folder / "Labels").mkdir()
    types = np.zeros(SIZE, np.uint8)
    for row in seen:
        types[row.mask] = 0 if row.fault else row.class_id
    savemat(folder / "Labels" / "a.mat", {"inst_map": label_image, "type_map": types})
    return seen


def pannuke(folder: Path, rows: list[Written]) -> list[Written]:
    masks, seen = np.zeros((2, *SIZE, 6)), []
    for class_id in (1, 2):
        masks[0, :, :, class_id - 1], drawn = painted([row for row in rows if row.class_id == class_id])
        seen += drawn
    for part in ("images", "masks"):
        (folder / part / "fold1").mkdir(parents=True)
    np.save(folder / "masks" / "fold1" / "masks.npy", masks)
    np.save(folder / "images" / "fold1" / "images.npy", np.full((2, *SIZE, 3), 200.0))
    return seen


def bowl(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder / "abc" / "images", "abc.png")
    (folder / "abc" / "masks").mkdir()
    for number, row in enumerate(rows):
        path = folder / "abc" / "masks" / f"{number}.png"
        mask = row.mask if not row.fault else np.zeros(SIZE if number % 2 else (3, 3), bool)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
        if row.fault == "no row":
            path.write_bytes(b"garbage")
    return rows


def via3(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    regions: dict[str, Any] = {}
    for number, row in enumerate(rows):
        region: dict[str, Any] = {"vid": "1", "flg": 0, "z": [], "xy": [7, *flat(row.ring)]}
        region["av"] = {"1": "" if row.fault == "no class" else str(row.class_id - 1)}
        changes = {"box": {"xy": [2, 1, 1, 4, 4]}, "orphan": {"vid": "77"}}
        regions[f"1_{number}"] = "no row" if row.fault == "no row" else region | changes.get(row.fault, {})
    options = dict(zip("01", CLASSES, strict=True))
    data = {
        "project": {"pid": "x", "data_format_version": "3.1.1"},
        "config": {},
        "attribute": {"1": {"aname": "cell type", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": options}},
        "file": {"1": {"fid": "1", "fname": "a.tif", "type": 2, "loc": 1, "src": ""}},
        "metadata": regions,
        "view": {"1": {"fid_list": ["1"]}},
    }
    write_json(folder / "via_project.json", data)
    return rows


def rle_pack(mask: np.ndarray) -> list[int]:
    """Pack an RGBA image of a mask as Label Studio does: blocks of equal values, and one block of single values."""
    values = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{width - 1:04b}" for width in (2, 4, 8, 16))
    starts = np.flatnonzero(np.diff(values, prepend=values[0] ^ 1))
    for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
        for first in range(start, end, 2**16):
            count = min(end - first, 2**16)
            if count < 9:
                bits += f"001{count - 1:04b}" + f"{values[first]:08b}" * count
            else:
                bits += f"111{count - 1:016b}{values[first]:08b}"
    return np.packbits(np.array(list(bits), np.uint8)).tolist()


def label_studio(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    regions: list[Any] = []
    for number, row in enumerate(rows):
        region: dict[str, Any] = {"id": f"r{number}", "from_name": "label", "to_name": "image", "image_rotation": 0}
        region |= {"original_width": SIZE[1], "original_height": SIZE[0], "type": "polygonlabels"}
        points = [[x if isinstance(x, str) else 100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in row.ring]
        value: dict[str, Any] = {"points": points, "closed": True, "polygonlabels": [CLASSES[row.class_id - 1]]}
        if not row.fault and number % 2:
            region["type"] = "brushlabels"
            value = {"format": "rle", "rle": rle_pack(row.mask), "brushlabels": [CLASSES[row.class_id - 1]]}
        changes: dict[str, dict[str, Any]] = {
            "no class": {"value": {"points": points}}, "box": {"value": {"x": 1, "y": 1, "width": 5, "height": 5}},
            "wrong size": {"value": value | {"rle": rle_pack(np.ones((3, 3), bool))}},
            "bad counts": {"value": value | {"rle": rle_pack(row.mask)[:9]}},
        }  # fmt: skip
        regions.append("no row" if row.fault == "no row" else region | {"value": value} | changes.get(row.fault, {}))
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.tif"}, "predictions": []}
    write_json(
        folder / "project.json", [task | {"annotations": [{"id": 1, "was_cancelled": False, "result": regions}]}]
    )
    return rows


def cvat(folder: Path, rows: list[Written]) -> list[Written]:
    image(folder)
    shapes, written = [], []
    for number, row in enumerate(rows):
        label = f'label="{CLASSES[row.class_id - 1] if row.fault != "no class" else ""}" source="manual" occluded="0"'
        points = ";".join(f"{x},{y}" for x, y in row.ring)
        shape = f'<polygon {label} points="{points}" z_order="0"><attribute name="a">b</attribute></polygon>'
        if not row.fault and number % 2:
            place = f'left="{row.x - 1}" top="{row.y}" width="{row.side + 1}" height="{row.side}"'
            shape = f'<mask {label} rle="{", ".join([f"1, {row.side}"] * row.side)}" {place} z_order="0"></mask>'
        changes = {
            "box": f'<box {label} xtl="1" ytl="1" xbr="4" ybr="4"/>',
            "no row": f"<polygon {label}/>",
            "wrong size": f'<mask {label} rle="0, 999999" left="0" top="0" width="999" height="1001"/>',
            "bad counts": f'<mask {label} rle="1, 3" left="0" top="0" width="5" height="5"/>',
        }
        shapes.append(changes.get(row.fault, shape))
        written.append(row)
    names = "".join(f"<label><name>{name}</name><color>#0000ff</color></label>" for name in CLASSES)
    meta = f"<meta><job><labels>{names}</labels></job></meta>"
    picture = f'<image id="0" name="a.tif" width="{SIZE[1]}" height="{SIZE[0]}">{"".join(shapes)}</image>'
    (folder / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{meta}{picture}</annotations>'
    )
    return written


WRITERS: dict[str, Callable[[Path, list[Written]], list[Written]]] = {
    "coco": coco, "datumaro": datumaro, "via": via, "via3": via3, "label-studio": label_studio,
    "cvat": cvat, "labelme": labelme, "geojson": geojson, "imagej": imagej,
    "aperio": aperio, "mat": mat, "pannuke": pannuke, "cellpose": cellpose, "bowl": bowl, "labels": labels,
}  # fmt: skip
FAULTS = (*OUTLINE_FAULTS, "orphan", "no class", "box", "no row", "wrong size", "bad counts")
