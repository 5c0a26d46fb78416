"""*Gallery* and *Table* on a slide: they say why they are empty, and what to use instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slide_files import write_pyramid

from napari_cellseg.gui import docks
from napari_cellseg.images import slide_levels
from napari_cellseg.images.samples import generate_tissue


@pytest.mark.parametrize(
    ("name", "text"), [("Gallery", "The gallery shows images in memory, not slides. Review the cells")]
)
def test_a_dock_that_is_empty_on_a_slide_says_what_to_use(
    qtbot: Any, open_dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    dock = open_dock(getattr(docks, name))
    assert dock.on_slide.isHidden()
    monkeypatch.setattr(slide_levels, "SLIDE_PX", 100 * 100)
    path = write_pyramid(tmp_path / "slide.tif", generate_tissue((150, 120), 10, seed=3)[0], levels=2)
    dock.review.opener.open_path(path)
    qtbot.waitUntil(lambda: dock.state.slide is not None, timeout=60_000)
    assert not dock.on_slide.isHidden()
    assert dock.on_slide.text().startswith(text)
    dock.state.set_current(None, None, None)
    assert dock.on_slide.isHidden()
