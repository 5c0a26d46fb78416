"""The settings of a slide are kept in a small file, which a damaged or later one does not replace."""

from __future__ import annotations

import json

import pytest

from napari_cellseg.errors import AnnotationError
from napari_cellseg.workspace.slide_settings import (
    SlideSettings,
    read_slide_settings,
    settings_file,
    write_slide_settings,
)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "cells" / "slide.sqlite"


def test_settings_are_read_as_they_were_written(store):
    assert read_slide_settings(store) == (SlideSettings(), "")
    settings = SlideSettings(region=((1.5, 2.0), (900_000.5, 2.0), (1.5, 30.0)), class_names={"round": "größer"})
    write_slide_settings(store, settings)
    assert read_slide_settings(store) == (settings, "")


def test_a_damaged_file_is_kept_and_said(store):
    write_slide_settings(store, SlideSettings())
    settings_file(store).write_text('{"format": "napari-cellseg slide", "region": [[1, "x"]]}')
    settings, problem = read_slide_settings(store)
    assert settings == SlideSettings()
    assert "region.0.1" in problem
    assert len(list(store.parent.glob("*.bak"))) == 1


def test_a_file_of_a_later_version_is_refused(store):
    write_slide_settings(store, SlideSettings())
    content = json.loads(settings_file(store).read_text())
    settings_file(store).write_text(json.dumps({**content, "version": 2}))
    with pytest.raises(AnnotationError, match="later version"):
        read_slide_settings(store)
