"""Measurements as Parquet, read back by pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import disc

from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.found import FoundImage, export_found
from napari_cellseg.errors import ExportError
from napari_cellseg.export import ExportPlan
from napari_cellseg.export import measurement_parquet as module
from napari_cellseg.export.exporters import exporters_of
from napari_cellseg.images.read import ImageFile
from napari_cellseg.instances import InstanceMasks

SIZE = (70, 90)
CLASSES = ClassTable(("tumour", "細胞"))
REASON = "needs the extra tables; make test-roundtrips has it"


@pytest.fixture
def images(tmp_path: Path) -> list[FoundImage]:
    """Two images with cells, the first one with a pixel size, and one without cells."""
    found = []
    for number, count in enumerate((2, 0, 1)):
        path = tmp_path / "in" / f"{number}.tif"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
        size = {} if number else {"resolution": (20000, 20000), "resolutionunit": 3}
        tifffile.imwrite(path, pixels, photometric="rgb", **size)
        places, scores = [(2, 3), (40, 10)][:count], np.array([0.9, 0.3], np.float32)[:count]
        cells = InstanceMasks.from_crops(SIZE, places, [disc(9), disc(5)][:count], [1, 2][:count], scores)
        found.append(FoundImage(ImageFile(str(number), path), cells))
    return found


def export(images: list[FoundImage], folder: Path) -> None:
    export_found(images, CLASSES, ExportPlan(folder=folder, formats=frozenset({"parquet"})))


def test_pandas_reads_the_parquet_table_with_its_types(images: list[FoundImage], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason=REASON)
    import pandas as pd

    export(images, tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "measurements.parquet")
    assert table["image"].tolist() == ["0", "0", "2"]
    assert table["class"].tolist() == ["tumour", "細胞", "tumour"]
    assert table["touches_border"].dtype == bool
    assert table["area_px"].tolist() == [int(cell.sum()) for cell in (disc(9), disc(5), disc(9))]
    assert table["area_um2"].isna().tolist() == [False, False, True]  # without a pixel size there is none


def test_images_without_cells_give_an_empty_table(images: list[FoundImage], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason=REASON)
    import pandas as pd

    export(images[1:2], tmp_path / "out")
    assert pd.read_parquet(tmp_path / "out" / "measurements.parquet").empty


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ExportError, match=r'needs the package pyarrow.*pip install "napari-cellseg\[tables\]"'):
        exporters_of(["parquet"])
