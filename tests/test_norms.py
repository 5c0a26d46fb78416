"""The norm with stored statistics: features that do not depend on the tile, calibrated once, folded at prediction."""

from __future__ import annotations

import torch
from model_cases import tiny_config
from torch import Tensor

from napari_cellseg.model.config import FpnConfig
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.folding import fold_norms
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from napari_cellseg.model.network.norms import StoredNorm, calibrate, stored_norms


def make(norm: str) -> CellMaskRCNN:
    """A network without squeeze-and-excitation, which looks at the whole tile too."""
    torch.manual_seed(0)
    return build_model(tiny_config(fpn__norm=norm, backbone__name="test_resnet")).eval()


def picture(seed: int = 0) -> Tensor:
    """Bright on the left and dark on the right, so that the halves have other statistics than the whole."""
    noise = torch.rand((3, 256, 512), generator=torch.Generator().manual_seed(seed))
    return noise * torch.linspace(1, 0.1, 512)


def batch(count: int = 4) -> Tensor:
    return torch.stack([(picture(seed) - 0.5) / 0.5 for seed in range(count)])


def test_features_of_a_tile_depend_on_the_pixels_around_them_and_not_on_the_tile() -> None:
    image, differences = picture(), {}
    for norm in ("group", "stored"):
        model = make(norm)
        calibrate(model.backbone, batch())
        whole, part = model.features_of(image)["0"], model.features_of(image[..., :384])["0"]
        near = (..., slice(0, 16))  # the left 64 px of both
        differences[norm] = float((whole[near] - part[near]).abs().max() / whole[near].abs().max())
    assert differences["stored"] < 1e-4
    assert differences["group"] > 0.005


def test_calibration_stores_the_statistics_of_each_norm_behind_the_calibrated_ones() -> None:
    model = make("stored")
    seen: dict[StoredNorm, Tensor] = {}
    calibrate(model.backbone, batch())
    for norm in stored_norms(model):
        norm.register_forward_hook(lambda module, inputs, _: seen.update({module: inputs[0]}))
    model.backbone(batch())
    assert len(seen) == 8
    for norm, given in seen.items():
        groups = given.unflatten(1, (norm.groups, -1)).flatten(2)  # of each picture and group
        per_group = norm.weight.numel() // norm.groups
        assert torch.allclose(norm.running_mean[::per_group], groups.mean(2).mean(0), atol=1e-5)
        assert torch.allclose(norm.running_var[::per_group].sqrt(), groups.std(2, correction=0).mean(0), rtol=1e-3)
        assert norm.running_mean.abs().sum() > 0


def test_a_crop_of_empty_glass_hardly_moves_the_statistics() -> None:
    norm = StoredNorm(16).train()
    crops = torch.rand((1, 16, 16, 16), generator=torch.Generator().manual_seed(0)) + 1
    norm.store(crops, 1.0)
    before = norm.eval()(crops)
    norm.train()(torch.ones((1, 16, 16, 16)))
    assert torch.allclose(norm.eval()(crops), before, rtol=0.03, atol=0.05)


def test_training_normalises_as_a_group_norm_and_its_statistics_follow_the_crops() -> None:
    norm, group = StoredNorm(32).train(), torch.nn.GroupNorm(2, 32)
    crops = torch.rand((2, 32, 16, 16), generator=torch.Generator().manual_seed(0)) * 3 + 1
    assert torch.equal(norm(crops), group(crops))
    assert not torch.allclose(norm.eval()(crops), group(crops), atol=0.5)
    norm.train()
    for _ in range(300):
        norm(crops)
    assert torch.allclose(norm.eval()(crops), group(crops), atol=0.05)


def test_a_fixed_norm_trains_with_the_stored_statistics_and_leaves_them() -> None:
    norm = StoredNorm(16).train()
    crops = torch.rand((2, 16, 16, 16), generator=torch.Generator().manual_seed(0))
    norm.store(crops, 1.0)
    norm.is_fixed = True
    before = norm.running_mean.clone()
    found = norm(crops + 1)
    assert torch.equal(norm.running_mean, before)
    assert torch.equal(found, norm.eval()(crops + 1))
    found.sum().backward()
    assert norm.weight.grad is not None


def test_a_prediction_in_training_mode_leaves_the_statistics() -> None:
    norm = StoredNorm(16).train()
    with torch.no_grad():
        norm(torch.rand((1, 16, 8, 8)))
    assert not norm.calibrated


def test_prediction_folds_the_norms_of_the_pyramid() -> None:
    model = make("stored")
    calibrate(model.backbone, batch())
    with torch.no_grad():
        before = model.backbone(batch(1))
        fold_norms(model)
        after = model.backbone(batch(1))
    assert not any(isinstance(module, StoredNorm) for module in model.modules())
    for level, features in before.items():
        assert torch.allclose(after[level], features, atol=1e-3 * float(features.abs().max()))


def test_the_norm_of_older_files_was_yes_or_no() -> None:
    assert [FpnConfig.model_validate({"norm": value}).norm for value in (True, False)] == ["group", "none"]
    assert FpnConfig.model_validate({"norm": "stored"}).norm == "stored"
