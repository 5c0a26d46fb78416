from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from training_setup import tiny_config

from napari_cellseg.errors import TrainingError, is_out_of_memory
from training.config import OptimizerConfig, TrainConfig
from training.ema import averaged
from training.schedule import build_optimizer, rate_factor, set_learning_rate
from training.step import SMALLEST_CROP, Item, Stepper, shrink
from training.targets import targets_from_maps, validate_target

CONFIG = tiny_config(optimizer__warmup_steps=0, optimizer__schedule="constant", optimizer__clip_norm=None)


class Brightness(nn.Module):
    """Learns the mean brightness of the images; runs out of memory above ``most_pixels``."""

    def __init__(self, most_pixels: int = 10**9) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1, 1))
        self.most_pixels = most_pixels
        self.sides: list[int] = []

    def forward(self, images: list[Tensor], _: object) -> dict[str, Tensor]:
        self.sides.append(max(images[0].shape[1:]))
        if sum(image[0].numel() for image in images) > self.most_pixels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        means = torch.stack([image.mean() for image in images])
        return {"loss_level": (self.level - means).square().mean(), "loss_none": 0 * self.level.sum()}


def stepper(model: nn.Module, config: TrainConfig = CONFIG, ema: float | None = None) -> Stepper:
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped, optimizer = fabric.setup(model, build_optimizer(model, config.optimizer))
    return Stepper(fabric, wrapped, optimizer, averaged(model, ema) if ema else None, config)


def item(value: float, side: int = 160, name: str = "a") -> Item:
    maps = torch.zeros((1, side, side), dtype=torch.int32)
    maps[0, side // 2 - 5 : side // 2 + 5, side // 2 - 5 : side // 2 + 5] = 1
    maps[0, :3, :3] = 2
    return Item(name, torch.full((3, side, side), value), targets_from_maps(maps))


def test_accumulated_batches_give_the_gradient_of_their_mean() -> None:
    one, two = Brightness(), Brightness()
    stepper(one).step([[item(0.2)], [item(0.8)]], 0, 10)
    stepper(two).step([[item(0.2), item(0.8)]], 0, 10)
    assert one.level.item() == pytest.approx(two.level.item(), rel=1e-6)
    assert one.level.item() > 0


def test_losses_are_means_and_their_sum() -> None:
    losses, rate = stepper(Brightness()).step([[item(0.2)], [item(0.4)]], 0, 10)
    assert losses["loss_level"] == pytest.approx((0.04 + 0.16) / 2)
    assert losses["loss"] == pytest.approx(losses["loss_level"])
    assert rate == CONFIG.optimizer.learning_rate


def test_a_loss_that_is_not_finite_names_the_image_and_changes_nothing() -> None:
    model = Brightness()
    trainer = stepper(model)
    with pytest.raises(TrainingError, match=r"tile 7.*loss_level nan"):
        trainer.step([[item(0.5)], [item(math.nan, name="tile 7")]], 0, 10)
    assert model.level.item() == 0


def test_a_gradient_that_is_not_finite_names_the_images_and_changes_nothing() -> None:
    class Steep(Brightness):
        def forward(self, *_: object) -> dict[str, Tensor]:
            return {"loss_level": self.level.sqrt().sum()}  # at 0 the loss is 0 and its slope infinite

    model = Steep()
    with pytest.raises(TrainingError, match="gradient is not a finite number on the image"):
        stepper(model).step([[item(0.5)]], 0, 10)
    assert model.level.item() == 0


def test_out_of_memory_tries_again_then_with_smaller_crops_and_remembers() -> None:
    model = Brightness(most_pixels=130 * 130)
    trainer = stepper(model)
    trainer.step([[item(0.5)]], 0, 10)
    assert model.sides == [160, 160, 128]
    assert trainer.crop_limit == 128
    trainer.step([[item(0.5)]], 1, 10)
    assert model.sides[3:] == [128]


def test_out_of_memory_at_the_smallest_crop_is_a_clear_error() -> None:
    model = Brightness(most_pixels=10)
    with pytest.raises(TrainingError, match=r"not enough memory on cpu.*optimizer\.batch"):
        stepper(model).step([[item(0.5)]], 0, 10)
    assert min(model.sides) == SMALLEST_CROP


def test_only_memory_errors_count_as_such() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))  # of oneDNN, seen under a memory limit
    assert is_out_of_memory(RuntimeError("unable to mmap 1048576 bytes: Cannot allocate memory (12)"))
    assert is_out_of_memory(RuntimeError("can't start new thread"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("not enough memory"))


def test_a_smaller_crop_keeps_a_target_that_fits() -> None:
    small = shrink(item(0.5), 96)
    assert small.rgb.shape == (3, 96, 96)
    assert small.target["boxes"].tolist() == [[43, 43, 53, 53]]  # the cell in the corner is gone
    validate_target(small.rgb, small.target, 1)
    assert shrink(small, 96) is small


def test_the_running_average_warms_up_and_then_decays_slowly() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = averaged(model, 0.9)
    expected = None
    for update in range(200):
        with torch.no_grad():
            model.weight.fill_(float(update))
        average.update_parameters(model)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = float(update) if expected is None else expected * decay + (1 - decay) * update
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-4)
    assert average.module.weight.item() < 199


def test_weight_decay_spares_norms_and_biases_and_the_backbone_has_its_rate() -> None:
    model = nn.ModuleDict(
        {
            "backbone": nn.ModuleDict({"body": nn.Linear(2, 2), "fpn": nn.Linear(2, 2)}),
            "head": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
            "frozen": nn.Linear(2, 2).requires_grad_(False),
        }
    )
    config = OptimizerConfig(learning_rate=1e-3, weight_decay=0.1, backbone_rate=0.5)
    optimizer = build_optimizer(model, config)
    set_learning_rate(optimizer, config, 0, 10)
    found = {id(p): (g["weight_decay"], g["lr"]) for g in optimizer.param_groups for p in g["params"]}
    assert found[id(model["backbone"]["body"].weight)] == (0.1, 5e-4)
    assert found[id(model["backbone"]["body"].bias)] == (0.0, 5e-4)
    assert found[id(model["backbone"]["fpn"].weight)] == (0.1, 1e-3)
    assert found[id(model["head"][1].weight)] == (0.0, 1e-3)
    assert id(model["frozen"].weight) not in found


def test_the_learning_rate_warms_up_then_falls_along_a_cosine() -> None:
    cosine = OptimizerConfig(schedule="cosine", warmup_steps=4, final_rate=0.1)
    factors = [rate_factor(cosine, step, 24) for step in range(30)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert factors[14] == pytest.approx(0.55)
    assert factors[24:] == pytest.approx([0.1] * 6)
    assert all(a >= b for a, b in pairwise(factors[4:]))
    constant = OptimizerConfig(schedule="constant", warmup_steps=2)
    assert [rate_factor(constant, step, 9) for step in range(4)] == [0.5, 1, 1, 1]
