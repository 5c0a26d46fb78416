from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import npe2
import numpy as np
import pytest
import tifffile
import yaml
from napari.components import ViewerModel

from napari_cellseg import napari_hooks
from napari_cellseg.errors import ExportError, ImageReadError
from napari_cellseg.formats.coco import CocoDataset, write_dataset
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.label_images import read_class_images
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue, write_training_folder

MANIFEST = Path(napari_hooks.__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest():
    return npe2.PluginManifest.from_file(MANIFEST)


def test_the_installed_plugin_is_this_manifest():
    (entry,) = entry_points(group="napari.manifest", name="napari-cellseg")
    assert entry.value == "napari_cellseg:napari.yaml"


def test_each_command_can_be_imported(manifest):
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id


def test_each_command_that_is_referred_to_exists_and_each_menu_is_one_that_napari_offers(manifest):
    from napari._app_model.constants import MenuId

    contributions = manifest.contributions
    commands = {command.id for command in contributions.commands}
    menus = {item.command for items in contributions.menus.values() for item in items}
    used = {
        each.command
        for part in ("widgets", "readers", "writers", "sample_data")
        for each in getattr(contributions, part)
    }
    assert used | menus <= commands
    assert commands <= used | menus, "a command that nothing can call"
    assert set(contributions.menus) <= {str(menu) for menu in MenuId.contributables()}


def test_each_widget_takes_the_viewer_that_napari_gives(manifest):
    commands = {command.id: command.python_name for command in manifest.contributions.commands}
    for widget in manifest.contributions.widgets:
        module, name = commands[widget.command].split(":")
        dock = getattr(importlib.import_module(module), name)
        assert "napari_viewer" in inspect.signature(dock).parameters, name


def test_preferences_in_the_manifest_are_those_that_the_docks_read():
    from dataclasses import asdict

    from napari_cellseg.gui.preferences import SECTIONS, Preferences

    sections = yaml.safe_load(MANIFEST.read_text())["contributions"]["configurations"]
    assert tuple(sections) == SECTIONS
    properties = {name: entry for section in sections.values() for name, entry in section["properties"].items()}
    assert {name: entry["default"] for name, entry in properties.items()} == asdict(Preferences())


def test_the_hooks_bring_neither_qt_nor_torch():
    check = (
        "import sys, napari_cellseg.napari_hooks; sys.exit(any(n in sys.modules for n in ('qtpy', 'torch', 'napari')))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def read(path):
    return napari_hooks.get_reader(str(path))(str(path))


def test_a_tiff_becomes_an_image_layer_in_micrometres(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", resolution=(40_000, 40_000), resolutionunit="CENTIMETER"
    )

    ((data, options, kind),) = read(tmp_path / "a.tif")

    np.testing.assert_array_equal(data, pixels)
    assert kind == "image"
    assert options["scale"] == pytest.approx((0.25, 0.25))


def test_a_stack_keeps_its_planes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60_000, (4, 20, 30), np.uint16)
    tifffile.imwrite(tmp_path / "z.tif", pixels, metadata={"axes": "ZYX"}, imagej=True)
    viewer = ViewerModel()
    for data, options, kind in read(tmp_path / "z.tif"):
        getattr(viewer, f"add_{kind}")(data, **options)
    np.testing.assert_array_equal(viewer.layers[0].data, pixels)


def test_a_training_folder_gives_the_image_and_its_class_layers(tmp_path):
    write_training_folder(tmp_path, 1, (128, 128))
    folder = tmp_path / "train" / "tissue_01"

    layers = read(folder)

    truth = read_class_images(folder)
    assert [kind for _, _, kind in layers] == ["image"] + ["labels"] * len(truth)
    for (data, options, _), (class_id, label_image) in zip(layers[1:], sorted(truth.items()), strict=True):
        assert options["metadata"]["class_id"] == class_id
        np.testing.assert_array_equal(data, label_image)


def test_a_coco_data_set_gives_its_first_image_with_a_layer_for_each_class(tmp_path):
    rgb, truth = generate_tissue((128, 128), 20)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    image = ImageId("a.tif", 1, 128, 128)
    write_dataset(tmp_path / "data.json", CocoDataset((image,), TISSUE_CLASSES, {1: truth}))

    layers = read(tmp_path / "data.json")

    assert [options["name"] for _, options, _ in layers] == ["a", *TISSUE_CLASSES.names]
    assert sum(len(np.unique(data)) - 1 for data, _, kind in layers if kind == "labels") == len(truth)


@pytest.mark.parametrize("name", ["a.png", "notes.json", "empty"])
def test_what_is_not_ours_is_left_to_others(tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        path.write_text(json.dumps({"a": 1}))
    else:
        path.mkdir()
    assert napari_hooks.get_reader(str(path)) is None


def test_a_text_that_is_called_tif_is_one_clear_error(tmp_path):
    (tmp_path / "a.tif").write_text("hello")
    with pytest.raises(ImageReadError, match=r"a\.tif"):
        read(tmp_path / "a.tif")


def test_the_sample_tissue_goes_out_and_comes_back_unchanged(tmp_path):
    viewer = ViewerModel()
    for data, options, kind in napari_hooks.sample_tissue():
        getattr(viewer, f"add_{kind}")(data, **options)
    labels = [layer.as_layer_data_tuple() for layer in viewer.layers[1:]]

    written = napari_hooks.write_class_images(str(tmp_path / "out.tif"), labels)
    results = napari_hooks.write_results(str(tmp_path / "test-results.json"), labels)

    assert len(written) == len(labels)
    found = read_class_images(tmp_path / "out")
    for data, options, _ in labels:
        np.testing.assert_array_equal(found[options["metadata"]["class_id"]], data)
    rows = json.loads(Path(results[0]).read_text())
    assert len(rows) == sum(len(np.unique(data)) - 1 for data, _, _ in labels)
    assert Path(results[1]).is_file()


def test_label_layers_of_two_sizes_are_refused():
    layers = [(np.zeros((n, n), int), {"metadata": {}}, "labels") for n in (4, 5)]
    with pytest.raises(ExportError, match="of one size"):
        napari_hooks.write_class_images("out.tif", layers)


def test_the_sample_photograph_is_an_rgb_image():
    ((data, options, kind),) = napari_hooks.sample_ihc()
    assert (data.shape, kind, options["rgb"]) == ((512, 512, 3), "image", True)
