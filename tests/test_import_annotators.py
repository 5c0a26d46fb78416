"""VIA 3, Label Studio and CVAT XML: units, run lengths, groups, and what is left out with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from import_writers import SIZE, image, rle_pack, write_json

from napari_cellseg.importers import Imported, import_annotations


def areas(result: Imported) -> list[int]:
    return [int(area) for each in result.images for area in each.cells.areas]


def reasons(result: Imported) -> list[str]:
    return [item.reason for item in result.left_out]


def region(name: str, kind: str, **value: object) -> dict[str, object]:
    common = {"id": name, "original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0, "type": kind}
    return common | {"value": value}


SQUARE = [[0, 0], [12.5, 0], [12.5, 25], [0, 25]]  # percent of 64 x 48 px: 8 x 12 px


def test_label_studio_reads_percent_brushes_and_the_label_of_a_twin(tmp_path: Path) -> None:
    image(tmp_path)
    mask = np.zeros(SIZE, bool)
    mask[20:25, 30:37] = True
    mask[22, 33] = False
    regions = [
        region("a", "polygon", points=SQUARE),
        region("a", "labels", points=SQUARE, labels=["tumour"]),
        region("b", "brushlabels", format="rle", rle=rle_pack(mask), brushlabels=["stroma"]),
        region("c", "ellipselabels", x=50, y=50, radiusX=6.25, radiusY=12.5, rotation=90, ellipselabels=["stroma"]),
        region("d", "keypointlabels", x=5, y=5, width=0.3, keypointlabels=["stroma"]),
        {"id": "e", "type": "choices", "value": {"choices": ["good"]}},
    ]
    tasks = [{"data": {"image": "/data/upload/1/0a1b2c3d-a.tif"}, "annotations": [{"result": regions}]}]
    write_json(tmp_path / "project.json", tasks)
    result = import_annotations(tmp_path)
    cells = result.images[0].cells
    assert cells.boxes.tolist()[:2] == [[0, 0, 8, 12], [30, 20, 37, 25]]
    assert areas(result)[:2] == [96, 34]
    x0, y0, x1, y1 = cells.boxes.tolist()[2]
    assert (x1 - x0, y1 - y0) == (12, 8)  # turned by 90 degrees
    assert (result.kept, result.joined, len(result.left_out)) == (3, 1, 2)
    assert result.classes.names == ("tumour", "stroma")


def test_label_studio_reads_one_annotator_and_says_so_of_the_others(tmp_path: Path) -> None:
    image(tmp_path)
    rows = [region("a", "polygonlabels", points=SQUARE, polygonlabels=["x"])]
    versions = [
        {"result": rows, "was_cancelled": True},
        {"result": rows * 2},
        {"result": rows, "ground_truth": True},
    ]
    task = {"data": {"image": "a.tif"}, "annotations": versions, "predictions": [{"result": rows}]}
    write_json(tmp_path / "project.json", [task])
    result = import_annotations(tmp_path)
    assert result.kept == 1
    assert reasons(result) == ["it was skipped in Label Studio", *["another annotation of its image is read"] * 2]
    assert any("1 prediction of a model" in note for note in result.notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"image_rotation": 90}, "rotated view"), ({"original_width": 99}, "was annotated at 48 x 99 px")],
)
def test_label_studio_does_not_guess_another_geometry(tmp_path: Path, change: dict, reason: str) -> None:
    image(tmp_path)
    rows = [region("a", "polygonlabels", points=SQUARE, polygonlabels=["x"]) | change]
    write_json(tmp_path / "project.json", [{"data": {"image": "a.tif"}, "annotations": [{"result": rows}]}])
    result = import_annotations(tmp_path)
    assert result.kept == 0
    assert reason in reasons(result)[0]


def test_label_studio_brush_packing_is_that_of_its_own_library(tmp_path: Path) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="needs the extra [roundtrip]")
    image(tmp_path)
    rng = np.random.default_rng(3)
    masks = [rng.random(SIZE) > 0.5, np.zeros(SIZE, bool)]
    masks[1][3:40, 5:50] = True
    rows = [
        region(str(n), "brushlabels", format="rle", rle=[int(v) for v in brush.mask2rle(mask.astype(np.uint8) * 255)])
        for n, mask in enumerate(masks)
    ]
    for row in rows:
        row["value"]["brushlabels"] = ["x"]  # type: ignore[index]
    write_json(tmp_path / "project.json", [{"data": {"image": "a.tif"}, "annotations": [{"result": rows}]}])
    cells = import_annotations(tmp_path).images[0].cells
    for mask, (x0, y0, x1, y1), crop in zip(masks, cells.boxes.tolist(), cells.masks, strict=True):
        dense = np.zeros(SIZE, bool)
        dense[y0:y1, x0:x1] = crop
        np.testing.assert_array_equal(dense, mask)


def cvat_xml(folder: Path, shapes: str, size: str = 'width="64" height="48"', more: str = "") -> Path:
    image(folder)
    meta = "<meta><task><labels><label><name>b</name><color>#00ff00</color></label></labels></task></meta>"
    path = folder / "annotations.xml"
    picture = f'<image id="0" name="set\\a.tif" {size}>{shapes}</image>'
    path.write_text(f'<?xml version="1.0"?>\n<annotations>\n<version>1.1</version>{meta}{picture}{more}</annotations>')
    return path


def test_cvat_reads_run_lengths_row_by_row_and_joins_groups(tmp_path: Path) -> None:
    shapes = (
        '<mask label="b" rle="2, 1, 1, 3" left="5" top="6" width="7" height="1" group_id="4"/>'
        '<polygon label="b" points="20,20;24,20;24,23;20,23" group_id="4"/>'
        '<ellipse label="c" cx="40" cy="30" rx="6" ry="3" rotation="90"/>'
        '<mask label="b" rle="0, 4" left="-1" top="0" width="2" height="2"/>'
        '<polyline label="b" points="1,1;2,2;3,3"/><tag label="b"/>'
    )
    result = import_annotations(cvat_xml(tmp_path, shapes))
    cells = result.images[0].cells
    assert cells.boxes.tolist()[0] == [7, 6, 24, 23]
    assert areas(result)[0] == 4 + 12
    x0, y0, x1, y1 = cells.boxes.tolist()[1]
    assert (x1 - x0, y1 - y0) == (6, 12)
    assert cells.boxes.tolist()[2] == [0, 0, 1, 2]
    assert result.classes.names == ("b", "c")
    assert result.classes.colours[0] == "#00ff00"
    assert (result.joined, result.rows, len(result.clipped)) == (1, 6, 1)
    assert reasons(result) == ["it is a polyline, which has no area", "it is a tag, which has no area"]


def test_the_box_of_a_group_of_cvat_is_no_cell_left_out_and_another_box_is(tmp_path: Path) -> None:
    shapes = (
        '<box label="b" xtl="20.00" ytl="20.00" xbr="24.00" ybr="23.00" group_id="4"/>'
        '<polygon label="b" points="20,20;24,20;24,23;20,23" group_id="4"/>'
        '<box label="b" xtl="1" ytl="1" xbr="9" ybr="9" group_id="4"/>'
        '<box label="b" xtl="20" ytl="20" xbr="24" ybr="23"/>'
    )
    result = import_annotations(cvat_xml(tmp_path, shapes))
    assert (result.kept, result.joined, areas(result)) == (1, 1, [12])
    assert [row.row for row in result.left_out] == [3, 4]
    assert reasons(result) == ["it is a box without a mask"] * 2


def test_cvat_says_why_tracks_and_another_size_are_left_out(tmp_path: Path) -> None:
    track = '<track id="0" label="b"><polygon frame="0" points="1,1;9,1;9,9"/></track>'
    square = '<polygon label="b" points="1,1;9,1;9,9"/>'
    result = import_annotations(cvat_xml(tmp_path, square, 'width="640" height="480"', track))
    assert result.kept == 0
    assert "was annotated at 480 x 640 px" in reasons(result)[0]
    assert "frame of a video" in reasons(result)[1]


def test_via_3_reads_circles_and_the_most_used_attribute(tmp_path: Path) -> None:
    image(tmp_path)
    regions = {
        "a": {"vid": "9", "xy": [3, 20, 20, 5], "av": {"1": "0", "2": "seen"}},
        "b": {"vid": "9", "xy": [4, 45, 30, 8, 4], "av": {"1": "1"}},
        "c": {"vid": "9", "xy": [], "av": {"3": "a note on the image"}},
        "d": {"vid": "9", "xy": [9, 1, 1, 5, 5, 3, 7], "av": {"1": "1"}},
    }
    data = {
        "attribute": {"1": {"aname": "kind", "options": {"0": "x", "1": "y"}}, "2": {"aname": "n", "options": {}}},
        "file": {"7": {"fname": "a.tif", "src": ""}},
        "view": {"9": {"fid_list": ["7"]}},
        "metadata": regions,
    }
    (tmp_path / "p.json").write_text(json.dumps(data))
    result = import_annotations(tmp_path)
    assert result.classes.names == ("x", "y")
    assert result.images[0].cells.boxes.tolist()[1] == [37, 26, 53, 34]
    assert abs(areas(result)[0] - np.pi * 25) < 5
    assert reasons(result)[0] == "it describes a whole image, not a region"
    assert "unknown kind" in reasons(result)[1]
