"""Small pictures of cells: the tissue around each, with the contour of the cell in the colour of its class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap

from napari_cellseg.review import Cell, Status

__all__ = ["CROSS_PX", "THUMBNAIL_PX", "Thumbnails"]

THUMBNAIL_PX = 72
CROSS_PX = 18
"""Side of the corner, top right, in which a click rejects the cell."""


class Thumbnails:
    """Draws thumbnails when they are asked for, and keeps them for as long as a cell does not change.

    Parameters
    ----------
    crop : callable
        Returns the tissue around a cell with its outline in a colour, (S, S, 3) uint8; None while it is being read.
    """

    def __init__(self, crop: Callable[[Cell, str], npt.NDArray[np.uint8] | None]) -> None:
        self._crop = crop
        self._kept: dict[int, tuple[Cell, str, QPixmap]] = {}

    def picture(self, cell: Cell, colour: str) -> QPixmap:
        """Return the thumbnail of a cell in the colour of its class, ``#rrggbb``."""
        kept = self._kept.get(cell.cell_id)
        if kept is None or kept[0] is not cell or kept[1] != colour:
            crop = self._crop(cell, colour)
            if crop is None:
                empty = QPixmap(THUMBNAIL_PX, THUMBNAIL_PX)
                empty.fill(QColor(60, 60, 60))
                return empty
            kept = self._kept[cell.cell_id] = cell, colour, self._draw(cell, crop)
        return kept[2]

    def _draw(self, cell: Cell, crop: npt.NDArray[np.uint8]) -> QPixmap:
        side = crop.shape[0]
        image = QImage(crop.data, side, side, 3 * side, QImage.Format.Format_RGB888)
        modes = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        picture = QPixmap.fromImage(image.scaled(THUMBNAIL_PX, THUMBNAIL_PX, *modes))
        painter = QPainter(picture)
        if cell.status is Status.REJECTED:
            painter.fillRect(picture.rect(), QColor(40, 40, 40, 170))
            _cross(painter, picture.rect().adjusted(14, 14, -14, -14), QColor("#d55e00"), 4)
        corner = QRect(THUMBNAIL_PX - CROSS_PX, 0, CROSS_PX, CROSS_PX)
        painter.fillRect(corner, QColor(0, 0, 0, 110))
        _cross(painter, corner.adjusted(5, 5, -5, -5), QColor("white"), 2)
        painter.end()
        return picture


def _cross(painter: QPainter, area: QRect, colour: QColor, width: int) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(colour, width))
    painter.drawLine(area.topLeft(), area.bottomRight())
    painter.drawLine(area.topRight(), area.bottomLeft())
