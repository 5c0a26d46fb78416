"""`InstanceMasks`, the common data type of the program: the cells of one image as boxes and mask crops.

There is never a dense (N, H, W) array of a whole image: 2,000 cells at 2048 px are 3 MB as crops and 8.4 GB dense.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["InstanceMasks", "intersections"]

BoolMask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceMasks:
    """The N cells of one image.

    Attributes
    ----------
    image_size : (int, int)
        Height and width of the image, px.
    boxes : (N, 4) int32
        x0, y0, x1, y1 in px, half-open and tight: every border row and column of a crop has a True pixel.
    class_ids : (N,) int32
        1..K.
    scores : (N,) float32
        0..1; 1 for cells drawn by the user.
    masks : tuple of N bool arrays
        ``masks[i].shape == (y1 - y0, x1 - x0)``.
    label_values : (N,) int64
        The present or future value of each cell in its class's label image; ``1..N`` if left out.

    Raises
    ------
    ValueError
        The arrays do not match each other or the image. (Readers report invalid *files* as `CellSegError`.)
    """

    image_size: tuple[int, int]
    boxes: npt.NDArray[np.int32]
    class_ids: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    masks: tuple[BoolMask, ...]
    label_values: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.masks)
        values = np.arange(1, count + 1) if self.label_values is None else self.label_values
        height, width = map(int, self.image_size)
        arrays: dict[str, Any] = {
            "image_size": (height, width),
            "boxes": np.asarray(self.boxes, np.int32).reshape(-1, 4),
            "class_ids": np.asarray(self.class_ids, np.int32),
            "scores": np.asarray(self.scores, np.float32),
            "masks": tuple(self.masks),
            "label_values": np.asarray(values, np.int64),
        }
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
            if name != "image_size" and len(array) != count:
                raise ValueError(f"{len(array)} {name} for {count} masks")
        x0, y0, x1, y1 = self.boxes.T
        outside = (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height) | (x1 <= x0) | (y1 <= y0)
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(f"box {i} {self.boxes[i].tolist()} is empty or leaves the {height} x {width} image")
        if count and self.class_ids.min() < 1:
            raise ValueError("class_ids start at 1")
        if count and not (self.scores.min() >= 0 and self.scores.max() <= 1):  # written so that NaN also fails
            raise ValueError("scores lie in 0..1")
        shapes = np.array([mask.shape for mask in self.masks]).reshape(-1, 2)
        if not np.array_equal(shapes, np.stack([y1 - y0, x1 - x0], 1)):
            raise ValueError("a mask crop has another size than its box")
        if any(mask.dtype != np.bool_ for mask in self.masks):
            raise ValueError("mask crops are bool")

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> InstanceMasks:
        """Return an image without cells."""
        return cls(
            image_size=image_size,
            boxes=np.zeros((0, 4), np.int32),
            class_ids=np.zeros(0, np.int32),
            scores=np.zeros(0, np.float32),
            masks=(),
        )

    @classmethod
    def from_crops(
        cls,
        image_size: tuple[int, int],
        offsets: npt.ArrayLike,
        masks: Sequence[npt.NDArray[Any]],
        class_ids: npt.ArrayLike,
        scores: npt.ArrayLike | None = None,
        label_values: npt.ArrayLike | None = None,
    ) -> InstanceMasks:
        """Build from crops that need not be tight; a crop is clipped to the image and dropped if nothing is left.

        Parameters
        ----------
        image_size : (int, int)
            Height and width of the image, px.
        offsets : (N, 2) int
            x, y of the top-left pixel of each crop; may be negative.
        masks : N arrays (h_i, w_i)
            Non-zero is cell.
        class_ids : (N,) int
            1..K.
        scores : (N,) float, optional
            0..1; 1 if left out.
        label_values : (N,) int, optional
            Values in the label image; ``1..N`` (before dropping) if left out.
        """
        count = len(masks)
        all_scores = np.ones(count) if scores is None else np.asarray(scores)
        all_values = np.arange(1, count + 1) if label_values is None else np.asarray(label_values)
        kept, boxes, crops = [], [], []
        for i, ((x, y), mask) in enumerate(zip(np.asarray(offsets, int).reshape(-1, 2).tolist(), masks, strict=True)):
            placed = _clip_and_tighten(np.asarray(mask, bool), x, y, image_size)
            if placed is not None:
                kept.append(i)
                boxes.append(placed[0])
                crops.append(placed[1])
        keep = np.array(kept, int)
        return cls(
            image_size=image_size,
            boxes=np.array(boxes, np.int32).reshape(-1, 4),
            class_ids=np.asarray(class_ids)[keep],
            scores=all_scores[keep],
            masks=tuple(crops),
            label_values=all_values[keep],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[InstanceMasks]) -> InstanceMasks:
        """Concatenate cells of one image; ``label_values`` are unchanged.

        Raises
        ------
        ValueError
            There is no part, or the parts have different image sizes.
        """
        if len({part.image_size for part in parts}) != 1:
            raise ValueError("the parts must be one or more, of one image size")
        return cls(
            image_size=parts[0].image_size,
            boxes=np.concatenate([part.boxes for part in parts]),
            class_ids=np.concatenate([part.class_ids for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            masks=tuple(mask for part in parts for mask in part.masks),
            label_values=np.concatenate([part.values for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def values(self) -> npt.NDArray[np.int64]:
        """``label_values``, which are never None once built."""
        assert self.label_values is not None  # set in __post_init__
        return self.label_values

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of each cell, (N,) int64."""
        return np.array([np.count_nonzero(mask) for mask in self.masks], np.int64)

    def is_tight(self) -> bool:
        """Whether each crop has a True pixel in its first and last row and column."""
        return all(m[0].any() and m[-1].any() and m[:, 0].any() and m[:, -1].any() for m in self.masks)

    def select(self, index: npt.ArrayLike) -> InstanceMasks:
        """Return the cells of an integer index (M,) or a bool index (N,), in that order."""
        chosen = np.asarray(index)
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.intp).reshape(-1)
        return InstanceMasks(
            image_size=self.image_size,
            boxes=self.boxes[chosen],
            class_ids=self.class_ids[chosen],
            scores=self.scores[chosen],
            masks=tuple(self.masks[i] for i in chosen.tolist()),
            label_values=self.values[chosen],
        )

    def shifted(self, dx: int, dy: int, image_size: tuple[int, int]) -> InstanceMasks:
        """Place the cells of a tile in a larger image; cells are clipped to it, and dropped if nothing is left."""
        offsets = self.boxes[:, :2] + np.array([dx, dy])
        return InstanceMasks.from_crops(image_size, offsets, self.masks, self.class_ids, self.scores, self.values)

    def paste(self, values: npt.ArrayLike | None = None, dtype: npt.DTypeLike = np.int32) -> npt.NDArray[Any]:
        """Paint all cells into one (H, W) label image, in ascending score, so that the highest score is on top.

        Parameters
        ----------
        values : (N,) int, optional
            The value of each cell; ``label_values`` if left out.
        dtype : dtype
            Type of the label image; 0 is background.
        """
        painted = self.values if values is None else np.asarray(values)
        return self._painted(np.argsort(self.scores, kind="stable"), painted, dtype)

    def paste_smallest_on_top(
        self, values: npt.ArrayLike | None = None, dtype: npt.DTypeLike = np.int64
    ) -> npt.NDArray[Any]:
        """Paint as `paste` does, but in descending area, so that no cell is hidden under a larger one.

        ``values`` are 1..N if left out.
        """
        painted = np.arange(1, len(self) + 1) if values is None else np.asarray(values)
        return self._painted(np.lexsort((self.scores, -self.areas)), painted, dtype)

    def _painted(self, order: npt.NDArray[np.intp], values: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        image = np.zeros(self.image_size, dtype)
        for i in order.tolist():
            x0, y0, x1, y1 = self.boxes[i].tolist()
            image[y0:y1, x0:x1][self.masks[i]] = values[i]
        return image

    def equals(self, other: InstanceMasks) -> bool:
        """Return whether all cells are equal, in the same order, exactly."""
        return (
            self.image_size == other.image_size
            and len(self) == len(other)
            and all(
                np.array_equal(getattr(self, name), getattr(other, name))
                for name in ("boxes", "class_ids", "scores", "label_values")
            )
            and all(np.array_equal(a, b) for a, b in zip(self.masks, other.masks, strict=True))
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pack the crops into one bit array: a thousand small arrays pickle 20 times slower."""
        state = dict(self.__dict__)
        flat = np.concatenate([mask.ravel() for mask in self.masks]) if self.masks else np.zeros(0, bool)
        state["masks"] = np.packbits(flat)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        x0, y0, x1, y1 = state["boxes"].T.astype(np.int64)
        ends = np.cumsum((y1 - y0) * (x1 - x0))
        flat = np.unpackbits(state["masks"], count=int(ends[-1]) if len(ends) else 0).view(np.bool_)
        crops = np.split(flat, ends[:-1]) if len(ends) else []
        shapes = zip((y1 - y0).tolist(), (x1 - x0).tolist(), strict=True)
        state["masks"] = tuple(crop.reshape(shape) for crop, shape in zip(crops, shapes, strict=True))
        self.__dict__.update(state)


def intersections(
    first: InstanceMasks, second: InstanceMasks
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Return every pair of cells that share pixels, as (i in first, j in second, shared px), sorted by i then j."""
    rows, columns = [], []
    for start in range(0, len(first), 512):  # bounds the memory of the box comparison
        a = first.boxes[start : start + 512, None, :]
        b = second.boxes[None]
        i, j = np.nonzero(
            (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])
        )
        rows.append(i + start)
        columns.append(j)
    ii = np.concatenate([*rows, np.zeros(0, np.intp)]).astype(np.intp)
    jj = np.concatenate([*columns, np.zeros(0, np.intp)]).astype(np.intp)
    shared = np.array([_shared(first, i, second, j) for i, j in zip(ii.tolist(), jj.tolist(), strict=True)], np.int64)
    touching = shared > 0
    return ii[touching], jj[touching], shared[touching]


def _shared(first: InstanceMasks, i: int, second: InstanceMasks, j: int) -> int:
    ax0, ay0, ax1, ay1 = first.boxes[i].tolist()
    bx0, by0, bx1, by1 = second.boxes[j].tolist()
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    a = first.masks[i][y0 - ay0 : y1 - ay0, x0 - ax0 : x1 - ax0]
    b = second.masks[j][y0 - by0 : y1 - by0, x0 - bx0 : x1 - bx0]
    return int(np.count_nonzero(a & b))


def _clip_and_tighten(
    mask: BoolMask, x: int, y: int, image_size: tuple[int, int]
) -> tuple[Iterable[int], BoolMask] | None:
    height, width = image_size
    left, top = max(0, -x), max(0, -y)
    mask = mask[top : max(top, height - y), left : max(left, width - x)]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    x, y = x + left, y + top
    return (x + x0, y + y0, x + x1, y + y1), mask[y0:y1, x0:x1]
