"""The runtime openvino: the features and cells of torch, in words where it cannot be used."""

from __future__ import annotations

import sys

import pytest
import tifffile
import torch

from napari_cellseg.cli import main
from napari_cellseg.errors import ConfigError
from napari_cellseg.events import ImageDone, ModelReady
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, choose_device, choose_precision
from napari_cellseg.model.inference.predict import ModelCache, predict
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.network import compiled
from napari_cellseg.model.network.folding import fold_norms


@pytest.fixture(scope="module")
def cache():
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    return ModelCache()


@pytest.fixture(scope="module")
def backbones(cache):
    model = load_checkpoint(bundled())[0]
    fold_norms(model)
    return model.backbone, cache.get(bundled(), choose_device("cpu"), "openvino")[0].backbone


@pytest.mark.parametrize("shape", [(1, 3, 128, 160), (2, 3, 96, 64)])
def test_the_features_are_those_of_torch(backbones, shape):
    plain, fast = backbones
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = fast(images), plain(images)
    assert list(ours) == list(theirs)
    for name, feature in theirs.items():
        torch.testing.assert_close(ours[name], feature, rtol=1e-4, atol=1e-4)


def test_earlier_features_stay_as_they_are(backbones):
    one, two = torch.zeros((1, 3, 64, 64)), torch.ones((1, 3, 64, 64))
    with torch.inference_mode():
        first = backbones[1](one)["0"]
        before = first.clone()
        backbones[1](two)
    assert torch.equal(first, before)


def test_many_sizes_keep_few_compiled_networks(backbones, monkeypatch):
    monkeypatch.setattr(compiled, "_SHAPES", 2)
    with torch.inference_mode():
        for side in (32, 64, 96, 64):
            backbones[1](torch.zeros((1, 3, side, 32)))
    assert list(backbones[1]._compiled) == [(1, 3, 96, 32), (1, 3, 64, 32)]


def test_the_cells_are_those_of_torch(cache):
    rgb, found, reasons = generate_tissue((160, 160), 20, seed=1)[0], [], []
    for runtime in ("openvino", "torch"):
        options = PredictOptions(device="cpu", precision="fp32", runtime=runtime, test_time_augmentation="off")
        for event in predict([PredictItem("a", rgb)], options, cache=cache):
            if isinstance(event, ModelReady):
                reasons.append(event.reason)
            elif isinstance(event, ImageDone):
                found.append(event.instances)
    cells, torch_cells = found
    assert len(cells) == len(torch_cells) > 5
    assert (abs(cells.boxes - torch_cells.boxes) <= 1).all()
    assert abs(cells.scores - torch_cells.scores).max() < 1e-3
    assert [reason.endswith(", OpenVINO") for reason in reasons] == [True, False]


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [("cuda:0", "auto", "is for a CPU, not for cuda:0"), ("cpu", "bf16", "computes in fp32, not in bf16")],
)
def test_what_the_runtime_cannot_do(device, precision, message):
    with pytest.raises(ConfigError, match=message):
        choose_precision(Device(device, "as asked"), precision, "openvino")
    assert choose_precision(Device("cpu", "as asked"), "auto", "openvino") == "fp32"


def test_a_missing_package_is_named_with_the_command_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "openvino.frontend", None)
    image = tmp_path / "a.tif"
    tifffile.imwrite(image, generate_tissue((64, 64), 3, seed=1)[0])
    command = ["predict", str(image), "--out", str(tmp_path / "out"), "--device", "cpu", "--runtime", "openvino"]
    assert main(command) == 2
    assert 'pip install "napari-cellseg[openvino]"' in capsys.readouterr().err
