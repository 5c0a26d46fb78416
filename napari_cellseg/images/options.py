"""`ReadOptions`: how an image file is converted to an 8-bit RGB picture."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_cellseg.errors import ConfigError

__all__ = ["LimitsChoice", "ReadOptions", "parse_channels", "parse_limits", "parse_plane", "words_of"]

LimitsChoice = Literal["auto", "dtype"] | tuple[float, float]
Plane = Annotated[int, Field(ge=0)] | Literal["max", "mean"]
Channels = tuple[Annotated[int, Field(ge=0)], ...]


class ReadOptions(BaseModel):
    """How images are read; the defaults suit most files."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    limits: LimitsChoice = Field(
        "auto",
        description="Values that become black and white: auto (from the image), dtype (the range of its type), "
        "or two numbers",
    )
    plane: Plane | None = Field(
        None, description="Plane of a z-stack or time series, counted from 0, or its maximum or mean projection"
    )
    channels: Channels | None = Field(
        None, description="The channel shown as grey, or the three shown as red, green and blue, counted from 0"
    )
    level: int | None = Field(
        None, ge=0, description="Resolution level of a slide, 0 is the finest; if left out, the finest that fits"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.limits, tuple) and not self.limits[0] < self.limits[1]:
            raise ValueError("limits: the first number must be below the second")
        if self.channels is not None and len(self.channels) not in (1, 3):
            raise ValueError("channels: give one channel (grey) or three (red, green, blue)")
        return self

    def changed(self, **changes: object) -> ReadOptions:
        """Return the options with some fields chosen; the fields that no one chose remain open, see `over`."""
        return ReadOptions.model_validate({**self.model_dump(exclude_unset=True), **changes})

    def without_plane(self) -> ReadOptions:
        """Return the options as if no plane was chosen."""
        return ReadOptions.model_validate(self.model_dump(exclude_unset=True, exclude={"plane"}))

    def over(self, base: ReadOptions) -> ReadOptions:
        """Return ``base``, for example the options of a model's training, with the fields that were chosen here."""
        return ReadOptions.model_validate({**base.model_dump(), **self.model_dump(exclude_unset=True)})


def words_of(options: ReadOptions) -> list[str]:
    """Return the options that were chosen as arguments of a command."""
    words: list[str] = []
    for name, value in options.model_dump(exclude_unset=True, exclude_none=True).items():
        if name == "limits" and isinstance(value, tuple):
            words += ["--limits", *(f"{limit:g}" for limit in value)]
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name}", text]
    return words


def parse_limits(words: list[str]) -> LimitsChoice:
    """Parse the words of ``--limits``: ``["auto"]``, ``["dtype"]`` or two numbers.

    Raises
    ------
    ConfigError
        The words are none of these, or the first number is not below the second.
    """
    if words == ["auto"]:
        return "auto"
    if words == ["dtype"]:
        return "dtype"
    try:
        low, high = (float(word) for word in words)
    except ValueError:
        raise ConfigError(f"--limits {' '.join(words)}: give auto, dtype or two numbers, for example 0 4095.") from None
    if not low < high:
        raise ConfigError(
            f"--limits {' '.join(words)}: the first number must be below the second. Values up to the first become "
            f"black, those from the second on white."
        )
    return low, high


def parse_plane(word: str) -> int | Literal["max", "mean"]:
    """Parse ``--plane``: a number from 0 on, ``max`` or ``mean``.

    Raises
    ------
    ConfigError
        The word is none of these.
    """
    if word == "max":
        return "max"
    if word == "mean":
        return "mean"
    if word.isdecimal():
        return int(word)
    raise ConfigError(f"--plane {word}: give the number of a plane, counted from 0, or max or mean.")


def parse_channels(word: str) -> tuple[int, ...]:
    """Parse ``--channels``: ``2``, or ``0,1,2`` for red, green and blue.

    Raises
    ------
    ConfigError
        The word is none of these.
    """
    parts = [part.strip() for part in word.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"--channels {word}: give one channel, or three as 0,1,2, counted from 0.")
    return tuple(int(part) for part in parts)
