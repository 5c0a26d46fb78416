"""`Cluster`: predicts on the workers of a Dask scheduler; the results come in the order of one machine.

Workers read the images themselves and return the cells of tiles, or of a small image. This process alone writes the
store of a slide and joins its seams, tile by tile in the order of the plan, so that the bytes are those of one machine
whatever worker did what. It keeps a few tasks per worker ahead. What a dying worker had, Dask gives to another.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from napari_cellseg.errors import CellSegError, ConfigError, EngineError
from napari_cellseg.events import ImageFailed, PredictEvent
from napari_cellseg.images.slide import Slide
from napari_cellseg.images.stamp import image_stamp
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference import cluster_tasks as tasks
from napari_cellseg.model.inference.cluster_tasks import ImageOnDisk, ModelOnDisk, Refusal, WorkerFacts
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.inference.tile_batches import TileBatch, TileJob
from napari_cellseg.wording import counted, listed

__all__ = ["Cluster"]

_AHEAD = 4
"""Tasks per worker that are sent before they are needed, so that none waits while one task takes long."""
_BATCHES = 4
"""Most batches of tiles in a task: enough to read one while another is predicted, few enough to repeat them."""
_ATTEMPTS = 2
"""How often a task is repeated that failed unexpectedly, for example because a network disk did not answer."""
_LOOK_S = 1.0

logger = logging.getLogger(__name__)

Future = Any  # of distributed, which is imported only if it is used
Stamp = tuple[tuple[str, Any], ...]


class Cluster:
    """The workers of a Dask scheduler, for `predict`.

    Parameters
    ----------
    client : distributed.Client
        Stays open.
    tell : callable
        Gets lines for the user: no worker yet, a worker is lost.
    threads : int, optional
        CPU threads of each worker; if left out, as many as Dask gives a worker.
    spread : bool
        Whether workers that share a machine with several GPUs take one each.
    """

    def __init__(
        self, client: Any, tell: Callable[[str], None], *, threads: int | None = None, spread: bool = False
    ) -> None:
        self._client, self._tell = client, tell
        self._threads, self._spread = threads, spread
        self._name = f"cellseg-{uuid4().hex[:12]}"
        self._model: ModelOnDisk | None = None
        self._items: Sequence[PredictItem] = ()
        self._ahead: deque[int] = deque()
        self._images: dict[int, Future] = {}
        self._resources: dict[str, float] = {}
        self._addresses: set[str] = set()
        self._looked_at = 0.0
        self._sent = 0
        self.workers = 0
        """The largest number of workers there were at a time."""

    # ---- before the prediction ----

    def start(
        self, items: Sequence[PredictItem], options: PredictOptions, path: Path, header: CheckpointHeader
    ) -> tuple[Device, str]:
        """Wait for workers, let them load the model, and check that all compute alike.

        Raises
        ------
        ConfigError
            The workers lack napari-cellseg, or differ in device or precision.
        EngineError
            The connection to the scheduler is lost, or a worker has other versions.
        CheckpointError
            A worker lacks the model.
        """
        self._items = items
        self._ahead = deque(number for number, item in enumerate(items, 1) if not item.slide)
        asked = ModelOnDisk.of(path, header, options, threads=self._threads, spread=self._spread)
        facts = self._surveyed(asked)
        kinds = sorted({(each.device.kind, each.precision) for each in facts})
        if len(kinds) > 1:
            told = "; ".join(f"{each.where}: {each.device.kind}, {each.precision}" for each in facts[:8])
            raise ConfigError(
                f"The workers differ in device or precision, so that cells would depend on who predicts them: {told}."
                " Start those with a GPU with --resources GPU=1, and only they are used; or choose --device cpu and"
                " --precision fp32."
            )
        if len(hardware := sorted({each.hardware for each in facts})) > 1:
            self._tell(f"warning: the workers have different hardware ({listed(hardware)}): last bits may differ")
        (kind, precision) = kinds[0]
        changes = {"precision": precision, **({"device": kind} if options.device == "auto" else {})}
        self._model = replace(asked, options=options.model_copy(update=changes))
        self._send_images(0)
        name = kind if len(facts) > 1 else facts[0].device.name
        return Device(name, f"{counted(len(facts), 'worker')}, {listed(hardware)}"), precision

    def _surveyed(self, model: ModelOnDisk) -> list[WorkerFacts]:
        """Return what the workers compute with that are there; one that leaves meanwhile is not waited for."""
        self._wait_for_workers()
        asked = {address: self._send(tasks.survey, model, workers=[address]) for address in sorted(self._addresses)}
        facts: list[WorkerFacts] = []
        try:
            while asked:
                for address, future in list(asked.items()):
                    if not future.done() and address in self._addresses:
                        continue
                    if future.done():
                        facts.append(self._answer(future))
                    self._cancel([asked.pop(address)])
                if asked:
                    self._wait(list(asked.values()))
                elif not facts:
                    return self._surveyed(model)
        finally:
            self._cancel(asked.values())
        return facts

    def _wait_for_workers(self) -> None:
        told = False
        while not self._look():
            if not told:
                self._tell("The scheduler has no workers yet. Waiting for the first; Ctrl-C stops.")
            told = True
            time.sleep(_LOOK_S)

    # ---- during the prediction ----

    def image(self, number: int) -> Generator[PredictEvent, None, None]:
        """Yield the events of an image that is predicted as a whole, number 1..N."""
        try:
            self._send_images(0, up_to=number)
            found = self._result(self._images[number])
        except CellSegError as error:
            found = [ImageFailed(number, len(self._items), self._items[number - 1].image_id, str(error))]
        finally:
            self._cancel(filter(None, [self._images.pop(number, None)]))
        with suppress(EngineError):  # the next image reports it
            self._send_images(0)
        yield from found

    def tiles(self, slide: Slide, job: TileJob) -> Generator[TileBatch, None, None]:
        """Yield the batches of a job in their order."""
        image = ImageOnDisk(slide.overview.path.absolute(), slide.overview.options, _stamp(slide.overview.path))
        share = len(job.batches) // (2 * max(1, len(self._addresses)))
        waiting = deque(job.parts(max(1, min(_BATCHES, share))))
        sent: deque[Future] = deque()
        try:
            while waiting or sent:
                while waiting and len(sent) < self._most_ahead():
                    sent.append(self._send(tasks.predict_tiles, self._model, image, waiting.popleft()))
                if not waiting:
                    self._send_images(len(sent))
                found = self._result(sent[0])
                sent.popleft().release()
                yield from found
        finally:
            self._cancel(sent)

    def _send_images(self, others: int, up_to: int = 0) -> None:
        """Send small images ahead, next to so many other tasks; those ``up_to`` a number in any case."""
        while self._ahead and (self._ahead[0] <= up_to or others + len(self._images) < self._most_ahead()):
            number = self._ahead[0]
            item = self._items[number - 1]
            stamp: Stamp = ()
            if isinstance(path := item.source, Path):
                item, stamp = replace(item, source=path.absolute()), _stamp(path)
            self._images[number] = self._send(tasks.predict_image, self._model, item, stamp, (number, len(self._items)))
            self._ahead.popleft()

    def _most_ahead(self) -> int:
        return _AHEAD * max(1, len(self._addresses))

    def _send(self, task: Callable[..., object], *arguments: object, **where: object) -> Future:
        if self._client.status not in ("running", "connecting"):
            raise EngineError(_lost(self._client))
        self._sent += 1
        return self._client.submit(
            task,
            *arguments,
            key=f"{self._name}-{task.__name__}-{self._sent}",
            pure=False,
            retries=_ATTEMPTS,
            resources=self._resources or None,
            **where,
        )

    def _cancel(self, futures: Iterable[Future]) -> None:
        """Give up tasks; without a scheduler there are none."""
        if self._client.status in ("running", "connecting"):
            self._client.cancel(list(futures))

    def _result(self, future: Future) -> Any:
        """Wait for a task; return its result, or raise the error of a `Refusal`."""
        while not future.done():
            self._wait([future])
        return self._answer(future)

    def _wait(self, futures: Sequence[Future]) -> None:
        """Wait a moment for one of some tasks, and look at the workers now and then."""
        import distributed

        with suppress(TimeoutError):
            distributed.wait(list(futures), timeout=_LOOK_S, return_when="FIRST_COMPLETED")
        if time.monotonic() - self._looked_at > _LOOK_S:
            before = self._addresses
            if not self._look() and before:
                self._tell("warning: no worker is left. Waiting for one; Ctrl-C stops, and the same command resumes.")

    def _look(self) -> set[str]:
        """Ask the scheduler for its workers; if some have the resource GPU, only those count."""
        if self._client.status not in ("running", "connecting"):
            raise EngineError(_lost(self._client))
        try:
            workers = self._client.scheduler_info()["workers"]
        except (OSError, ValueError) as error:
            raise EngineError(_lost(self._client)) from error
        tagged = {address for address, worker in workers.items() if worker.get("resources", {}).get("GPU")}
        if tagged and not self._sent:
            self._resources = {"GPU": 1}
        self._addresses = tagged if self._resources else set(workers)
        self.workers = max(self.workers, len(self._addresses))
        self._looked_at = time.monotonic()
        return self._addresses

    def _answer(self, future: Future) -> Any:
        from distributed import KilledWorker

        try:
            found = future.result()
        except CancelledError as error:
            raise EngineError(_lost(self._client)) from error
        except KilledWorker as error:
            raise EngineError(
                f"{counted(error.allowed_failures + 1, 'worker')} died with this part of the image, the last one at"
                f" {error.last_worker.address}: most often the memory of the machine is too small. Choose smaller tiles"
                " (--tile), fewer per batch (--batch) or fewer workers per machine. The same command resumes."
            ) from error
        except ImportError as error:
            raise ConfigError(
                f"A worker cannot run the tasks ({error}). Install the same version of napari-cellseg in the"
                " environment of the workers."
            ) from error
        if isinstance(found, Refusal):
            raise found.error
        return found

    # ---- after it ----

    def lost(self) -> tuple[int, int]:
        """Return how many workers died while they had tasks of this prediction, and how many tasks were repeated."""
        workers, repeated = 0, 0
        try:
            events = self._client.get_events("all")
        except (OSError, ValueError):  # the scheduler is gone, and the failed images say so
            return 0, 0
        for _, event in events:
            if not isinstance(event, dict) or event.get("action") != "remove-worker" or event.get("expected"):
                continue
            keys = {*event.get("processing-tasks", ()), *event.get("lost-computed-tasks", ())}
            ours = [key for key in keys if str(key).startswith(self._name)]
            workers += bool(ours)
            repeated += len(ours)
        return workers, repeated

    def close(self) -> None:
        """Give up what was sent, and let the workers release the model and the slide; the client stays open."""
        try:
            self._cancel(self._images.values())
            self._images.clear()
            self._client.run(tasks.release, on_error="ignore")
        except Exception:  # the scheduler may be gone, and the results are there
            logger.debug("the workers could not be told to release the model", exc_info=True)


def _stamp(path: Path) -> Stamp:
    """Return what tells the file from another; nothing for a folder or a file that cannot be read."""
    try:
        return tuple(image_stamp(path).items()) if path.exists() else ()
    except OSError:  # reported when the image is read
        return ()


def _lost(client: Any) -> str:
    address = getattr(client.scheduler, "address", "the scheduler") if client.scheduler else "the scheduler"
    return (
        f"The connection to the scheduler at {address} is lost. Check that it is running, then start the same command"
        " again: slides resume after their last finished tile."
    )
