"""``predict`` on a slide: the files of the whole image, from cells on disk; glass, regions and resumed runs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_cases import write_image, write_model
from PIL import Image
from slide_files import chunk_file, write_zarr
from test_slide import write_slide
from test_tissue import glass, pyramid, write_levels

from napari_cellseg.cli import main
from napari_cellseg.commands import slides
from napari_cellseg.commands.slides import glass_line, parse_region, tile_text
from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.events import SlideDone, SlideTileDone
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.images import levels, read, slide
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.inference.predictor import Predictor

FORMATS = ("coco", "geojson", "measurements", "parquet", "rois")
SIZE = (300, 350)
Predict = Callable[..., int]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def by_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every TIFF and OME-Zarr be large enough to be read by regions."""
    monkeypatch.setattr(slide, "REGION_BYTES", 0)


@pytest.fixture(scope="module")
def predict(tmp_path_factory: pytest.TempPathFactory) -> Predict:
    model = write_model(tmp_path_factory.mktemp("model") / "model.safetensors")

    def run(*words: Any) -> int:
        options = ["--tile", "160", "--overlap", "40", "--checkpoint", str(model), "--device", "cpu"]
        return main(["predict", *map(str, words), *options])

    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "slide.tif", generate_tissue(SIZE, 40, seed=1)[0], photometric="rgb")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files but the stores; of a zip of ROIs those of its members."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                found |= {f"{file.name}/{name}": archive.read(name) for name in archive.namelist()}
        elif file.is_file() and file.suffix != ".sqlite":
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found


def test_a_slide_and_a_plain_image_give_the_files_of_whole_images(
    tmp_path: Path, path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    path = path.rename(tmp_path / "images" / "b slide.tif")
    write_image(tmp_path / "images" / "a.tif")
    write_image(tmp_path / "images" / "c.tif", 3)
    words = (tmp_path / "images", "--to", *FORMATS, "--level", "0", "--min-score", "0.02")
    assert predict(*words, "--out", tmp_path / "whole") == 0
    assert not (tmp_path / "whole" / "cells").exists()
    monkeypatch.setattr(slide, "REGION_BYTES", 200_000)
    assert predict(*words, "--out", tmp_path / "regions", "--no-tissue-filter") == 0
    assert [file.name for file in (tmp_path / "regions" / "cells").iterdir()] == ["b slide.sqlite"]
    whole, regions = files_of(tmp_path / "whole"), files_of(tmp_path / "regions")
    assert list(whole) == list(regions)
    tables = [pd.read_parquet(tmp_path / name / "measurements.parquet") for name in ("whole", "regions")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    for name, content in whole.items():
        assert regions[name] == content or name == "measurements.parquet", name  # the batches are row groups
    zips = [(tmp_path / name / "test-results.zip").read_bytes() for name in ("whole", "regions")]
    assert zips[0] == zips[1]
    assert {"coco.json", "geojson/b slide.geojson", "measurements.csv", "test-results.json"} <= set(whole)
    assert len(json.loads(whole["test-results.json"])) > 80


@pytest.mark.usefixtures("by_regions")
def test_the_command_resumes_and_says_so(
    tmp_path: Path, path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(path, "--out", tmp_path / "out", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["slides"]["slide"]["tiles"] == 9
    store = Path(answer["slides"]["slide"]["cells"])
    with CellStore.open(store) as kept:
        assert sum(answer["predicted"]["slide"].values()) == len(kept)
    results = (tmp_path / "out" / "test-results.json").read_bytes()
    assert predict(path, "--out", tmp_path / "out") == 0
    assert "a finished run with the same settings" in capsys.readouterr().out
    assert (tmp_path / "out" / "test-results.json").read_bytes() == results
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(
        {"cells", "test-results.json", "test-results.zip", "test-results-model.json", "test_image_name_to_ids.json"}
    )


@pytest.mark.usefixtures("by_regions")
def test_after_ctrl_c_the_same_command_resumes(
    tmp_path: Path, path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(path, "--out", tmp_path / "whole") == 0
    batches = []

    def stopped(self: Predictor, *arguments: Any) -> Any:
        batches.append(arguments)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return cells_of(self, *arguments)

    cells_of = Predictor.cells_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "cells_of", stopped)
        assert predict(path, "--out", tmp_path / "out") == 130
    assert "The same command resumes" in capsys.readouterr().out
    assert not (tmp_path / "out" / "test-results.json").exists()
    assert predict(path, "--out", tmp_path / "out") == 0
    assert "resumed after 3 tiles" in capsys.readouterr().out
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("by_regions")
def test_skipped_glass_is_counted_in_the_output(
    tmp_path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = glass(SIZE)
    pixels[:, :88] = generate_tissue(SIZE, 40, seed=1)[0][:, :88]
    write_levels(tmp_path / "slide.tif", pyramid(pixels, 3), um=1.0)
    assert predict(tmp_path / "slide.tif", "--out", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "slide: 6 of 9 tiles are glass and were skipped; --no-tissue-filter predicts them too" in told
    assert predict(tmp_path / "slide.tif", "--out", tmp_path / "all", "--no-tissue-filter", "--json") == 0
    assert json.loads(capsys.readouterr().out)["slides"]["slide"]["glass"] == 0


def test_a_region_of_a_small_tiled_image_is_predicted(tmp_path: Path, path: Path, predict: Predict) -> None:
    assert predict(path, "--out", tmp_path / "whole") == 0
    region = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[[20, 10], [130, 10], [130, 120], [20, 120], [20, 10]]]},
    }
    (tmp_path / "region.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [region]}))
    assert predict(path, "--out", tmp_path / "box", "--region", "20,10,110,110") == 0
    assert predict(path, "--out", tmp_path / "shape", "--region", tmp_path / "region.geojson") == 0
    whole, box, shape = (
        json.loads((tmp_path / name / "test-results.json").read_text()) for name in ("whole", "box", "shape")
    )
    assert box == shape
    assert 3 < len(box) < len(whole)
    kept = [row for row in whole if row in box]
    assert kept == box, "the same rows, at their places in the slide"


def test_a_region_is_in_px_of_level_0_whatever_level_is_read(tmp_path: Path, path: Path, predict: Predict) -> None:
    assert predict(path, "--out", tmp_path / "out", "--level", "1", "--region", "0,0,160,300") == 0
    rows = json.loads((tmp_path / "out" / "test-results.json").read_text())
    assert rows
    assert {tuple(row["segmentation"]["size"]) for row in rows} == {(150, 175)}
    assert max(row["bbox"][0] + row["bbox"][2] / 2 for row in rows) < 90


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--region", "10,20"], "x,y,width,height"),
        (["--region", "0,0,10,-5"], "x,y,width,height"),
        (["--region", "900,900,10,10"], "350 x 300 px"),
        (["--region", "0,0,50,50", "--to", "overlays"], "leave --region out"),
    ],
)
def test_a_bad_region_is_one_line(
    tmp_path: Path, path: Path, predict: Predict, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert predict(path, "--out", tmp_path / "out", *words) != 0
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out" / "test-results.json").exists()


def test_a_region_needs_one_image_of_a_format_with_regions(
    tmp_path: Path, path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(generate_tissue(SIZE, 8)[0]).save(tmp_path / "plain.png")
    assert predict(tmp_path / "plain.png", "--out", tmp_path / "out", "--region", "0,0,50,50") == 2
    assert "cannot be read by regions" in capsys.readouterr().err
    assert predict(tmp_path / "plain.png", path, "--out", tmp_path / "out", "--region", "0,0,50,50") == 2
    assert "one by one" in capsys.readouterr().err


def test_an_ome_zarr_is_predicted_by_regions_with_the_cells_of_the_whole_image(
    tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("zarr")
    pixels = generate_tissue(SIZE, 40, seed=1)[0].transpose(2, 0, 1)
    path = write_zarr(tmp_path / "slide.zarr", pixels)
    words = (path, "--level", "0", "--to", "geojson")
    assert predict(*words, "--out", tmp_path / "whole") == 0
    monkeypatch.setattr(slide, "REGION_BYTES", 0)
    assert predict(*words, "--out", tmp_path / "regions", "--no-tissue-filter") == 0
    assert [file.name for file in (tmp_path / "regions" / "cells").iterdir()] == ["slide.sqlite"]
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "regions")
    assert predict(*words, "--out", tmp_path / "regions", "--no-tissue-filter") == 0
    assert "a finished run with the same settings" in capsys.readouterr().out
    chunk_file(path, (0, 3, 2)).write_bytes(b"damaged")
    assert predict(*words, "--out", tmp_path / "damaged") == 2
    assert "damaged near x 128, y 192 px" in capsys.readouterr().err


def test_polygons_keep_their_holes_and_overlapping_ones_are_joined(tmp_path: Path) -> None:
    file = tmp_path / "region.geojson"
    square = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    hole = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square, hole]}},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[square], [square]]}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}},
    ]
    file.write_text(json.dumps(features))
    assert [len(rings) for rings in parse_region(str(file))] == [2, 1, 1]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features[2:]}))
    with pytest.raises(AnnotationError, match="has no polygon"):
        parse_region(str(file))
    file.write_text(json.dumps([{"geometry": {"type": "Polygon", "coordinates": [[["x", 1]]]}}]))
    with pytest.raises(AnnotationError, match=r"region\.geojson, feature 1"):
        parse_region(str(file))
    for word in ("nonsense", "nan,0,10,10", "0,inf,10,10", "0,0,nan,10", "0,0,0,10"):
        with pytest.raises(ConfigError, match=f"--region {word}"):
            parse_region(word)


@pytest.mark.usefixtures("by_regions")
def test_a_format_that_needs_the_whole_image_gets_it_or_is_refused(
    tmp_path: Path, path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(path, "--out", tmp_path / "out", "--to", "overlays") == 0
    assert (tmp_path / "out" / "overlays" / "slide.png").is_file()
    assert not (tmp_path / "out" / "cells").exists()
    for module in (read, slide, levels):  # memory too small for the finest level, as it is for a whole slide
        monkeypatch.setattr(module, "MAX_BYTES", 300_000)
    assert predict(path, "--out", tmp_path / "no", "--level", "0", "--to", "geojson", "overlays") == 2
    error = capsys.readouterr().err
    assert "overlays" in error
    assert "coarser --level" in error
    assert not (tmp_path / "no").exists()
    assert predict(path, "--out", tmp_path / "yes", "--level", "0", "--to", *FORMATS) == 0


def test_a_slide_with_more_pixels_than_rle_can_count_is_refused_before_the_prediction(
    tmp_path: Path, path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(slide, "REGION_BYTES", 0)
    monkeypatch.setattr(slides, "MAX_FRAME_PIXELS", 100_000)
    assert predict(path, "--out", tmp_path / "out", "--level", "0") == 2
    assert "300 x 350 px, more than the 100,000 px" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_progress_is_in_words() -> None:
    step = {"image": 1, "images": 1, "tile": 5, "tiles": 40, "cells": 3, "seconds_left": 130.0}
    assert tile_text(SlideTileDone(**step, mm2=1.234, mm2_in_all=9.87)) == (
        "tile 5/40, 1.23 of 9.87 mm2, about 2 min left"
    )
    assert tile_text(SlideTileDone(**{**step, "tile": 40}, mm2=None, mm2_in_all=None)) == "tile 40/40"
    done = {"image": 1, "images": 1, "image_id": "a", "store": Path(), "cells": 0, "pixel_size_um": None, "seconds": 0}
    told = glass_line(SlideDone(**done, tiles=4000, glass=1))
    assert told == "1 of 4,000 tiles is glass and was skipped; --no-tissue-filter predicts it too"
