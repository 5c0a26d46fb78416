from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.widgets.forms import SettingsForm
from napari_cellseg.model.config import PredictOptions
from training.config import AugmentConfig, DataConfig, OptimizerConfig

Fraction = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    rate: float = Field(5e-5, gt=0, le=1, description="How fast", json_schema_extra={"unit": "a step"})
    tile: int = Field(512, ge=128, le=4096, multiple_of=32)
    score: Fraction | None = Field(None, description="Lowest score")
    crop: int | None = Field(256, ge=64, le=4096)
    mode: Literal["fast", "good"] = "good"
    flip: bool = True
    file: Path | None = None
    name: str = "run"


@pytest.fixture
def form(qtbot):
    form = SettingsForm(Settings, list(Settings.model_fields))
    qtbot.addWidget(form)
    return form


def test_it_shows_the_defaults_and_gives_them_back(form):
    assert Settings(**form.values()) == Settings()


def test_values_make_the_round_trip_to_the_bit(form):
    settings = Settings(
        rate=3.2e-4, tile=1024, score=0.35, crop=None, mode="fast", flip=False, file=Path("a/b.csv"), name="x"
    )
    form.set_values(settings.model_dump())
    assert Settings(**form.values()) == settings


def test_nothing_is_shown_as_auto(form):
    assert form.widget("score").text() == "auto"
    assert form.widget("crop").text() == "256"


def test_a_small_number_is_readable_and_typed_as_one_writes_it(form, qtbot):
    box = form.widget("rate")
    assert box.text() == "5e-05 a step"
    box.selectAll()
    qtbot.keyClicks(box.lineEdit(), "2e-3")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert form.values()["rate"] == 2e-3


def test_ranges_come_from_the_settings(form):
    form.set_values({"tile": 10, "rate": 7.0})
    assert form.values()["tile"] == 128
    assert form.values()["rate"] == 1.0


def test_descriptions_are_tooltips(form):
    assert form.widget("rate").toolTip() == "How fast"


def test_a_change_is_told(form, qtbot):
    with qtbot.waitSignal(form.changed):
        form.widget("flip").setChecked(False)


def test_the_wheel_does_not_change_a_field_one_scrolls_past(form):
    box = form.widget("tile")
    event = QWheelEvent(
        QPointF(5, 5), QPointF(5, 5), QPoint(0, 120), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(box, event)
    assert form.values()["tile"] == 512


@pytest.mark.parametrize("settings", [PredictOptions, DataConfig, AugmentConfig, OptimizerConfig])
def test_the_settings_of_the_program_have_fields_and_keep_their_defaults(qtbot, settings):
    form = SettingsForm(settings, list(settings.model_fields))
    qtbot.addWidget(form)
    assert settings(**form.values()) == settings()
