"""A streamed export of the cells of a slide: its progress, and what a stop leaves."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from pathlib import Path

import pytest
from slide_cells import CLASSES, grid_cells, write_store

from napari_cellseg.events import drive
from napari_cellseg.export import CellsProgress, ExportPlan, ExportSummary
from napari_cellseg.export.exporters import EXPORTERS, exporters_of
from napari_cellseg.export.slides import SlideExport, export_slide
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
