"""The order of one epoch: a global shuffle, cut into chunks that are each used one or more times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["EpochPlan", "Play"]


@dataclass(frozen=True)
class Play:
    """One use of a sample in an epoch: its ``index``, the 0-based ``chunk``, and the number of earlier uses."""

    index: int
    chunk: int
    repeat: int


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """The order of one epoch: ``order`` holds each sample ``views`` times and is cut into chunks of ``lengths``.

    Each chunk is used ``repeats`` times.
    """

    epoch: int
    seed: int
    order: tuple[int, ...]
    lengths: tuple[int, ...]
    repeats: int

    @classmethod
    def draw(
        cls,
        epoch: int,
        seed: int,
        sizes: Sequence[int],
        *,
        chunks: int,
        views: int = 1,
        repeats: int = 1,
        budget: int = 0,
        shuffle: bool = True,
    ) -> EpochPlan:
        """Shuffle ``views`` copies of all samples, and cut them into ``chunks`` parts.

        There are more parts where two would take more than ``budget`` bytes (0: no limit); ``sizes`` are the bytes of
        each decoded sample. A sample larger than half the budget is a chunk of its own.
        """
        rng = np.random.default_rng([seed, epoch])
        count = len(sizes)
        order = np.concatenate([rng.permutation(count) if shuffle else np.arange(count) for _ in range(views)])
        lengths: list[int] = []
        for part in np.array_split(order, min(chunks, len(order))):
            lengths += _fit(part.tolist(), sizes, budget // 2)
        return cls(epoch=epoch, seed=seed, order=tuple(order.tolist()), lengths=tuple(lengths), repeats=repeats)

    def __len__(self) -> int:
        """Plays of the epoch."""
        return len(self.order) * self.repeats

    def plays(self) -> list[Play]:
        """Return all uses of samples, in order; each repeat of a chunk is shuffled again."""
        plays: list[Play] = []
        used = [0] * len(self.order)
        start = 0
        for chunk, length in enumerate(self.lengths):
            part = self.order[start : start + length]
            start += length
            for repeat in range(self.repeats):
                places: Iterable[int] = range(length)
                if repeat:
                    places = np.random.default_rng([self.seed, self.epoch, chunk, repeat]).permutation(length).tolist()
                for index in (part[place] for place in places):
                    plays.append(Play(index, chunk, used[index]))
                    used[index] += 1
        return plays


def _fit(part: Sequence[int], sizes: Sequence[int], limit: int) -> list[int]:
    """Cut a part so that its distinct samples take at most ``limit`` bytes (0: no limit); return the lengths."""
    lengths, held, total = [0], set[int](), 0
    for index in part:
        new = 0 if index in held else sizes[index]
        if limit and held and total + new > limit:
            lengths.append(0)
            held, total, new = set(), 0, sizes[index]
        lengths[-1] += 1
        held.add(index)
        total += new
    return lengths
