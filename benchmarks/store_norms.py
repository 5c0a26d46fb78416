"""Replace the group norms of a model by norms with stored statistics, so that its cells do not depend on the tile.

Each group's scale and offset are averaged over random crops of the training images, first for the lateral convolutions
of the pyramid, then, behind the new norms, for its outputs. The caps on proposals become those of the preset, and the
validation images give the metrics and score thresholds. This made the bundled model from the one before it:

    python benchmarks/store_norms.py OLD.safetensors --out lite-consep.safetensors --data consep \
        --validation train_02 train_08 train_16 train_24 train_27

Without arguments it runs on a random model and drawn images, only to show that it works.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_cellseg.events import drive
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from napari_cellseg.model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference.predictor import Predictor, to_network
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from napari_cellseg.model.network.norms import StoredNorm
from napari_cellseg.model.presets import PRESETS
from training.dataset import Sample, find_samples, read_sample
from training.evaluate import Evaluation, evaluate
from training.validation import truth_of

CROP = 512
CROPS_PER_IMAGE = 4


def crops(images: Sequence[Path], scale: float) -> Iterator[Tensor]:
    """Yield random crops at the working scale, (3, 512, 512) uint8."""
    rng = np.random.default_rng(0)
    side = round(CROP / scale)
    for path in images:
        rgb = read_image(path).rgb()
        for _ in range(CROPS_PER_IMAGE):
            y, x = (int(rng.integers(0, max(1, length - side + 1))) for length in rgb.shape[:2])
            yield to_network(np.ascontiguousarray(rgb[y : y + side, x : x + side]), (CROP, CROP))


def stored(norm: nn.GroupNorm, scales: Tensor, offsets: Tensor) -> StoredNorm:
    """Return the norm with a group norm's scale and offset, averaged over crops; (crops, groups) each."""
    scale = scales.mean(0)
    new = StoredNorm(norm.num_channels, norm.eps)
    per_channel = norm.num_channels // norm.num_groups
    new.load_state_dict(
        {
            "running_mean": (offsets.mean(0) / scale).repeat_interleave(per_channel),
            "running_var": (scale**-2 - norm.eps).repeat_interleave(per_channel),
            "weight": norm.weight.detach(),
            "bias": norm.bias.detach(),
        }
    )
    return new


@torch.no_grad()
def replace(model: CellMaskRCNN, names: Sequence[str], images: Iterator[Tensor]) -> None:
    """Replace the named group norms, in place."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}

    def watch(name: str, norm: nn.GroupNorm) -> torch.utils.hooks.RemovableHandle:
        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0][0].double().reshape(norm.num_groups, -1)
            scale = torch.rsqrt(values.var(1, correction=0) + norm.eps)
            seen[name].append((scale, values.mean(1) * scale))

        return norm.register_forward_pre_hook(before)

    hooks = [watch(name, model.get_submodule(name)) for name in names]  # type: ignore[arg-type]
    for image in images:
        model.features_of(image)
    for name, hook in zip(names, hooks, strict=True):
        hook.remove()
        scales, offsets = (torch.stack(part).float() for part in zip(*seen[name], strict=True))
        norm = model.get_submodule(name)
        assert isinstance(norm, nn.GroupNorm)
        model.set_submodule(name, stored(norm, scales, offsets))


def validated(model: CellMaskRCNN, samples: Sequence[Sample]) -> Evaluation:
    """Compare the cells of validation images with the ground truth, in fp32: rounding changes some cells."""
    options = PredictOptions(precision="fp32", test_time_augmentation="off")
    predictor = Predictor(model, None, Device("cpu", "always"), options)
    truth, found = {}, {}
    for sample in samples:
        image = read_sample(sample)
        truth[sample.image_id] = truth_of(image)
        found[sample.image_id] = drive(predictor.image(image.rgb))
    return evaluate(truth, found, model.config.classes)


def convert(old: Path, out: Path, data: Path, validation: Sequence[str]) -> None:
    """Write the model with stored norms, and print its metrics."""
    model, header = load_checkpoint(old)
    samples = find_samples(data).samples
    paths = [sample.image for sample in samples if sample.image_id not in validation]
    names = [name for name, module in model.named_modules() if isinstance(module, nn.GroupNorm)]
    for part in ("inner_blocks", "layer_blocks"):
        replace(model, [name for name in names if part in name], crops(paths, header.config.working_scale))
    preset = PRESETS["lite"].network["rpn"]
    caps = {f"rpn__{name}": preset[name] for name in ("cap_side", "pre_nms_test", "post_nms_test", "min_score")}
    model.config = header.config.with_changes(fpn__norm="stored", **caps)
    known = {name: getattr(header, name) for name in CheckpointMetadata.model_fields}
    save_checkpoint(out, model, CheckpointMetadata(**known))
    model = load_checkpoint(out)[0]  # with the new caps, and rounded as in the file
    evaluation = validated(model, [sample for sample in samples if sample.image_id in validation])
    known |= {"thresholds": tuple(evaluation.thresholds.values()), "metrics": evaluation.flat()}
    known["provenance"] = {
        **header.provenance,
        "norms": f"{len(names)} group norms stored by benchmarks/store_norms.py",
    }
    save_checkpoint(out, model, CheckpointMetadata(**known))
    print(evaluation.table())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, help="training folder or COCO file")
    parser.add_argument("--validation", nargs="*", default=[], metavar="ID", help="images that it was not trained on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.model is not None:
        convert(options.model, options.out, options.data, options.validation)
        return
    with tempfile.TemporaryDirectory() as scratch:
        data, old = Path(scratch) / "data", Path(scratch) / "old.safetensors"
        write_training_folder(data, images=2, size=(256, 256))
        save_checkpoint(old, build_model(ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(fpn__norm="group")))
        convert(old, Path(scratch) / "new.safetensors", data, ["tissue_01"])


if __name__ == "__main__":
    main()
