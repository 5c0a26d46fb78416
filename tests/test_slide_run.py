"""A slide predicted tile by tile: the cells of the whole image, on disk, resumed after a stop or a kill."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tifffile
from command_cases import write_model
from test_slide import write_slide
from test_tissue import glass, pyramid, write_levels

from napari_cellseg.events import ImageDone, ImageFailed, Message, PredictEvent, SlideDone, SlideTileDone
from napari_cellseg.formats.cell_decisions import CellDecisions
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.images import overview
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict import ModelCache, predict
from napari_cellseg.model.inference.predict_item import PredictItem, SlideTask
from napari_cellseg.model.inference.slide_region import SlideRegion

TILES = 9
SIZE = (300, 350)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def cache() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def tissue() -> Any:
    return generate_tissue(SIZE, 40, seed=1)[0]


@pytest.fixture
def path(tmp_path: Path, tissue: Any) -> Path:
    return write_slide(tmp_path / "slide.tif", tissue, photometric="rgb")


class Runner:
    """Runs predictions with one small model."""

    def __init__(self, model: Path, cache: ModelCache) -> None:
        self._model, self._cache = model, cache
        self._whole: dict[tuple[tuple[str, Any], ...], InstanceMasks] = {}

    def events(self, path: Path, task: SlideTask | None, *, stop_after: int = 0, **options: Any) -> list[PredictEvent]:
        settings = PredictOptions(checkpoint=self._model, device="cpu", **{"tile": 160, "overlap": 40, **options})
        item = PredictItem("slide", path, reading=ReadOptions(level=0), slide=task)
        run = predict([item], settings, cache=self._cache)
        events: list[PredictEvent] = []
        for event in run:
            events.append(event)
            if stop_after and sum(isinstance(each, SlideTileDone) for each in events) == stop_after:
                run.close()
        return events

    def whole(self, path: Path, **options: Any) -> InstanceMasks:
        """Return the cells of the whole image of ``tissue``; of each options predicted once, for all tests."""
        key = tuple(sorted({"batch": 1, **options}.items()))
        if key not in self._whole:
            (done,) = [event for event in self.events(path, None, **options) if isinstance(event, ImageDone)]
            self._whole[key] = done.instances
        return self._whole[key]


@pytest.fixture(scope="module")
def runner(model: Path, cache: ModelCache) -> Runner:
    return Runner(model, cache)


def read(path: Path) -> TileCells:
    with CellStore.open(path) as store:
        return TileCells.concatenate([TileCells.empty(SIZE), *store.best_first(batch=50)])


def tiles_done(events: list[PredictEvent]) -> list[int]:
    return [event.tile for event in events if isinstance(event, SlideTileDone)]


def texts(events: list[PredictEvent]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Message))


@pytest.mark.parametrize("batch", [1, 2])
def test_the_cells_on_disk_are_those_of_the_whole_image(
    runner: Runner, path: Path, tissue: Any, tmp_path: Path, batch: int
) -> None:
    store = tmp_path / "slide.sqlite"
    events = runner.events(path, SlideTask(store, skips_glass=False), batch=batch)
    found, whole = read(store), runner.whole(path, batch=batch)
    assert len(whole) > 40
    assert found.cells.equals(whole)
    assert tiles_done(events)[-1] == TILES
    (done,) = [event for event in events if isinstance(event, SlideDone)]
    assert (done.cells, done.tiles, done.glass, done.store) == (len(whole), TILES, 0, store)
    boxes = zip(whole.masks, whole.boxes.tolist(), strict=True)
    colours = [tissue[y0:y1, x0:x1][mask].sum(0, dtype=int).tolist() for mask, (x0, y0, x1, y1) in boxes]
    assert found.colours.tolist() == colours


def test_the_tiles_nearest_to_a_place_come_first_and_the_cells_are_the_same(
    runner: Runner, path: Path, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped.sqlite"
    runner.events(path, SlideTask(stopped, skips_glass=False, first=(350.0, 300.0)), stop_after=1)
    with CellStore.open(stopped) as store:
        assert list(store.tiles()) == [TILES - 1], "the tile of the corner"
    runner.events(path, SlideTask(stopped, skips_glass=False, first=(175.0, 150.0)))
    with CellStore.open(stopped) as store:
        found = TileCells.concatenate(list(store.best_first()))
    assert found.cells.equals(runner.whole(path))


def test_a_finished_prediction_that_was_reviewed_is_kept(runner: Runner, path: Path, tmp_path: Path) -> None:
    store = tmp_path / "slide.sqlite"
    runner.events(path, SlideTask(store, skips_glass=False))
    with CellReader(store) as reader, CellDecisions.open(reader, "ana") as decisions:
        decisions.reject([reader.cell(1)])
    events = runner.events(path, SlideTask(store, skips_glass=False), min_score=0.9)
    assert "It is kept as slide.sqlite.bak" in texts(events)


def test_a_stopped_run_is_resumed_and_gives_the_same_cells(runner: Runner, path: Path, tmp_path: Path) -> None:
    store = tmp_path / "slide.sqlite"
    task = SlideTask(store, skips_glass=False)
    assert tiles_done(runner.events(path, task, stop_after=4)) == [1, 2, 3, 4]
    with CellStore.open(store) as kept:
        assert not kept.is_complete
        assert len(kept.pieces())
    with CellReader(store) as reader:
        assert reader.tiles_done == (4, TILES)
    events = runner.events(path, task)
    assert tiles_done(events) == [5, 6, 7, 8, 9]
    assert "resumed after 4 tiles" in texts(events)
    with CellReader(store) as reader:
        assert reader.tiles_done is None
    assert read(store).cells.equals(runner.whole(path))
    events = runner.events(path, task)
    assert tiles_done(events) == []
    assert "a finished run with the same settings" in texts(events)
    assert any(isinstance(event, SlideDone) for event in events)


@pytest.mark.parametrize("tiles", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_a_kill_loses_no_finished_tile(runner: Runner, path: Path, tmp_path: Path, tiles: int) -> None:
    (tmp_path / "run").mkdir()
    run = predict(
        [
            PredictItem(
                "slide", path, reading=ReadOptions(level=0), slide=SlideTask(tmp_path / "run" / "a.sqlite", False)
            )
        ],
        PredictOptions(checkpoint=runner._model, device="cpu", tile=160, overlap=40),
    )
    while tiles:
        tiles -= isinstance(next(run), SlideTileDone)
    shutil.copytree(tmp_path / "run", tmp_path / "killed")  # the files as a kill leaves them
    run.close()
    store = tmp_path / "killed" / "a.sqlite"
    assert "resumed after" in texts(runner.events(path, SlideTask(store, skips_glass=False)))
    assert read(store).cells.equals(runner.whole(path))


def test_other_settings_start_again_and_the_unfinished_file_is_kept(runner: Runner, path: Path, tmp_path: Path) -> None:
    store = tmp_path / "slide.sqlite"
    task = SlideTask(store, skips_glass=False)
    runner.events(path, task, stop_after=2)
    events = runner.events(path, task, overlap=64)
    assert "another value of: prediction options" in texts(events)
    assert "slide.sqlite.bak" in texts(events)
    assert tiles_done(events)[0] == 1
    assert read(store).cells.equals(runner.whole(path, overlap=64))
    with CellStore.open(tmp_path / "slide.sqlite.bak") as kept:
        assert len(kept.tiles()) == 2


def test_a_file_that_is_no_store_is_kept(runner: Runner, path: Path, tmp_path: Path) -> None:
    store = tmp_path / "slide.sqlite"
    store.write_text("my notes")
    events = runner.events(path, SlideTask(store), stop_after=1)
    assert (tmp_path / "slide.sqlite.bak").read_text() == "my notes"
    assert "slide.sqlite.bak" in texts(events)


@pytest.mark.parametrize("levels", [1, 3])
def test_glass_is_left_out_and_counted(runner: Runner, tmp_path: Path, tissue: Any, levels: int) -> None:
    """Of three columns of tiles, the two on the right are glass."""
    pixels = glass(SIZE)
    pixels[:, :88] = tissue[:, :88]
    path = tmp_path / "slide.tif"
    write_levels(path, pyramid(pixels, levels), um=1.0)
    found = {}
    for skips in (True, False):
        events = runner.events(path, SlideTask(tmp_path / f"{skips}.sqlite", skips))
        (done,) = [event for event in events if isinstance(event, SlideDone)]
        assert (done.tiles, done.glass) == (TILES, 6 if skips else 0)
        found[skips] = read(tmp_path / f"{skips}.sqlite").cells
    assert found[True].boxes[:, 2].max() < 163
    assert (found[False].boxes[:, 0] > 250).any(), "the random model finds cells on glass"
    left = [cells.select(cells.boxes[:, 2] < 80) for cells in found.values()]
    assert len(left[0])
    assert left[0].boxes.tolist() == left[1].boxes.tolist()


def test_progress_is_in_mm2_of_tissue_with_the_time_left(runner: Runner, tmp_path: Path, tissue: Any) -> None:
    path = tmp_path / "slide.tif"
    write_levels(path, [tissue], um=1.0)
    events = runner.events(path, SlideTask(tmp_path / "a.sqlite"))
    steps = [event for event in events if isinstance(event, SlideTileDone)]
    assert steps[-1].mm2 == steps[-1].mm2_in_all == pytest.approx(300 * 350 / 1e6)
    assert steps[0].mm2 is not None
    assert 0 < steps[0].mm2 < steps[1].mm2  # type: ignore[operator]
    assert steps[0].seconds_left > 0 == steps[-1].seconds_left


def test_a_region_gives_its_cells_at_their_places_in_the_slide(runner: Runner, path: Path, tmp_path: Path) -> None:
    ring = ((20.0, 10.0), (130.0, 40.0), (90.0, 140.0), (10.0, 120.0))
    events = runner.events(path, SlideTask(tmp_path / "a.sqlite", skips_glass=False, region=((ring,),)))
    whole = runner.whole(path)
    expected = whole.select(SlideRegion(((ring,),), SIZE, SIZE).keeps(whole))
    assert 3 < len(expected) < len(whole)
    found = read(tmp_path / "a.sqlite").cells
    assert found.boxes.tolist() == expected.boxes.tolist()
    assert found.scores.tolist() == expected.scores.tolist()
    assert len(tiles_done(events)) == 4
    (done,) = [event for event in events if isinstance(event, SlideDone)]
    assert done.tiles == 4


def test_a_region_outside_the_slide_is_an_error(runner: Runner, path: Path, tmp_path: Path) -> None:
    ring = ((900.0, 10.0), (990.0, 10.0), (990.0, 90.0))
    events = runner.events(path, SlideTask(tmp_path / "a.sqlite", region=((ring,),)))
    (failed,) = [event for event in events if isinstance(event, ImageFailed)]
    assert "350 x 300 px" in failed.message
    assert not (tmp_path / "a.sqlite").exists()


def test_a_damaged_tile_fails_and_the_finished_tiles_stay(
    runner: Runner, tmp_path: Path, tissue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 100)
    path = write_slide(tmp_path / "slide.tif", tissue, photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[-1]
    whole = path.read_bytes()
    path.write_bytes(whole[:offset] + b"\xff" * 40 + whole[offset + 40 :])
    events = runner.events(path, SlideTask(tmp_path / "a.sqlite", skips_glass=False))
    (failed,) = [event for event in events if isinstance(event, ImageFailed)]
    assert "near x 320, y 256 px" in failed.message
    with CellStore.open(tmp_path / "a.sqlite") as store:
        assert len(store.tiles()) >= 6


def box_ring(x0: float, y0: float, x1: float, y1: float) -> Any:
    return (x0, y0), (x1, y0), (x1, y1), (x0, y1)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_part_has_all_of_its_cells_and_the_next_runs_give_the_rest(
    runner: Runner, path: Path, tmp_path: Path, batch: int
) -> None:
    store, whole = tmp_path / "a.sqlite", runner.whole(path, batch=batch)
    rings = box_ring(5, 5, 45, 50), box_ring(200, 180, 340, 290)
    for ring in rings[: 3 - batch]:  # in batches of two, the second would be the rest
        events = runner.events(path, SlideTask(store, skips_glass=False, part=ring), batch=batch)
        (done,) = [event for event in events if isinstance(event, SlideDone)]
        with CellStore.open(store) as kept:
            assert not kept.is_complete
            assert 0 < len(kept.tiles()) == done.tiles == TILES - done.waiting < TILES
            found = TileCells.concatenate(list(kept.best_first())).cells
        expected = whole.select(SlideRegion(((ring,),), SIZE, SIZE).keeps(whole))
        assert len(expected) > 2
        cells = [(*box, score) for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)]
        wanted = [(*box, score) for box, score in zip(expected.boxes.tolist(), expected.scores.tolist(), strict=True)]
        assert set(wanted) <= set(cells)
    again = runner.events(path, SlideTask(store, skips_glass=False, part=ring), batch=batch)
    assert tiles_done(again) == [], "the part is finished"
    (done,) = [
        event
        for event in runner.events(path, SlideTask(store, skips_glass=False), batch=batch)
        if isinstance(event, SlideDone)
    ]
    assert (done.tiles, done.waiting) == (TILES, 0)
    assert read(store).cells.equals(whole), "no cell is lost, none doubled"


def test_a_finished_slide_is_kept_when_a_part_gets_other_settings(runner: Runner, path: Path, tmp_path: Path) -> None:
    store, part = tmp_path / "a.sqlite", box_ring(5, 5, 45, 50)
    runner.events(path, SlideTask(store, skips_glass=False))
    assert "a finished run" in texts(runner.events(path, SlideTask(store, skips_glass=False, part=part)))
    events = runner.events(path, SlideTask(store, skips_glass=False, part=part), min_score=0.9)
    assert "It is kept as a.sqlite.bak" in texts(events)
    with CellStore.open(tmp_path / "a.sqlite.bak") as kept:
        assert kept.is_complete
