"""Other tools' own libraries read what Export writes, and what they write from it is imported with the same cells.

The libraries are the extra ``[roundtrip]``; a test whose library is missing is skipped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import disc

from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.found import FoundImage, export_found
from napari_cellseg.export import ExportPlan
from napari_cellseg.images.read import ImageFile
from napari_cellseg.importers import Imported, import_annotations
from napari_cellseg.instances import InstanceMasks

SIZE = (70, 90)
CLASSES = ClassTable(("tumour", "細胞"))
CLASS_IDS, SCORES = (1, 2, 1, 1), (0.9, 0.6, 0.3, 1.0)
REASON = "needs the extra [roundtrip]"
Shape = tuple[str, bytes]


def cells() -> InstanceMasks:
    """Return a disc, a ring, a cell of two parts that touch at a corner, and a cell of one pixel in the last corner."""
    ring = disc(8) & ~np.pad(disc(5), 3)
    parts = np.zeros((6, 12), bool)
    parts[:3, :4] = parts[3:, 4:] = True
    masks, places = [disc(9), ring, parts, np.ones((1, 1), bool)], [(2, 3), (40, 10), (60, 50), (89, 69)]
    return InstanceMasks.from_crops(SIZE, places, masks, CLASS_IDS, np.array(SCORES, np.float32))


def dense(instances: InstanceMasks) -> list[np.ndarray]:
    return [instances.select([i]).paste([1]).astype(bool) for i in range(len(instances))]


TRUTH = dense(cells())
NAMES = [CLASSES.names[class_id - 1] for class_id in CLASS_IDS]


def shapes(names: Iterable[str], masks: Iterable[np.ndarray]) -> list[Shape]:
    return sorted((name, mask.tobytes()) for name, mask in zip(names, masks, strict=True))


def imported_shapes(found: Imported, *, with_classes: bool = True) -> list[Shape]:
    assert found.left_out == ()
    (image,) = found.images
    names = [found.classes.names[i - 1] if with_classes else "" for i in image.cells.class_ids]
    return shapes(names, dense(image.cells))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``in/slide/tile.tif`` and every export of its cells in ``out``."""
    folder = tmp_path_factory.mktemp("round")
    path = folder / "in" / "slide" / "tile.tif"
    path.parent.mkdir(parents=True)
    pixels = np.random.default_rng(3).integers(0, 255, (*SIZE, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", resolution=(20000, 20000), resolutionunit=3)
    formats = frozenset(("results", "coco", "geojson", "rois", "labels", "cellpose", "labelme"))
    write(folder, formats)
    return folder


def write(folder: Path, formats: frozenset[str]) -> None:
    image = ImageFile("slide/tile", folder / "in" / "slide" / "tile.tif")
    export_found([FoundImage(image, cells())], CLASSES, ExportPlan(folder=folder / "out", formats=formats))


def test_pycocotools_reads_the_data_set_and_the_results(project: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco", reason=REASON)
    data = coco_module.COCO(str(project / "out" / "coco.json"))
    rows = data.loadAnns(data.getAnnIds())
    names = [data.cats[row["category_id"]]["name"] for row in rows]
    assert shapes(names, (data.annToMask(row).astype(bool) for row in rows)) == shapes(NAMES, TRUTH)
    results = data.loadRes(str(project / "out" / "test-results.json"))
    masks = [results.annToMask(row).astype(bool) for row in results.loadAnns(results.getAnnIds())]
    assert shapes(NAMES, masks) == shapes(NAMES, TRUTH)


def test_supervision_reads_the_coco_file(project: Path) -> None:
    supervision = pytest.importorskip("supervision", reason=REASON)
    data = supervision.DetectionDataset.from_coco(
        str(project / "in"), str(project / "out" / "coco.json"), force_masks=True
    )
    ((_, picture, found),) = list(data)
    assert picture.shape == (*SIZE, 3)
    assert shapes([data.classes[i] for i in found.class_id], found.mask.astype(bool)) == shapes(NAMES, TRUTH)
    for (x0, y0, x1, y1), mask in zip(found.xyxy.astype(int), found.mask, strict=True):
        assert mask[y0:y1, x0:x1].sum() == mask.sum()


def test_cellpose_reads_the_masks_for_training_and_its_seg_file_comes_back(project: Path, tmp_path: Path) -> None:
    io = pytest.importorskip("cellpose.io", reason=REASON)
    images, labels, names, *_ = io.load_train_test_data(str(project / "out" / "cellpose"), mask_filter="_cp_masks")
    assert np.array_equal(images[0], tifffile.imread(project / "in" / "slide" / "tile.tif"))
    masks = [labels[0] == value for value in range(1, len(TRUTH) + 1)]
    assert shapes(NAMES, masks) == shapes(NAMES, TRUTH)

    shutil.copy(names[0], tmp_path / "tile.tif")
    flow = np.random.default_rng(0).random((3, *SIZE)).astype(np.float32)  # the colours, the vectors, the probability
    flows = [(flow * 255).astype(np.uint8).transpose(1, 2, 0), flow[:2], flow[2]]
    io.masks_flows_to_seg(images[0], labels[0], flows, str(tmp_path / "tile.tif"))
    assert (tmp_path / "tile_seg.npy").is_file()
    found = import_annotations(tmp_path)
    assert imported_shapes(found, with_classes=False) == shapes([""] * len(TRUTH), TRUTH)


def test_cellpose_writes_masks_that_come_back(project: Path, tmp_path: Path) -> None:
    io = pytest.importorskip("cellpose.io", reason=REASON)
    picture = tifffile.imread(project / "in" / "slide" / "tile.tif")
    tifffile.imwrite(tmp_path / "tile.tif", picture, photometric="rgb")
    labels = tifffile.imread(project / "out" / "labels" / "slide" / "tile.tif")
    flows = [np.zeros((*SIZE, 3), np.uint8), np.zeros((2, *SIZE), np.float32), np.zeros(SIZE, np.float32)]
    for kind in ("png", "tif"):
        folder = tmp_path / kind
        folder.mkdir()
        shutil.copy(tmp_path / "tile.tif", folder / "tile.tif")
        io.save_masks(picture, labels, flows, str(folder / "tile.tif"), png=kind == "png", tif=kind == "tif")
        assert (folder / f"tile_cp_masks.{kind}").is_file()
        found = import_annotations(folder)
        assert imported_shapes(found, with_classes=False) == shapes([""] * len(TRUTH), TRUTH)


def test_labelme_reads_the_image_the_shapes_and_the_scores(project: Path) -> None:
    labelme = pytest.importorskip("labelme", reason=REASON)
    utils = pytest.importorskip("labelme.utils", reason=REASON)
    file = labelme.LabelFile(str(project / "out" / "labelme" / "slide_tile.json"))
    assert file.image_path == "slide_tile.png"
    assert np.array_equal(
        utils.img_data_to_arr(file.image_data), tifffile.imread(project / "in" / "slide" / "tile.tif")
    )
    assert [(shape["label"], shape["shape_type"]) for shape in file.shapes[:2]] == [
        ("tumour", "polygon"),
        ("細胞", "mask"),
    ]
    assert np.array_equal(file.shapes[1]["mask"], cells().masks[1])
    assert file.shapes[0]["description"].startswith("score 0.9,")


def test_labelme_saves_the_file_again_and_it_comes_back(project: Path, tmp_path: Path) -> None:
    labelme = pytest.importorskip("labelme", reason=REASON)
    utils = pytest.importorskip("labelme.utils", reason=REASON)
    file = labelme.LabelFile(str(project / "out" / "labelme" / "slide_tile.json"))
    rows = []
    for shape in file.shapes:  # as labelme's window does before it saves
        row = {key: value for key, value in shape.items() if key != "other_data"} | shape["other_data"]
        row["mask"] = None if shape["mask"] is None else utils.img_arr_to_b64(shape["mask"].astype(np.uint8))
        rows.append(row)
    file.save(
        str(tmp_path / "tile.json"),
        shapes=rows,
        image_path="tile.png",
        image_height=SIZE[0],
        image_width=SIZE[1],
        image_data=file.image_data,
    )
    assert imported_shapes(import_annotations(tmp_path)) == shapes(NAMES, TRUTH)


def coco_folder(project: Path, folder: Path) -> Path:
    """Return a folder as Datumaro and CVAT expect COCO data: ``annotations/`` and ``images/``."""
    (folder / "annotations").mkdir(parents=True)
    shutil.copy(project / "out" / "coco.json", folder / "annotations" / "instances_default.json")
    shutil.copytree(project / "in", folder / "images")
    return folder


@pytest.mark.parametrize(
    ("name", "title", "options"),
    [
        ("coco_instances", "COCO data set", {"segmentation_mode": "mask"}),
        ("datumaro", "Datumaro JSON", {}),
        ("cvat", "CVAT for images XML", {}),
    ],
)
def test_datumaro_converts_the_coco_file_and_it_comes_back(
    project: Path, tmp_path: Path, name: str, title: str, options: dict[str, str]
) -> None:
    datumaro = pytest.importorskip("datumaro", reason=REASON)
    data = datumaro.Dataset.import_from(str(coco_folder(project, tmp_path / "coco")), "coco_instances")
    data.export(str(tmp_path / name), name, save_media=True, **options)
    found = import_annotations(tmp_path / name)
    assert found.format_name == title
    assert imported_shapes(found) == shapes(NAMES, TRUTH)
    if name != "cvat":  # which has no scores
        assert sorted(found.images[0].cells.scores.tolist()) == sorted(np.array(SCORES, np.float32).tolist())


def test_geojson_and_shapely_read_valid_geometries_of_the_same_area(project: Path) -> None:
    geojson = pytest.importorskip("geojson", reason=REASON)
    shapely = pytest.importorskip("shapely.geometry", reason=REASON)
    data = geojson.loads((project / "out" / "geojson" / "slide" / "tile.geojson").read_text(encoding="utf-8"))
    assert data.is_valid, data.errors()
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    contains_xy = pytest.importorskip("shapely").contains_xy
    found = [shapely.shape(feature.geometry) for feature in data.features]
    assert all(geometry.is_valid for geometry in found)
    names = [feature.properties["classification"]["name"] for feature in data.features]
    assert shapes(names, (contains_xy(geometry, x, y) for geometry in found)) == shapes(NAMES, TRUTH)


def test_roifile_reads_the_outlines_groups_and_scores_of_the_cells(project: Path) -> None:
    roifile = pytest.importorskip("roifile", reason=REASON)
    shapely = pytest.importorskip("shapely", reason=REASON)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    rois = roifile.ImagejRoi.fromfile(project / "out" / "rois" / "slide" / "tile.zip")
    masks = []
    for roi in rois:
        mask = np.zeros(SIZE, bool)
        for path in roi.coordinates(multi=True):  # ImageJ fills several paths by the even-odd rule
            mask ^= shapely.contains_xy(shapely.Polygon(path), x, y)
        masks.append(mask)
    assert shapes([CLASSES.names[roi.group - 1] for roi in rois], masks) == shapes(NAMES, TRUTH)
    assert sorted(float(roi.properties["score"]) for roi in rois) == sorted(SCORES)


def test_ome_zarrs_reader_finds_the_image_the_cells_and_their_classes(project: Path) -> None:
    pytest.importorskip("zarr", reason=REASON)
    io = pytest.importorskip("ome_zarr.io", reason=REASON)
    reader = pytest.importorskip("ome_zarr.reader", reason=REASON)
    write(project, frozenset(("ome-zarr",)))
    location = io.parse_url(project / "out" / "ome-zarr" / "slide" / "tile.ome.zarr")
    nodes = {node.zarr.basename(): node for node in reader.Reader(location)()}
    picture = np.moveaxis(np.asarray(nodes["tile.ome.zarr"].data[0]), 0, -1)
    assert np.array_equal(picture, tifffile.imread(project / "in" / "slide" / "tile.tif"))
    assert nodes["tile.ome.zarr"].metadata["coordinateTransformations"][0] == [
        {"type": "scale", "scale": [1.0, 0.5, 0.5]}
    ]
    labels, about = np.asarray(nodes["cells"].data[0]), nodes["cells"].metadata["properties"]
    masks = [labels == value for value in about]
    assert shapes([row["class"] for row in about.values()], masks) == shapes(NAMES, TRUTH)
    assert [row["score"] for row in about.values()] == list(SCORES)
    assert set(np.unique(np.asarray(nodes["classes"].data[0]))) == {0, 1, 2}


def test_label_studio_draws_the_same_masks_from_the_run_lengths_of_coco(project: Path) -> None:
    """Label Studio imports COCO's masks by its own packing, which its JSON then has."""
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason=REASON)
    rows = json.loads((project / "out" / "coco.json").read_text(encoding="utf-8"))["annotations"]
    mask_module = pytest.importorskip("pycocotools.mask", reason=REASON)
    for row, mask in zip(rows, TRUTH, strict=True):
        packed = brush.mask2rle(mask_module.decode(row["segmentation"]) * 255)
        unpacked = brush.decode_rle(packed).reshape(*SIZE, 4)[..., 3] > 0
        assert np.array_equal(unpacked, mask)
