from __future__ import annotations

import importlib
import inspect
import json
from importlib.metadata import entry_points
from pathlib import Path

import npe2
import numpy as np
import pytest
import tifffile
import yaml

from napari_cellseg import napari_hooks
from napari_cellseg.formats.coco import CocoDataset, write_dataset
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue

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
    used = {each.command for part in ("widgets", "readers", "sample_data") for each in getattr(contributions, part)}
    assert used | menus <= commands
    assert commands <= used | menus, "a command that nothing can call"
    assert set(contributions.menus) <= {str(menu) for menu in MenuId.contributables()}


def test_each_dock_takes_the_viewer_that_napari_gives(manifest):
    commands = {command.id: command.python_name for command in manifest.contributions.commands}
    for widget in manifest.contributions.widgets:
        if widget.autogenerate:  # magicgui makes these from functions of layers
            continue
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


def read(path):
    return napari_hooks.get_reader(str(path))(str(path))


def test_a_coco_data_set_gives_its_first_image_with_a_layer_for_each_class(tmp_path):
    rgb, truth = generate_tissue((128, 128), 20)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    image = ImageId("a.tif", 1, 128, 128)
    write_dataset(tmp_path / "data.coco.json", CocoDataset((image,), TISSUE_CLASSES, {1: truth}))

    layers = read(tmp_path / "data.coco.json")

    assert [options["name"] for _, options, _ in layers] == ["a", *TISSUE_CLASSES.names]
    assert sum(len(np.unique(data)) - 1 for data, _, kind in layers if kind == "labels") == len(truth)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "notes.json", "notes.coco.json", "data.json", "empty"])
def test_what_is_not_ours_is_left_to_others(tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        path.write_text(json.dumps({"images" if name == "data.json" else "a": 1}))
    else:
        path.mkdir()
    assert napari_hooks.get_reader(str(path)) is None


def test_the_sample_photograph_is_an_rgb_image():
    ((data, options, kind),) = napari_hooks.sample_ihc()
    assert (data.shape, kind, options["rgb"]) == ((512, 512, 3), "image", True)
