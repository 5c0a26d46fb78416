"""`Showing`: masks hidden while a key is held or until they are shown again, and outlines without a fill."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers

__all__ = ["Showing"]

_REPEAT_MS = 40
"""A key that repeats sends a release, and immediately after it the next press."""


class Showing(QObject):
    """How much of the masks is shown, for a look at the tissue below them."""

    changed = Signal()
    """Masks are hidden or shown, or outlines are chosen."""

    def __init__(self, layers: ClassLayers) -> None:
        super().__init__()
        self._layers = layers
        self._is_held = self._is_off = self._outlines = False
        self._hidden: list[CellsLayer] = []
        self._released = QTimer(self)
        self._released.setSingleShot(True)
        self._released.setInterval(_REPEAT_MS)
        self._released.timeout.connect(self.show)
        layers.layer_added.connect(lambda layer: setattr(layer, "outlines_only", self._outlines))

    @property
    def is_held(self) -> bool:
        """Whether the masks are hidden for as long as a key or a button is held."""
        return self._is_held

    @property
    def is_off(self) -> bool:
        """Whether the masks are hidden until `toggle` or `show_all`."""
        return self._is_off

    @property
    def is_hidden(self) -> bool:
        """Whether the masks are hidden now."""
        return self._is_held or self._is_off

    @property
    def outlines_only(self) -> bool:
        """Whether cells are not filled."""
        return self._outlines

    def toggle_outlines(self) -> None:
        """Show outlines only, or fill the cells again."""
        self._outlines = not self._outlines
        if self._outlines and not self._layers.contour:
            self._layers.contour = 1  # otherwise nothing would be left of the masks
        for layer in self._layers:
            layer.outlines_only = self._outlines
        self.changed.emit()

    def hide(self) -> None:
        """Hide the masks until the key that is held now is released, or until the window loses the keyboard."""
        app = QApplication.instance()
        if not self._is_held and app is not None:
            app.installEventFilter(self)
            self._is_held = True
            self._apply()

    def show(self) -> None:
        """End `hide`."""
        app = QApplication.instance()
        self._released.stop()
        if self._is_held and app is not None:
            app.removeEventFilter(self)
            self._is_held = False
            self._apply()

    def toggle(self) -> None:
        """Hide the masks, or show them again."""
        self._is_off = not self._is_off
        self._apply()

    def show_all(self) -> None:
        """Show the masks, whatever has hidden them."""
        self.show()
        if self._is_off:
            self.toggle()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: ARG002, D102
        if event is None:
            return False
        # Not `isAutoRepeat`: PyQt may hand over the wrapper of a mouse event that was at the same address before.
        kind = event.type()
        if kind == QEvent.Type.KeyRelease:
            self._released.start()
        elif kind in (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride):
            self._released.stop()
        elif kind in (QEvent.Type.WindowDeactivate, QEvent.Type.ApplicationDeactivate):
            self.show()
        return False

    def _apply(self) -> None:
        for layer in self._hidden:  # those of the image before have left `ClassLayers`
            layer.set_hidden(False)
        self._hidden = list(self._layers) if self.is_hidden else []
        for layer in self._hidden:
            layer.set_hidden(True)
        self.changed.emit()
