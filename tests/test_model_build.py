"""Building: any timm backbone, weights only from this machine, and a small lite model."""

from __future__ import annotations

import pytest
import timm
import torch
from model_cases import tiny_config
from safetensors.torch import save_file
from timm.layers import FrozenBatchNormAct2d

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CheckpointError, ConfigError
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.presets import PRESETS


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_byobnet"])
def test_any_backbone_with_features_works(name):
    model = build_model(tiny_config(backbone__name=name)).eval()
    assert len(model.detect([torch.zeros(3, 64, 96)])) == 1


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built(name):
    with torch.device("meta"):  # the shapes only: 93 M parameters take their time
        model = build_model(ModelConfig.preset(name, ClassTable.numbered(4)))
    assert sum(p.numel() for p in model.parameters()) > 4e6


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet_5000", "no model 'resnet_5000'"), ("test_vit", r"strides \[16, 16, 16\], the pyramid needs")],
)
def test_a_backbone_that_does_not_fit(name, message):
    with pytest.raises(ConfigError, match=message):
        build_model(tiny_config(backbone__name=name))


def test_lite_has_imagenet_weights_that_know_a_cat_from_noise():
    """Loaded by order, so check by use: the features of timm's renamed network are those of the package's file."""
    model = build_model(ModelConfig.preset("lite", ClassTable.numbered(4)), pretrained=True)
    assert model.config.backbone.weights.startswith("ImageNet")
    assert model.config.backbone.mean == model.config.backbone.std == (0.5, 0.5, 0.5)
    assert sum(p.numel() for p in model.parameters()) * 2 < 12e6
    stem = model.backbone.body.state_dict()["conv_stem.weight"]
    assert stem.abs().sum() > 10
    norms = [m for m in model.modules() if isinstance(m, FrozenBatchNormAct2d)]
    assert len(norms) > 30
    assert all(norm.running_mean.abs().sum() > 0 for norm in norms)


def test_batch_norm_stays_frozen_in_training_unless_asked():
    frozen = build_model(tiny_config()).train()
    trained = build_model(tiny_config(backbone__batch_norm="train")).train()
    for model, moves in ((frozen, False), (trained, True)):
        before = {k: v.clone() for k, v in model.state_dict().items() if "running_" in k and "body" in k}
        model.backbone(torch.rand(2, 3, 64, 64))
        after = model.state_dict()
        assert before
        assert any(not torch.equal(v, after[k]) for k, v in before.items()) is moves


def test_weights_of_a_local_file(tmp_path):
    source = timm.create_model("test_convnext", pretrained=False)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    model = build_model(tiny_config(backbone__name="test_convnext"), pretrained=path)
    assert torch.equal(model.backbone.body.stages_0.blocks[0].conv_dw.weight, source.stages[0].blocks[0].conv_dw.weight)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    build_model(tiny_config(backbone__name="test_convnext"), pretrained=tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="do not fit test_resnet"):
        build_model(tiny_config(backbone__name="test_resnet"), pretrained=path)


def test_a_pickle_that_runs_code_is_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"a": Trap()}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        build_model(tiny_config(), pretrained=tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="nothing is downloaded"):
        build_model(tiny_config(backbone__name="resnet18"), pretrained=True)


def test_the_settings_of_light_parts():
    model = build_model(
        tiny_config(fpn__separable=True, fpn__norm=True, fpn__extra_level=False, mask_head__class_agnostic=False)
    )
    assert model.roi_heads.mask_predictor.mask_fcn_logits.out_channels == 4
    assert model.backbone.fpn.layer_blocks[0][0].groups == 16
    assert model.rpn.levels == [1, 2, 3]
