"""Model packages of the BioImage Model Zoo (bioimage.io): a zip that other programs run, with our model file inside.

Other programs run the network by `label_image_network`, so napari-cellseg must be installed next to them.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import CheckpointError
from napari_cellseg.events import drive
from napari_cellseg.model.checkpoint import CheckpointHeader, load_checkpoint, read_header
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.network.build import build_model

__all__ = ["LabelImageNetwork", "label_image_network", "pack", "unpack"]

_SIDE = 256
"""Side of the test image, px."""
_MOST_BYTES = 2**32
_SUFFIX = ".safetensors"


class LabelImageNetwork(nn.Module):
    """The network with everything around it: RGB in, label images out.

    ``forward`` takes (B, 3, H, W), red, green, blue in 0..255, at the pixel size of the model's training, and returns
    (B, 2, H, W) float32: the number of the cell at each pixel, and its class_id; 0 is background.
    """

    def __init__(self, config: ModelConfig, thresholds: Sequence[float]) -> None:
        super().__init__()
        self.model = build_model(config)
        self.thresholds = np.array([0.0, *thresholds], np.float32)

    def forward(self, images: Tensor) -> Tensor:
        """Return the label images."""
        options = PredictOptions(precision="fp32", test_time_augmentation="off")
        predictor = Predictor(self.model, None, images.device, options)
        return torch.stack([self._label_images(predictor, image) for image in images]).to(images.device)

    def _label_images(self, predictor: Predictor, image: Tensor) -> Tensor:
        rgb = image.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
        cells = drive(predictor.image(rgb))
        cells = cells.select(cells.scores >= self.thresholds[cells.class_ids])
        pasted = [cells.paste(np.arange(1, len(cells) + 1)), cells.paste(cells.class_ids)]
        return torch.from_numpy(np.stack(pasted).astype(np.float32))


def label_image_network(config: dict[str, Any], thresholds: Sequence[float]) -> LabelImageNetwork:
    """Return the network of a package in evaluation mode; the bioimage.io tools load its weights.

    Parameters
    ----------
    config : dict
        The JSON of `ModelConfig`.
    thresholds : sequence of float
        Minimum score of each class.
    """
    return LabelImageNetwork(ModelConfig.model_validate(config), thresholds).eval()


def pack(model: Path, target: Path) -> None:
    """Write a model as a bioimage.io package.

    Raises
    ------
    CheckpointError
        The model cannot be read.
    ExportError
        The file cannot be written.
    """
    loaded, header = load_checkpoint(model)
    network = label_image_network(header.config.model_dump(mode="json"), _thresholds(header))
    network.model.load_state_dict(loaded.state_dict())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copyfile(model, folder / f"model{_SUFFIX}")
        torch.save(network.state_dict(), folder / "weights.pt")
        _write_test_tensors(network, folder)
        (folder / "README.md").write_text(_readme(header), encoding="utf-8")
        text = yaml.safe_dump(_description(header), sort_keys=False, allow_unicode=True)
        (folder / "rdf.yaml").write_text(text, encoding="utf-8")
        with export_write(target) as file, zipfile.ZipFile(file, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)


def unpack(package: Path, target: Path) -> CheckpointHeader:
    """Write the model file inside a package that `pack` wrote; no code or pickle of the package is run.

    Raises
    ------
    CheckpointError
        The file is not such a package, or the model in it is damaged.
    ExportError
        The file cannot be written.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            names = [entry for entry in archive.infolist() if entry.filename.endswith(_SUFFIX)]
            if len(names) != 1 or names[0].file_size > _MOST_BYTES:
                raise CheckpointError(
                    f"{package} has no model of napari-cellseg inside: there must be one {_SUFFIX} file in it."
                )
            with tempfile.TemporaryDirectory() as temporary:
                model = Path(archive.extract(names[0], temporary))
                header = read_header(model, verify=True)  # before the target is touched
                with model.open("rb") as source, export_write(target) as file:
                    shutil.copyfileobj(source, file)
                return header
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{package} cannot be read as a zip: {error}.") from error


def _thresholds(header: CheckpointHeader) -> list[float]:
    return list(header.thresholds or [0.5] * len(header.classes))


def _write_test_tensors(network: LabelImageNetwork, folder: Path) -> None:
    from napari_cellseg.images.samples import generate_tissue

    rgb, _ = generate_tissue((_SIDE, _SIDE), 40)
    image = rgb.transpose(2, 0, 1)[None].astype(np.float32)
    np.save(folder / "input.npy", image)
    with torch.inference_mode():
        np.save(folder / "output.npy", network(torch.from_numpy(image)).numpy())


def _readme(header: CheckpointHeader) -> str:
    classes = "".join(f"- {class_id}: {name}\n" for class_id, name, _ in header.classes)
    size = header.config.pixel_size_um
    return (
        f"# {header.name or 'Cells'}\n\nA Mask R-CNN of napari-cellseg. Input: RGB, 0 to 255"
        + (f", {size:g} um per px" if size else "")
        + ". Output: channel 0 has the number of the cell at each pixel, channel 1 its class:\n\n"
        + classes
        + "\nThe package napari-cellseg must be installed. It reads the model itself with "
        "`napari-cellseg package PACKAGE.zip --out model.safetensors`.\n\n## Validation\n\n"
        + "".join(f"- {name}: {value:.3f}\n" for name, value in header.metrics.items() if "/" not in name)
        + "\nMeasured on the validation images of the training run; check it on images of your own before you use it.\n"
    )


def _description(header: CheckpointHeader) -> dict[str, Any]:
    """Return the content of ``rdf.yaml``, in the format that bioimageio.spec checks."""
    name = "".join(letter if letter.isalnum() or letter in " _-()." else "-" for letter in header.name or "Cells")
    space = [{"type": "space", "id": axis, "size": {"min": 64, "step": 1}} for axis in "yx"]
    same = [{"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis}} for axis in "yx"]
    batch = {"type": "batch"}
    return {
        "format_version": "0.5.3",
        "type": "model",
        "name": name,
        "description": "Instance segmentation of cells in colour microscopy, in several classes (Mask R-CNN)",
        "authors": [{"name": "The napari-cellseg authors"}],
        "cite": [{"text": "He et al., Mask R-CNN, ICCV 2017", "url": "https://arxiv.org/abs/1703.06870"}],
        "license": "BSD-3-Clause",
        "documentation": "README.md",
        "tags": ["instance-segmentation", "cells", "nuclei", "2d", "histology"],
        "attachments": [{"source": f"model{_SUFFIX}"}],
        "inputs": [
            {
                "id": "image",
                "description": "RGB, 0 to 255",
                "axes": [batch, {"type": "channel", "channel_names": ["red", "green", "blue"]}, *space],
                "test_tensor": {"source": "input.npy"},
            }
        ],
        "outputs": [
            {
                "id": "labels",
                "description": "Number of the cell and its class at each pixel",
                "axes": [batch, {"type": "channel", "channel_names": ["cell", "cell_class"]}, *same],
                "test_tensor": {"source": "output.npy"},
            }
        ],
        "weights": {
            "pytorch_state_dict": {
                "source": "weights.pt",
                "architecture": {
                    "callable": "label_image_network",
                    "import_from": "napari_cellseg.model.zoo",
                    "kwargs": {"config": header.config.model_dump(mode="json"), "thresholds": _thresholds(header)},
                },
                "pytorch_version": torch.__version__.partition("+")[0],
            }
        },
    }
