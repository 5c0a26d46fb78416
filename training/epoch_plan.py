"""The order of one epoch: a global shuffle, cut in chunks that are each played one or more times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["EpochPlan", "Play"]


@dataclass(frozen=True)
class Play:
    """One use of one sample in an epoch: ``index`` of the sample, and 0-based ``chunk`` and ``repeat``."""

    index: int
    chunk: int
    repeat: int


@dataclass(frozen=True)
class EpochPlan:
    """The order of one epoch: a permutation cut in chunks of ``lengths``, each played ``repeats`` times."""

    epoch: int
    seed: int
    permutation: tuple[int, ...]
    lengths: tuple[int, ...]
    repeats: int

    @classmethod
    def draw(
        cls, epoch: int, seed: int, sizes: Sequence[int], *, chunks: int, repeats: int, budget: int, shuffle: bool
    ) -> EpochPlan:
        """Shuffle, and cut in ``chunks`` parts; in more where two would take more than ``budget`` bytes (0: any).

        ``sizes`` are the bytes of each decoded sample. A sample larger than half the budget is a chunk of its own.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(sizes)) if shuffle else np.arange(len(sizes))
        lengths: list[int] = []
        for part in np.array_split(order, min(chunks, len(order))):
            room = -1
            for size in (sizes[index] for index in part.tolist()):
                if room < size:
                    lengths.append(0)
                    room = budget // 2 if budget else sum(sizes)
                lengths[-1] += 1
                room -= size
        return cls(epoch, seed, tuple(order.tolist()), tuple(lengths), repeats)

    def plays(self) -> list[Play]:
        """Return every use of a sample, in order; each repeat of a chunk has its own order."""
        plays: list[Play] = []
        start = 0
        for chunk, length in enumerate(self.lengths):
            indices = self.permutation[start : start + length]
            start += length
            for repeat in range(self.repeats):
                order: Iterable[int] = range(length)
                if repeat:
                    order = np.random.default_rng([self.seed, self.epoch, chunk, repeat]).permutation(length).tolist()
                plays += [Play(indices[i], chunk, repeat) for i in order]
        return plays
