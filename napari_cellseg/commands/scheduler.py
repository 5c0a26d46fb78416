"""``--scheduler``: the Dask workers that predict, those of a cluster or some that are started on this computer."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cellseg.model.inference.cluster import Cluster

__all__ = ["add_scheduler", "lost_line", "workers_of"]

_CORES_PER_WORKER = 4
_PATIENCE_S = 20
_CLOSING_S = 10


def add_scheduler(parser: argparse.ArgumentParser) -> None:
    """Add ``--scheduler``."""
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="predict on the workers of this Dask scheduler: tcp://host:8786, the file of dask scheduler "
        "--scheduler-file, or local:N for N workers on this computer (local: one per GPU, or per 4 CPU cores)",
    )


@contextmanager
def workers_of(word: str | None, tell: Callable[[str], None]) -> Iterator[Cluster | None]:
    """Connect to the workers that ``--scheduler`` names, or start them; yield None if it names none.

    Local workers are stopped at the end, also after an error.

    Raises
    ------
    ConfigError
        The word names no scheduler, the scheduler cannot be reached, or the package distributed is missing.
    """
    if word is None:
        yield None
        return
    _import_distributed()
    from napari_cellseg.model.inference.cluster import Cluster

    with ExitStack() as stack:
        local = re.fullmatch(r"local(?::(\d+))?", word)
        if local:
            count, threads = _local_workers(local[1])
            client = stack.enter_context(_local_client(count))
            cluster = Cluster(client, tell, threads=threads, spread=True)
        else:
            client = stack.enter_context(_client(word))
            cluster = Cluster(client, tell)
        tell(f"Dask scheduler {client.scheduler.address}, dashboard {client.dashboard_link}")
        stack.callback(cluster.close)
        yield cluster


def lost_line(workers: int, repeated: int) -> str:
    """Return what happened to lost workers, for the summary; empty if there were none."""
    from napari_cellseg.wording import counted

    if not workers:
        return ""
    verb = "was" if repeated == 1 else "were"
    return f"{counted(workers, 'worker')} died, and {counted(repeated, 'task')} {verb} repeated"


def dask_setup(_: object) -> None:
    """Prepare a local worker: Ctrl-C in a terminal reaches it too, but the command stops it; and no log on the way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def _import_distributed() -> None:
    from napari_cellseg.errors import ConfigError

    try:
        import dask

        # Before the import, and for the workers that are started; the summary reports a worker that dies.
        dask.config.set({"logging": dict.fromkeys(("distributed", "distributed.client", "tornado"), "critical")})
        import distributed
    except ImportError as error:
        raise ConfigError(
            f'--scheduler needs the package distributed ({error}). Install it: pip install "napari-cellseg[dask]"'
        ) from error
    logging.getLogger(distributed.__name__).setLevel(logging.CRITICAL)


def _local_workers(number: str | None) -> tuple[int, int]:
    """Return the number of workers on this computer and the CPU threads of each."""
    import torch

    from napari_cellseg.errors import ConfigError

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = int(number) if number else torch.cuda.device_count() or max(1, cores // _CORES_PER_WORKER)
    if not 1 <= count <= 16 * cores:
        raise ConfigError(
            f"--scheduler local:{count}: give a number of workers from 1 on; this computer has {cores} cores."
        )
    return count, max(1, cores // count)


@contextmanager
def _local_client(count: int) -> Iterator[Any]:
    """Start workers, one process each, that are started again when they die."""
    import warnings

    import distributed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # another dashboard has the usual port: the next free one is used, and printed
        cluster = distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=0,  # Dask would end workers at 95 % of their share, of which torch keeps free memory
            host="127.0.0.1",
            preload=[__name__],
        )
    try:
        with _closed(distributed.Client(cluster)) as client:
            yield client
    finally:
        cluster.close(timeout=_CLOSING_S)


@contextmanager
def _client(word: str) -> Iterator[Any]:
    import distributed

    from napari_cellseg.errors import ConfigError

    where = {"scheduler_file": word} if word.endswith(".json") else {"address": word}
    try:
        if "scheduler_file" in where and not Path(word).is_file():  # Dask would wait for it
            raise FileNotFoundError(f"{word} does not exist")
        client = distributed.Client(**where, timeout=_PATIENCE_S)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {word}: there is no Dask scheduler that can be reached ({error}). Start one with `dask"
            " scheduler`, and give the address that it prints, for example tcp://10.0.0.1:8786; or choose local:2."
        ) from error
    with _closed(client):
        yield client


@contextmanager
def _closed(client: Any) -> Iterator[Any]:
    try:
        yield client
    finally:
        client.close(timeout=_CLOSING_S)
