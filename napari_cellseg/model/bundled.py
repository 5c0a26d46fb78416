"""The models bundled with the program."""

from __future__ import annotations

from pathlib import Path

from napari_cellseg.errors import CheckpointError

__all__ = ["FOR_ANY_STAIN", "USUAL", "WEIGHTS", "bundled"]

WEIGHTS = Path(__file__).parent / "weights"
USUAL = "lite-consep"
"""The bundled model for H&E."""
FOR_ANY_STAIN = "nuclei"
"""The bundled model for images unlike H&E: one class, any stain."""


def bundled(name: str = USUAL) -> Path:
    """Return the file of a bundled model.

    Raises
    ------
    CheckpointError
        The installation lacks the model.
    """
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))) or "none"
        raise CheckpointError(
            f"There is no bundled model {name!r} in {WEIGHTS} (there: {known}). Reinstall napari-cellseg, or choose a"
            " model file of your own."
        )
    return path
