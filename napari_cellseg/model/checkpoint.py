"""Model files: safetensors with all settings to rebuild the model in the header; nothing is ever unpickled.

The header's ``__metadata__`` holds one JSON text under ``napari_cellseg``: settings with the class table, metrics,
score thresholds, provenance, and a SHA-256 over that text, the table of tensors and the tensors' bytes. (Neither
safetensors nor .pt notices a flipped byte.) Importing this module and reading a header need no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from napari_cellseg.atomic import atomic_write
from napari_cellseg.classes import MAX_CLASSES, ClassTable
from napari_cellseg.errors import CheckpointError, ConfigError
from napari_cellseg.formats.json_gate import parse_json, short
from napari_cellseg.images.statistics import ImageStatistics
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.settings import Fraction, config_error

if TYPE_CHECKING:
    import torch

    from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN

__all__ = [
    "CheckpointHeader",
    "CheckpointMetadata",
    "load_checkpoint",
    "load_weights",
    "read_header",
    "save_checkpoint",
]

_KEY = "napari_cellseg"
_FORMAT = 1
_MOST_HEADER_BYTES = 16 << 20
# Errors that timm and torch raise on impossible settings.
_BUILD_ERRORS = (
    CheckpointError, ConfigError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    AssertionError, MemoryError,
)  # fmt: skip
_PICKLES = (b"\x80", b"PK\x03\x04", b"\x1f\x8b")


def _finite(metrics: object) -> dict[str, Any]:
    if not isinstance(metrics, Mapping):
        raise ValueError("expected names with numbers")
    # JSON has no NaN; pydantic reports values that are not numbers.
    return {name: value for name, value in metrics.items() if not isinstance(value, float) or math.isfinite(value)}


class CheckpointMetadata(BaseModel):
    """Information about trained weights in addition to the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", max_length=1000, description="Shown in lists of models")
    metrics: Annotated[dict[str, float], BeforeValidator(_finite)] = Field(
        {}, description="On validation images; flat names as in metrics.csv; values that are not numbers are left out"
    )
    statistics: ImageStatistics | None = Field(None, description="Of its training images")
    thresholds: tuple[Fraction, ...] | None = Field(
        None, max_length=MAX_CLASSES, description="Best score threshold of each of the K classes"
    )
    provenance: dict[str, Any] = Field({}, description="Data, licence, recipe, program versions")


class CheckpointHeader(CheckpointMetadata):
    """The header of a model file."""

    format: int = _FORMAT
    created: str = ""
    config: ModelConfig
    sha256: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.thresholds is not None and len(self.thresholds) != len(self.config.classes):
            raise ValueError(f"thresholds has {len(self.thresholds)} numbers for {len(self.config.classes)} classes")
        return self

    @property
    def classes(self) -> ClassTable:
        """The classes of the model."""
        return self.config.classes


def save_checkpoint(
    path: Path,
    model: CellMaskRCNN,
    metadata: CheckpointMetadata | None = None,
    *,
    half: bool = True,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> CheckpointHeader:
    """Write a model file; an old file is replaced only after the new one is on disk.

    Parameters
    ----------
    path : Path
        ``*.safetensors``.
    model : CellMaskRCNN
        Its ``config`` goes into the header.
    metadata : CheckpointMetadata, optional
        Name, metrics, thresholds, provenance.
    half : bool
        Store matrices and kernels as float16 (half the size; norms and biases stay float32).
    weights : state dict, optional
        Weights to store instead of the model's own, for example their average.

    Raises
    ------
    OSError
        The disk is full or read-only; an old file is then unchanged.
    """
    import safetensors.torch

    state = model.state_dict() if weights is None else weights
    packed = safetensors.torch.save({name: _packed(tensor, half) for name, tensor in state.items()})
    (length,) = struct.unpack("<Q", packed[:8])
    table, data = json.loads(packed[8 : 8 + length]), memoryview(packed)[8 + length :]
    known = (metadata or CheckpointMetadata()).model_dump()
    header = CheckpointHeader(**known, config=model.config, created=datetime.now(UTC).isoformat(timespec="seconds"))
    header = header.model_copy(update={"sha256": _digest(header.model_dump(mode="json"), table, data)})
    table = {"__metadata__": {"format": "pt", _KEY: header.model_dump_json()}, **table}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.write(data)
    return header


def read_header(path: Path, *, verify: bool = False) -> CheckpointHeader:
    """Read the header of a model file, without torch.

    Parameters
    ----------
    path : Path
        ``*.safetensors``.
    verify : bool
        Also read the tensors' bytes and check the SHA-256.

    Raises
    ------
    CheckpointError
        The file does not exist or is not a napari-cellseg model; the message says which.
    """
    if verify:
        return _read(path, tensors=True)[0]
    try:
        found = Path(path).stat()
    except OSError:
        return _read(path, tensors=False)[0]  # says why
    return _known(Path(path), (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=64)
def _known(path: Path, _: tuple[int, ...]) -> CheckpointHeader:
    """Read a header once for each state of the file: the window asks for it a dozen times when an image is opened."""
    return _read(path, tensors=False)[0]


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> tuple[CellMaskRCNN, CheckpointHeader]:
    """Rebuild a model, in evaluation mode and float32, on a device.

    Raises
    ------
    CheckpointError
        The file does not exist, is not a napari-cellseg model, or is damaged.
    """
    import torch

    from napari_cellseg.model.network.build import build_model

    state, header = load_weights(path)
    try:
        # First without memory: settings of other tensors may require any amount of it.
        with torch.device("meta"):
            _check_shapes(build_model(header.config).state_dict(), state)
        model = build_model(header.config)
        model.load_state_dict(state)
    except _BUILD_ERRORS as error:
        raise CheckpointError(f"The model in {path} cannot be rebuilt: {str(error)[:500]}") from error
    return model.eval().to(device), header


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], CheckpointHeader]:
    """Return the checked state dict (floats as float32) and the header, for example to initialise training.

    Raises
    ------
    CheckpointError
        As `load_checkpoint`.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    header, content = _read(path, tensors=True)
    try:
        state = safetensors.torch.load(content)
    except (SafetensorError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"The tensors in {path} cannot be read: {error}.") from error
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tensor = tensor.float()
            if not tensor.isfinite().all():
                raise CheckpointError(
                    f"{path} cannot be used: its tensor {short(name)} has values that are not finite numbers. The"
                    " training that made it has failed; use an earlier checkpoint."
                )
    return state, header


def _check_shapes(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    """Raise a `CheckpointError` that names the first missing or extra tensor, or one of another shape."""
    for name in sorted(wanted.keys() | found.keys()):
        shapes = [tuple(state[name].shape) if name in state else None for state in (wanted, found)]
        if shapes[0] != shapes[1]:
            raise CheckpointError(
                f"its settings require {short(name)} of shape {shapes[0]}, but the file has {shapes[1]}"
            )


def _packed(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    # Vectors are norms and biases: they take little space, and a running variance may not fit float16.
    if half and tensor.is_floating_point() and tensor.ndim > 1 and tensor.abs().max() < 60_000:
        return tensor.half()
    return tensor


def _digest(header: Mapping[str, Any], table: Mapping[str, Any], data: bytes | memoryview) -> str:
    described = {key: value for key, value in header.items() if key != "sha256"}
    text = json.dumps([described, table], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode())
    digest.update(data)
    return digest.hexdigest()


def _read(path: Path, *, tensors: bool) -> tuple[CheckpointHeader, bytes]:
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise CheckpointError(f"The model file {path} cannot be read: it is a folder or a device, not a file.")
        with Path(path).open("rb") as file:
            start = file.read(8)
            length = _header_length(path, start)
            text = file.read(length)
            data = file.read() if tensors else b""
    except OSError as error:
        raise CheckpointError(f"The model file {path} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise CheckpointError(f"The model file {path} cannot be read: there is not enough memory.") from error
    try:
        table = parse_json(text, path, error=CheckpointError)
        metadata = table.pop("__metadata__", {}) if isinstance(table, dict) else None
        told = metadata.get(_KEY) if isinstance(metadata, dict) else None
        described = parse_json(told.encode(), path, error=CheckpointError) if isinstance(told, str) else None
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not a safetensors file, or it is cut off or damaged.") from error
    if not isinstance(described, dict):
        raise CheckpointError(
            f"{path} is a safetensors file, but not a model of napari-cellseg: it has no settings inside."
        )
    header = _parse(path, described)
    if tensors and _digest(described, table, data) != header.sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 does not match. Copy or download the file again.")
    return header, start + text + data


def _header_length(path: Path, start: bytes) -> int:
    length: int = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    # First the length: that of one safetensors file in 32 begins with 0x80, as a pickle does, but a pickle's first
    # eight bytes make a number far above the limit.
    if 2 <= length <= _MOST_HEADER_BYTES:
        return length
    if start.startswith(_PICKLES):
        raise CheckpointError(
            f"{path} is a pickled file (.pt, .pth). Such a file can run any program when it is opened, so it is not"
            " opened; napari-cellseg's models are .safetensors files."
        )
    if len(start) < 8:
        raise CheckpointError(f"{path} is empty or cut off; it is not a model file.")
    raise CheckpointError(f"{path} is not a safetensors file; napari-cellseg's models are.")


def _parse(path: Path, described: Mapping[str, Any]) -> CheckpointHeader:
    if described.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} has model format {short(described.get('format'))}, this program reads {_FORMAT};"
            " update napari-cellseg."
        )
    try:
        return CheckpointHeader.model_validate(described)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {config_error(error, 'Its header')}") from error
    except ConfigError as error:  # an invalid class table
        raise CheckpointError(f"{path}: {error}") from error
