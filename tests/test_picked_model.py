"""Two bundled models: which one is picked for a user who chose none, and what is known about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from stains import fluorescence

from napari_cellseg.cli import main
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.images.statistics import picture_facts
from napari_cellseg.model.bundled import FOR_ANY_STAIN, USUAL, WEIGHTS, bundled
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.suitability import pick_model

TISSUE = generate_tissue((96, 96), 3)[0]
CARDS = {USUAL: "MODEL_CARD.md", FOR_ANY_STAIN: "NUCLEI_CARD.md"}


def write(folder: Path, **images: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, pixels in images.items():
        tifffile.imwrite(folder / f"{name}.tif", pixels)
    return folder


def test_a_picture_is_described_from_a_grid_of_its_pixels_as_from_all(tmp_path: Path) -> None:
    folder = write(tmp_path, grey16=fluorescence(), rgb=TISSUE, large=np.tile(fluorescence(), (7, 5)))
    for name in ("grey16", "rgb", "large"):
        image = read_image(folder / f"{name}.tif")
        assert image.facts == picture_facts(image.rgb())


def test_fluorescence_gets_the_model_for_any_stain_with_the_reason(tmp_path: Path) -> None:
    picked = pick_model(read_image(write(tmp_path, dapi=fluorescence()) / "dapi.tif").facts)
    assert picked.path == bundled("nuclei")
    assert picked.reason.startswith("it is unlike the training images of lite-consep: dark (mean ")
    assert "grey, they are coloured" in picked.reason


def test_grey_bright_field_gets_it_too_and_tissue_the_usual_one() -> None:
    grey = np.stack([TISSUE.mean(-1).astype(np.uint8)] * 3, -1)
    assert pick_model(picture_facts(grey)).name == "nuclei"
    picked = pick_model(picture_facts(TISSUE))
    assert (picked.path, picked.reason) == (bundled(), "")


def test_the_model_for_any_stain_finds_the_nuclei_and_the_command_says_that_it_was_picked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "images", dapi=fluorescence())
    assert main(["predict", str(folder), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "model nuclei was picked. dapi: it is unlike the training images of lite-consep: dark" in text
    assert "--checkpoint lite-consep uses that model." in text
    assert "model nuclei on cpu" in text
    assert "16 of 16 predicted cells" in text


def test_most_of_the_images_decide_and_a_chosen_model_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cellseg.commands.predict.predict_files", lambda *_, **__: ([], []))
    folder = write(tmp_path / "images", a=fluorescence(), b=TISSUE, c=fluorescence())
    arguments = ["predict", str(folder), "--out", str(tmp_path / "out"), "--device", "cpu"]
    main(arguments)
    assert "(2 of the 3 images that were checked are)" in capsys.readouterr().out
    main([*arguments, "--checkpoint", "lite-consep"])
    assert "was picked" not in capsys.readouterr().out
    tifffile.imwrite(folder / "a.tif", TISSUE)
    main(arguments)
    assert "was picked" not in capsys.readouterr().out


def test_an_unknown_name_of_a_model_is_refused_with_the_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "images", a=TISSUE)
    assert main(["predict", str(folder), "--out", str(tmp_path / "out"), "--checkpoint", "nuclei2"]) == 2
    assert "no model 'nuclei2'" in capsys.readouterr().err


@pytest.mark.parametrize("name", CARDS)
def test_each_bundled_model_is_small_intact_and_has_a_complete_card(name: str) -> None:
    path = bundled(name)
    assert path.stat().st_size < 10_000_000
    header = read_header(path, verify=True)
    assert header.statistics is not None
    assert header.thresholds is not None
    card = (WEIGHTS / CARDS[name]).read_text(encoding="utf-8")
    for part in (
        path.name,
        "| network |",
        "| pixel size |",
        "| initial weights |",
        "| data |",
        "| validation set |",
        "| recipe |",
        "seed",
        "## Metrics",
        "AP50",
        "PQ",
        "F1",
        "## What to expect",
        "napari-cellseg train --data",
        "## Licence and training data",
    ):
        assert part in card, part
    metrics = header.metrics
    assert f"{metrics['ap50']:.3f}" in card


def test_no_other_model_is_bundled_and_the_package_contains_the_cards() -> None:
    assert {path.stem for path in WEIGHTS.glob("*.safetensors")} == set(CARDS)
    assert {path.name for path in WEIGHTS.glob("*.md")} == set(CARDS.values())
    settings = (WEIGHTS.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"model/weights/*.safetensors", "model/weights/*_CARD.md"' in settings


def test_the_model_for_any_stain_has_one_class_and_its_name() -> None:
    header = read_header(bundled("nuclei"))
    assert header.classes.names == ("nucleus",)
    assert header.name == "nuclei"
    assert header.config.fpn.norm == "stored"
