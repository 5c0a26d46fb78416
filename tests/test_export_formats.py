"""Label images, Cellpose, labelme, OME-Zarr: those tools read exactly the written pixels."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from review_actions import disc

from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.found import FoundImage, export_found
from napari_cellseg.errors import ExportError
from napari_cellseg.export import ExportPlan
from napari_cellseg.export.cell_labels import flat_labels
from napari_cellseg.export.exporters import exporters_of
from napari_cellseg.export.ome_zarr import OME_ZARR
from napari_cellseg.images.read import ImageFile
from napari_cellseg.importers.gate import import_annotations
from napari_cellseg.instances import InstanceMasks

SIZE = (70, 90)
CLASSES = ClassTable(("tumour", "細胞"))


def cells(*, overlap: bool = False) -> InstanceMasks:
    """Return a disc, a ring, and a cell of two parts; with ``overlap`` a small disc on the first."""
    ring = disc(8) & ~np.pad(disc(5), 3)
    parts = np.zeros((6, 12), bool)
    parts[:3, :4] = parts[4:, 8:] = True
    masks, places, class_ids = [disc(9), ring, parts], [(2, 3), (40, 10), (60, 50)], [1, 2, 1]
    if overlap:
        masks, places, class_ids = [*masks, disc(3)], [*places, (4, 5)], [*class_ids, 1]
    return InstanceMasks.from_crops(SIZE, places, masks, class_ids, np.linspace(0.9, 0.3, len(masks)))


@pytest.fixture
def image(tmp_path: Path) -> ImageFile:
    pixels = np.random.default_rng(3).integers(0, 255, (*SIZE, 3), np.uint8)
    path = tmp_path / "in" / "slide" / "tile.tif"
    path.parent.mkdir(parents=True)
    tifffile.imwrite(path, pixels, photometric="rgb", resolution=(20000, 20000), resolutionunit=3)
    return ImageFile("slide/tile", path)


def export(image: ImageFile, instances: InstanceMasks, folder: Path, *formats: str):
    return export_found([FoundImage(image, instances)], CLASSES, ExportPlan(folder=folder, formats=frozenset(formats)))


def cells_of(labels: np.ndarray) -> list[np.ndarray]:
    return [labels == value for value in range(1, labels.max() + 1)]


def dense(instances: InstanceMasks) -> list[np.ndarray]:
    return [instances.select([i]).paste([1]).astype(bool) for i in range(len(instances))]


@pytest.mark.parametrize(("name", "suffix"), [("labels", ".tif"), ("labels-png", ".png")])
def test_a_label_image_has_each_cell_and_its_table_the_classes(tmp_path, image, name, suffix):
    summary = export(image, cells(), tmp_path / "out", name)
    path = tmp_path / "out" / name / "slide" / f"tile{suffix}"
    labels = tifffile.imread(path) if suffix == ".tif" else imagecodecs.png_decode(path.read_bytes())
    assert labels.dtype == np.uint16
    assert all(np.array_equal(a, b) for a, b in zip(cells_of(labels), dense(cells()), strict=True))
    with path.with_suffix(".csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["class"]) for row in rows] == [("1", "tumour"), ("2", "細胞"), ("3", "tumour")]
    assert [row["visible_px"] for row in rows] == [row["area_px"] for row in rows]
    assert summary.covered == 0


def test_the_smaller_of_two_overlapping_cells_is_on_top_and_the_other_counted(tmp_path, image):
    summary = export(image, cells(overlap=True), tmp_path / "out", "labels")
    labels = tifffile.imread(tmp_path / "out" / "labels" / "slide" / "tile.tif")
    assert np.array_equal(labels == 4, dense(cells(overlap=True))[3])
    assert summary.covered == 1
    assert "1 cell partly covered in label images" in str(summary)


def test_label_images_of_many_cells_have_32_bit():
    count = 2**16
    side = 300
    places = np.stack(np.divmod(np.arange(count), side), 1)
    many = InstanceMasks.from_crops((side, side), places, [np.ones((1, 1), bool)] * count, np.ones(count))
    labels, kept = flat_labels(many)
    assert labels.dtype == np.uint32
    assert labels.max() == count
    assert (kept == 1).all()


def test_cellpose_finds_image_and_masks_in_one_folder(tmp_path, image):
    export(image, cells(), tmp_path / "out", "cellpose")
    folder = tmp_path / "out" / "cellpose"
    assert sorted(path.name for path in folder.iterdir()) == ["slide_tile.tif", "slide_tile_cp_masks.png"]
    masks = imagecodecs.png_decode((folder / "slide_tile_cp_masks.png").read_bytes())
    assert all(np.array_equal(a, b) for a, b in zip(cells_of(masks), dense(cells()), strict=True))
    assert np.array_equal(tifffile.imread(folder / "slide_tile.tif"), tifffile.imread(image.path))


def test_labelme_shapes_are_polygons_groups_and_masks(tmp_path, image):
    export(image, cells(), tmp_path / "out", "labelme")
    folder = tmp_path / "out" / "labelme"
    data = json.loads((folder / "slide_tile.json").read_text())
    assert (data["imagePath"], data["imageHeight"], data["imageWidth"]) == ("slide_tile.png", *SIZE)
    assert np.array_equal(imagecodecs.png_decode((folder / "slide_tile.png").read_bytes()), tifffile.imread(image.path))
    shapes = [(shape["label"], shape["shape_type"], shape["group_id"]) for shape in data["shapes"]]
    assert shapes == [
        ("tumour", "polygon", None),
        ("細胞", "mask", None),
        ("tumour", "polygon", 3),
        ("tumour", "polygon", 3),
    ]
    assert [shape["description"].split(",")[0] for shape in data["shapes"]][:3] == [
        "score 0.9",
        "score 0.6",
        "score 0.3",
    ]
    # As labelme places a mask: its second point is the last pixel.
    (x1, y1), (x2, y2) = data["shapes"][1]["points"]
    placed = np.zeros(SIZE, bool)
    placed[y1 : y2 + 1, x1 : x2 + 1] = imagecodecs.png_decode(base64.b64decode(data["shapes"][1]["mask"])) > 0
    assert np.array_equal(placed, dense(cells())[1])


@pytest.mark.parametrize("name", ["labelme", "cellpose", "geojson", "rois", "coco"])
def test_what_is_exported_can_be_imported(tmp_path, image, name):
    """The other direction is written by others after the formats' own documents: both must agree."""
    out = tmp_path / "out"
    export(image, cells(), out, name)
    if name in ("geojson", "rois", "coco"):  # these lie next to no image
        target = out / name if name != "coco" else out
        for file in list(target.rglob("*")):
            if file.is_file():
                file.rename(image.path.parent / ("tile" + file.suffix if name != "coco" else "x.json"))
        source = image.path.parent if name != "coco" else image.path.parent / "x.json"
    else:
        source = out / name
    found = import_annotations(source)
    assert found.left_out == ()
    (imported,) = found.images
    wanted = {mask.tobytes() for mask in dense(cells())}
    assert {mask.tobytes() for mask in dense(imported.cells)} == wanted
    if name != "cellpose":  # which has no classes
        names = [found.classes.names[class_id - 1] for class_id in imported.cells.class_ids]
        assert sorted(names) == ["tumour", "tumour", "細胞"]


def test_ome_zarr_has_image_cells_and_classes(tmp_path, image):
    export(image, cells(), tmp_path / "out", "ome-zarr")
    root = zarr.open_group(tmp_path / "out" / "ome-zarr" / "slide" / "tile.ome.zarr", mode="r")
    (scales,) = root.attrs["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == ["c", "y", "x"]
    assert scales["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    assert np.array_equal(np.moveaxis(root["0"][:], 0, -1), tifffile.imread(image.path))
    labels = root["labels"]
    assert labels.attrs["labels"] == ["cells", "classes"]
    assert all(np.array_equal(a, b) for a, b in zip(cells_of(labels["cells/0"][:]), dense(cells()), strict=True))
    assert np.array_equal(labels["classes/0"][:] == 2, dense(cells())[1])
    about = labels["cells"].attrs["image-label"]
    assert [row["class"] for row in about["properties"]] == ["tumour", "細胞", "tumour"]
    assert about["colors"][0] == {"label-value": 1, "rgba": [230, 159, 0, 255]}


def test_an_ome_zarr_of_ones_own_is_replaced_and_any_other_kept(tmp_path, image):
    folder = tmp_path / "out" / "ome-zarr" / "slide"
    for _ in range(2):
        export(image, cells(), tmp_path / "out", "ome-zarr")
    assert [path.name for path in folder.iterdir()] == ["tile.ome.zarr"]
    (folder / "tile.ome.zarr" / "notes.txt").write_text("of the user")
    export(image, cells(), tmp_path / "out", "ome-zarr")
    assert sorted(path.name for path in folder.iterdir()) == ["tile.ome.zarr", "tile.ome.zarr.bak"]
    assert (folder / "tile.ome.zarr.bak" / "notes.txt").read_text() == "of the user"


def test_a_large_image_gets_a_pyramid(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 1101, 3), np.uint8)
    tifffile.imwrite(tmp_path / "big.tif", pixels, photometric="rgb")
    big = InstanceMasks.from_crops(pixels.shape[:2], [(1090, 1400)], [disc(20)], [1])
    export_found(
        [FoundImage(ImageFile("big", tmp_path / "big.tif"), big)],
        CLASSES,
        ExportPlan(folder=tmp_path / "out", formats=frozenset({"ome-zarr"})),
    )
    root = zarr.open_group(tmp_path / "out" / "ome-zarr" / "big.ome.zarr", mode="r")
    assert [root[str(i)].shape for i in range(2)] == [(3, 1500, 1101), (3, 750, 551)]
    assert root["labels/cells/1"].shape == (750, 551)
    assert root["labels/cells/1"][:].max() == 1
    assert abs(float(root["1"][0, :750, :550].mean()) - pixels[:1500, :1100, 0].mean()) < 0.5


def test_without_zarr_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("napari_cellseg.export.ome_zarr.find_spec", lambda _: None)
    assert (
        OME_ZARR.missing() == 'OME-Zarr needs the package zarr. Install it with: pip install "napari-cellseg[formats]"'
    )

    with pytest.raises(ExportError, match="OME-Zarr with labels cannot be written"):
        exporters_of(["ome-zarr"])
