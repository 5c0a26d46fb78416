"""What several test files share: where the real data lies, when it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("QT_API", "pyqt5")
os.environ.setdefault("NAPARI_ASYNC", "0")


def data_folder(name: str) -> Path:
    """Return the folder of a real data set ("consep", "dsb2018", "hw3-sample"), or skip the test and say why.

    It is looked for under ``$CELLSEG_DATA`` and in ``shared/data`` beside the checkout.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CELLSEG_DATA", beside)) / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not in {folder.parent}; set CELLSEG_DATA to the folder that has it")
    return folder


@pytest.fixture
def consep() -> Path:
    """Return the 27 CoNSeP tiles (``train/<id>/image.tif`` and ``class1.tif`` ... ``class4.tif``)."""
    return data_folder("consep")
