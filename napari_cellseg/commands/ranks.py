"""Distributed prediction under ``torchrun``: each process predicts its share, the first one gathers the results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from napari_cellseg.commands.found import FoundImage, FoundSlide
    from napari_cellseg.images.read import ImageFile
    from napari_cellseg.model.config import PredictOptions

__all__ = ["Ranks"]

Failed = list[tuple[str, str]]


@dataclass(frozen=True)
class Ranks:
    """The place of this process: number ``rank`` of ``count``; a ``with`` block connects the processes."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Ranks:
        """Read torchrun's variables; a single process if torchrun did not start it."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"]))

    @property
    def is_first(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def with_own_device(self, settings: PredictOptions) -> PredictOptions:
        """Assign each process of a machine its own GPU, unless a device number was given."""
        if self.count == 1 or settings.device not in ("auto", "cuda"):
            return settings
        import torch

        devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return settings.model_copy(update={"device": f"cuda:{self.local_rank % devices}"}) if devices else settings

    def share(self, files: Sequence[ImageFile]) -> list[ImageFile]:
        """Return the images that this process predicts."""
        if self.count == 1:
            return list(files)
        from napari_cellseg.model.inference.predict import share_of_rank

        return share_of_rank(files, self.rank, self.count)

    def joined(
        self, files: Sequence[ImageFile], found: list[FoundImage | FoundSlide], failed: Failed
    ) -> tuple[list[FoundImage | FoundSlide], Failed]:
        """Return, on the first process, the results of all processes in the order of ``files``."""
        if self.count == 1:
            return found, failed
        import torch.distributed

        parts: list[tuple[list[FoundImage | FoundSlide], Failed] | None] = [None] * self.count
        torch.distributed.gather_object((found, failed), parts if self.is_first else None)
        order = {file.image_id: number for number, file in enumerate(files)}
        all_found = [image for part in parts if part for image in part[0]]
        all_failed = [failure for part in parts if part for failure in part[1]]
        return (
            sorted(all_found, key=lambda image: order[image.file.image_id]),
            sorted(all_failed, key=lambda failure: order[failure[0]]),
        )

    def __enter__(self) -> Self:
        if self.count > 1:
            import torch.distributed

            torch.distributed.init_process_group("gloo")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self.count > 1:
            import torch.distributed

            torch.distributed.destroy_process_group()
