"""The epochs of a run in MLflow, for users who track experiments there: ``MLFLOW_TRACKING_URI`` switches it on."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from training.run_folder import RunFolder

__all__ = ["MlflowLog"]

logger = logging.getLogger(__name__)

_URI = "MLFLOW_TRACKING_URI"
_ID_NAME = "mlflow_run_id.txt"


class MlflowLog:
    """Writes settings and epochs to the server that MLflow's own variable names; a resumed run is continued there.

    Does nothing without the variable, without the package, or on a process that does not write. A server that fails
    costs the training nothing: a warning, and no further calls.

    Parameters
    ----------
    folder : RunFolder
    settings : mapping of str to value
        Written once, as the parameters of the run.
    """

    def __init__(self, folder: RunFolder, settings: Mapping[str, object]) -> None:
        self._folder, self._settings = folder, settings
        self._client: Any = None
        self._run_id = ""
        self._on = folder.writes and bool(os.environ.get(_URI)) and importlib.util.find_spec("mlflow") is not None

    def epoch(self, values: Mapping[str, float], epoch: int) -> None:
        """Write the numbers of an epoch; NaN is left out."""
        if not self._on:
            return
        with self._guard():
            if self._client is None:
                self._open()
            for name, value in values.items():
                if math.isfinite(value):
                    self._client.log_metric(self._run_id, name, value, step=epoch)

    def close(self) -> None:
        """Mark the run as finished; a resumed one continues it."""
        if self._on and self._client is not None:
            with self._guard():
                self._client.set_terminated(self._run_id)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - of MLflow, its database, or the network: many types, none ours
            self._on = False
            logger.warning("MLflow (%s) gets no more epochs of this run: %s", os.environ[_URI], error)

    def _open(self) -> None:
        from mlflow import MlflowClient  # imported late, because it takes seconds

        self._client, note = MlflowClient(), self._folder.path / _ID_NAME
        if note.is_file():  # the run was resumed
            self._run_id = note.read_text(encoding="utf-8").strip()
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "napari-cellseg")
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        run = self._client.create_run(experiment_id, run_name=self._folder.path.name)
        self._run_id = run.info.run_id
        for setting, value in _flat(self._settings):
            self._client.log_param(self._run_id, setting, value)
        self._folder.write(note, self._run_id)


def _flat(settings: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value
