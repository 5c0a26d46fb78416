"""`ModelCache`: the model of the last prediction, kept in memory for the next one."""

from __future__ import annotations

from pathlib import Path

from napari_cellseg.model.checkpoint import CheckpointHeader, load_checkpoint, read_header
from napari_cellseg.model.device import Device
from napari_cellseg.model.network.any_threads import same_on_any_threads
from napari_cellseg.model.network.folding import fold_norms
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN

__all__ = ["ModelCache"]


class ModelCache:
    """Keeps the last model in memory for the next prediction; owned by code that runs several predictions."""

    def __init__(self) -> None:
        self._key: tuple[Path, int, str, str, str] | None = None
        self._loaded: tuple[CellMaskRCNN, CheckpointHeader] | None = None

    def get(self, path: Path, device: Device, runtime: str = "torch") -> tuple[CellMaskRCNN, CheckpointHeader]:
        """Return the model of a file on a device, loaded again only if path, contents, device or runtime changed.

        Raises
        ------
        CheckpointError
            The file is missing, damaged or of another program.
        ConfigError
            The runtime is not installed, or cannot run the model.
        """
        header = read_header(path)
        key = (path.resolve(), path.stat().st_mtime_ns, header.sha256, device.name, runtime)
        if self._loaded is None or key != self._key:
            self.clear()  # first, so that two models are never in memory together
            model, header = load_checkpoint(path, device.name)
            fold_norms(model)
            if runtime == "openvino":
                from napari_cellseg.model.network.compiled import CompiledBackbone

                model.backbone = CompiledBackbone(model.backbone)  # type: ignore[assignment]  # stands in for it
            if device.kind == "cpu":
                same_on_any_threads(model)
            self._key, self._loaded = key, (model, header)
        return self._loaded

    def clear(self) -> None:
        """Let the model go."""
        self._key = self._loaded = None
