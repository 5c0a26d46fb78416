"""AdamW with its parameter groups, and the learning rate as a plain function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from training.config import OptimizerConfig

__all__ = ["build_optimizer", "rate_factor", "set_learning_rate"]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Build AdamW for the trainable parameters, grouped by backbone or head and by weight decay or none.

    Biases and the scales of norm layers (every parameter with fewer than two axes) do not decay: pulling them to zero
    does not regularise and shifts the statistics of the network.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # `backbone.fpn` starts untrained like the heads; only the feature extractor has pretrained weights.
            in_backbone = name.startswith("backbone.") and not name.startswith("backbone.fpn")
            groups.setdefault((in_backbone, parameter.ndim > 1), []).append(parameter)
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decays else 0.0,
            "rate": config.backbone_rate if in_backbone else 1.0,
            "lr": config.learning_rate,
        }
        for (in_backbone, decays), parameters in sorted(groups.items())
    ]
    return torch.optim.AdamW(settings, lr=config.learning_rate)


def rate_factor(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Return the share of the full learning rate for a 0-based step: linear warm-up, then cosine or constant.

    As a function of the step alone it needs no state to resume, and adapts when the number of epochs changes.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    length = max(1, total_steps - config.warmup_steps)
    done = min(1.0, (step - config.warmup_steps) / length)
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Set the rate of every group for a 0-based step; return the rate of the heads."""
    rate = config.learning_rate * rate_factor(config, step, total_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * float(group["rate"])
    return rate
