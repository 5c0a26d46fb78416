"""The models bundled with the program."""

from __future__ import annotations

from pathlib import Path

from napari_cellseg.errors import CheckpointError

__all__ = ["FOR_ANY_STAIN", "USUAL", "WEIGHTS", "bundled", "start_file", "start_word"]

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


def start_file(start_from: str) -> Path:
    """Return the model file of a value of `TrainConfig.start_from` that names a model.

    Parameters
    ----------
    start_from : str
        "bundled" (the usual bundled model), "nuclei" (the bundled model for any stain), or a model file.

    Raises
    ------
    CheckpointError
        The installation lacks the bundled model.
    """
    if start_from == "bundled":
        return bundled()
    return bundled(start_from) if start_from == FOR_ANY_STAIN else Path(start_from)


def start_word(path: Path) -> str:
    """Return the value of `TrainConfig.start_from` for a model file: a word for a bundled model, else its path."""
    words = {WEIGHTS / f"{USUAL}.safetensors": "bundled", WEIGHTS / f"{FOR_ANY_STAIN}.safetensors": FOR_ANY_STAIN}
    return words.get(path, str(path))
