"""The Mask R-CNN: backbone, feature pyramid, proposals, heads, and how it is built from its settings."""

from __future__ import annotations

from napari_cellseg.errors import ConfigError
from napari_cellseg.model.device import torchvision_problem

if problem := torchvision_problem():
    raise ConfigError(problem)
