"""The task "predict": `model.predict.predict` with a model that stays loaded between runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from napari_cellseg.events import PredictEvent, PredictSummary
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict import ModelCache, predict
from napari_cellseg.model.inference.predict_item import PredictItem

__all__ = ["Prediction"]


class Prediction:
    """Predicts, and keeps the model for the next time."""

    def __init__(self) -> None:
        self._cache = ModelCache()

    def __call__(
        self, items: Sequence[PredictItem], options: PredictOptions
    ) -> Generator[PredictEvent, None, PredictSummary]:
        """Predict images; see `model.predict.predict`."""
        return predict(items, options, cache=self._cache)
