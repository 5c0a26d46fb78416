"""A streamed export of the cells of a slide: its progress, and what a stop leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from slide_cells import CLASSES, grid_cells, write_store

from napari_cellseg.events import drive
from napari_cellseg.export import CellsProgress, ExportPlan, ExportSummary
from napari_cellseg.export.exporters import EXPORTERS, exporters_of
from napari_cellseg.export.slides import SlideExport, export_slide
from napari_cellseg.formats.cell_decisions import CellDecisions, read_decisions
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.images.read import ImageFile

STREAMED = frozenset(exporter.name for exporter in EXPORTERS if exporter.stream and not exporter.missing())
CELLS = grid_cells((600, 700), spacing=25)
LARGEST_BATCH = 256


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("cells") / "slide.sqlite", CELLS)


def steps(store: Path, folder: Path, formats: frozenset[str]) -> Generator[CellsProgress, None, ExportSummary]:
    file = ImageFile("slide", store.with_suffix(".tif"))
    slide = SlideExport(file=file, store=store, pixel_size_um=0.5, decisions={}, limits={}, match={})
    return export_slide(slide, CLASSES, ExportPlan(folder=folder, formats=formats))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_progress_counts_the_cells_of_each_format(store: Path, tmp_path: Path) -> None:
    assert len(CELLS) > 2 * LARGEST_BATCH
    events: list[CellsProgress] = []
    drive(steps(store, tmp_path, STREAMED), events.append)
    assert str(events[1]) == "Counting: 256 cells"
    labels = [exporter.label for exporter in exporters_of(STREAMED)]
    for number, label in enumerate(labels, start=1):
        of_format = [event for event in events if event.label == label]
        assert {(event.number, event.formats, event.cells_in_all) for event in of_format} == {
            (number, len(labels), len(CELLS))
        }
        counts = [event.cells for event in of_format]
        assert counts == sorted(counts)
        assert counts[-1] == len(CELLS)
        assert max(b - a for a, b in pairwise(counts)) <= LARGEST_BATCH
    assert f"GeoJSON: 512 of {len(CELLS)} cells" in map(str, events)


def test_files_have_the_numbers_that_the_window_shows_and_who_decided(store: Path, tmp_path: Path) -> None:
    with CellReader(store) as reader, CellDecisions.open(reader, "Ann") as decisions:
        wrong, right, odd = (reader.cell(number) for number in (3, 7, 20))
        assert wrong is not None
        assert right is not None
        assert odd is not None
        decisions.reject([wrong])
        decisions.accept([right])
        decisions.give_class([odd], 3 - odd.class_id)
    with CellReader(store) as reader:
        kept = read_decisions(reader)
        slide = SlideExport(
            file=ImageFile("slide", store.with_suffix(".tif")),
            store=store,
            pixel_size_um=0.5,
            decisions=kept,
            limits={},
            match={},
        )
    formats = frozenset({"coco", "geojson", "measurements"})
    drive(export_slide(slide, CLASSES, ExportPlan(folder=tmp_path, formats=formats)))

    with (tmp_path / "measurements.csv").open(encoding="utf-8-sig") as file:
        rows = {int(row["cell_id"]): row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted(set(range(1, len(CELLS) + 1)) - {3})
    assert {number: (row["status"], row["by"]) for number, row in rows.items() if row["by"]} == {
        7: ("accepted", "Ann"),
        20: ("edited", "Ann"),
    }
    scores = [float(row["score"]) for _, row in sorted(rows.items())]
    np.testing.assert_allclose(scores, np.delete(CELLS.scores, 2), rtol=1e-5)
    coco = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert {each["label_id"]: each["by"] for each in coco if each.get("by")} == {7: "Ann", 20: "Ann"}
    (geojson,) = tmp_path.rglob("*.geojson")
    names = {each["properties"]["name"] for each in json.loads(geojson.read_text())["features"]}
    assert names == {f"#{number}" for number in rows}


@pytest.mark.parametrize("name", sorted(STREAMED))
def test_a_stop_between_batches_leaves_the_files_of_before(store: Path, tmp_path: Path, name: str) -> None:
    drive(steps(store, tmp_path, frozenset({name})))
    before = files(tmp_path)
    assert before
    running = steps(store, tmp_path, frozenset({name}))
    for event in running:
        if event.label and event.cells == 2 * LARGEST_BATCH:
            assert any(path.suffix == ".tmp" for path in files(tmp_path)), "a file is being written"
            running.close()
    assert files(tmp_path) == before
