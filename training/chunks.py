"""`ChunkedLoader`: train on data sets larger than memory, in a new order each epoch.

An epoch is one global shuffle, cut into chunks. One reader thread decodes the next chunk while the current one trains;
at most two chunks are in memory, so peak memory depends on the chunk size, not on the data set.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any, Generic, TypeVar

from napari_cellseg.errors import TrainingError
from training.epoch_plan import EpochPlan, Play

__all__ = ["ChunkedLoader", "Item"]

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class Item(Generic[U]):
    """One item of the loader: ``data`` is the result of ``read`` (and ``transform``) for sample ``index``.

    ``epoch`` is 1-based; ``chunk`` (of ``chunks``) and ``repeat`` are 0-based. This item is number ``position`` of the
    ``length`` items that this process gets in the epoch.
    """

    epoch: int
    chunk: int
    chunks: int
    repeat: int
    index: int
    position: int
    length: int
    data: U


class ChunkedLoader(Generic[S, T, U]):
    """Iterate over decoded samples; one iteration is one epoch, or the rest of one after a resume.

    Parameters
    ----------
    samples : sequence
        The arguments of ``read``; small.
    read : callable
        Decodes one sample, in the reader thread. Its error is raised in place of the sample.
    transform : callable
        ``transform(data, epoch, repeat)`` makes the item from a decoded sample, for example a random view; ``repeat``
        counts the sample's uses in the epoch from 0.
    chunks : int
        Parts of an epoch.
    views : int
        Times each sample occurs in an epoch, shuffled over the whole epoch.
    repeats : int
        Times each chunk is used before the next is read: less reading, at the price of less shuffling.
    budget_mib : float, optional
        Memory for two chunks, MiB; the epoch is cut into more chunks when two of ``chunks`` would need more. Needs
        ``size``.
    size : callable, optional
        Bytes of one decoded sample.
    workers : int
        Threads that run ``transform`` ahead of the consumer; 0 runs it in the consumer's.
    seed : int
        Of all shuffles.
    shuffle : bool
        False keeps the order of ``samples``.
    rank, world_size : int
        Number of this process, and of all processes: each gets every ``world_size``-th item of the same epoch. The
        last round is filled up from the start of the epoch, so that all processes get equally many.
    key : callable
        Gives the name of a sample; a resume state with other names is refused.

    Notes
    -----
    A resumed epoch reads only the samples that it still needs.
    """

    def __init__(
        self,
        samples: Sequence[S],
        read: Callable[[S], T],
        transform: Callable[[T, int, int], U],
        *,
        chunks: int = 10,
        views: int = 1,
        repeats: int = 1,
        budget_mib: float | None = None,
        size: Callable[[S], int] | None = None,
        workers: int = 0,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
        key: Callable[[S], str] = str,
    ) -> None:
        if not samples:
            raise TrainingError("There is no image to train on.")
        if min(chunks, views, repeats) < 1 or not 0 <= rank < world_size:
            raise ValueError("chunks, views and repeats are at least 1, and rank is below world_size")
        self._samples, self._read, self._transform = list(samples), read, transform
        self._sizes = [size(sample) if size else 0 for sample in self._samples]
        self._budget = int(budget_mib * 2**20) if budget_mib and size else 0
        self._chunks, self._views, self._repeats, self._workers = chunks, views, repeats, workers
        self._seed, self._shuffle = seed, shuffle
        self._rank, self._world_size = rank, world_size
        self._fingerprint = hashlib.sha256("\n".join(map(key, self._samples)).encode()).hexdigest()
        self._pools: _Pools | None = None
        self._position = 0  # items that all processes have got so far
        self._plan = self._draw(1)

    def _draw(self, epoch: int) -> EpochPlan:
        return EpochPlan.draw(
            epoch,
            self._seed,
            self._sizes,
            chunks=self._chunks,
            views=self._views,
            repeats=self._repeats,
            budget=self._budget,
            shuffle=self._shuffle,
        )

    @property
    def epoch(self) -> int:
        """The epoch, from 1, that the next iteration starts or continues."""
        return self._plan.epoch

    def __len__(self) -> int:
        """Items of this process in the current epoch, including those it already got."""
        return -(-len(self._plan) // self._world_size)

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Return plain values from which `load_state_dict` continues after the last item."""
        return {
            "epoch": self._plan.epoch,
            "seed": self._plan.seed,
            "order": list(self._plan.order),
            "lengths": list(self._plan.lengths),
            "repeats": self._plan.repeats,
            "position": self._position,
            "samples": self._fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; changed settings apply from the next epoch on.

        Raises
        ------
        TrainingError
            The state is of another data set.
        """
        if state["samples"] != self._fingerprint:
            raise TrainingError(
                "These are not the training images that this run started with. Restore them, or start a new run."
            )
        self.close()
        self._plan = EpochPlan(
            epoch=state["epoch"],
            seed=state["seed"],
            order=tuple(state["order"]),
            lengths=tuple(state["lengths"]),
            repeats=state["repeats"],
        )
        self._position = state["position"]

    # ---- iteration ----

    def __iter__(self) -> Generator[Item[U], None, None]:
        """Yield the remaining items of this epoch, then move to the start of the next."""
        self.close()
        pools = self._pools = _Pools(max(1, self._workers))
        length = len(self)
        try:
            for play, data in self._items(self._rest(), pools):
                self._position += self._world_size
                yield Item(
                    epoch=self._plan.epoch,
                    chunk=play.chunk,
                    chunks=len(self._plan.lengths),
                    repeat=play.repeat,
                    index=play.index,
                    position=self._position // self._world_size,
                    length=length,
                    data=data,
                )
                del data  # otherwise this frame keeps it alive while the next is made
        except CancelledError:  # closed from another thread
            return
        finally:
            pools.close()
        self._plan, self._position = self._draw(self._plan.epoch + 1), 0

    def close(self) -> None:
        """Stop reading within a second and end any iteration; may be called in any state, any number of times."""
        if self._pools:
            self._pools.close()

    def _rest(self) -> list[Play]:
        plays = self._plan.plays()
        last = plays[-1].chunk
        missing = -len(plays) % self._world_size
        plays += [replace(plays[i % len(plays)], chunk=last) for i in range(missing)]
        return plays[self._position :][self._rank :: self._world_size]

    def _items(self, plays: list[Play], pools: _Pools) -> Iterator[tuple[Play, U]]:
        parts = [list(part) for _, part in groupby(plays, lambda play: play.chunk)]
        following = self._submit(parts[0], {}, pools) if parts else {}
        for number, part in enumerate(parts):
            present, following = following, {}
            if number + 1 < len(parts):
                following = self._submit(parts[number + 1], present, pools)
            yield from self._viewed(part, present, pools)
            present.clear()

    def _submit(self, part: list[Play], present: Mapping[int, Future[T]], pools: _Pools) -> dict[int, Future[T]]:
        """Start reading a chunk; samples that the current chunk has are shared, not read again."""
        wanted = dict.fromkeys(play.index for play in part)
        return {i: present.get(i) or pools.submit(pools.reader, self._read, self._samples[i]) for i in wanted}

    def _viewed(self, part: list[Play], decoded: dict[int, Future[T]], pools: _Pools) -> Iterator[tuple[Play, U]]:
        """Yield the items of a chunk. Views are made ahead within it only, or a third chunk would be in memory."""
        epoch = self._plan.epoch

        def view(play: Play) -> U:
            return self._transform(pools.result(decoded[play.index]), epoch, play.repeat)

        if not self._workers:
            yield from ((play, view(play)) for play in part)
            return
        plays = iter(part)
        jobs = deque((play, pools.submit(pools.workers, view, play)) for play in islice(plays, 2 * self._workers))
        while jobs:
            play, job = jobs.popleft()
            data = pools.result(job)
            jobs.extend((play_ahead, pools.submit(pools.workers, view, play_ahead)) for play_ahead in islice(plays, 1))
            del job
            yield play, data
            del data


class _Pools:
    """The reader thread and the worker threads of one iteration."""

    def __init__(self, workers: int) -> None:
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self.reader = ThreadPoolExecutor(1, "cellseg-reader", initializer=self._note)
        self.workers = ThreadPoolExecutor(workers, "cellseg-augment", initializer=self._note)

    def _note(self) -> None:
        self._threads.append(threading.current_thread())

    def submit(self, pool: ThreadPoolExecutor, function: Callable[[V], T], argument: V) -> Future[T]:
        """Call a function in a thread of a pool, unless closed."""
        try:
            return pool.submit(function, argument)
        except RuntimeError:  # the pool is shut down
            if self._closed.is_set():
                raise CancelledError from None
            raise

    def result(self, future: Future[T]) -> T:
        """Wait for a future, unless closed."""
        while not future.done():
            if self._closed.is_set():
                raise CancelledError
            wait([future], timeout=0.1)
        return future.result()

    def close(self) -> None:
        """End the threads; one that is decoding finishes its sample, and is waited for at most half a second."""
        self._closed.set()
        for pool in (self.workers, self.reader):
            pool.shutdown(wait=False, cancel_futures=True)
        end = time.monotonic() + 0.5
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
