"""The cells of an image under review, the user's decisions about them, and one undo stack for everything. No Qt.

Also the queue that sorts the most doubtful cells first.
"""

from __future__ import annotations

from napari_cellseg.review.about import About
from napari_cellseg.review.account import account_name
from napari_cellseg.review.arriving import ArrivingCells
from napari_cellseg.review.cells import UNDECIDED, BoolMask, Box, Cell, Status
from napari_cellseg.review.commands import Author, CellCommand
from napari_cellseg.review.conversion import cells_from, instances_of
from napari_cellseg.review.doubts import Reason
from napari_cellseg.review.filters import CellFilter
from napari_cellseg.review.history import Change, ChangeKind
from napari_cellseg.review.learning import Learner
from napari_cellseg.review.queue import QueueContent, QueueItem, QueueOrder, ReviewQueue
from napari_cellseg.review.session import ReviewSession
from napari_cellseg.review.shown import Progress

__all__ = [
    "UNDECIDED",
    "About",
    "ArrivingCells",
    "Author",
    "BoolMask",
    "Box",
    "Cell",
    "CellCommand",
    "CellFilter",
    "Change",
    "ChangeKind",
    "Learner",
    "Progress",
    "QueueContent",
    "QueueItem",
    "QueueOrder",
    "Reason",
    "ReviewQueue",
    "ReviewSession",
    "Status",
    "account_name",
    "cells_from",
    "instances_of",
]
