"""`NucleusScale`: sets the scale by a circle of the size of a typical nucleus, which is put over one of the image."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellseg.gui.canvas.camera import canvas_widget
from napari_cellseg.gui.segment.ghost_circle import GhostCircle
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import explain, small_label
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.inference.tiles import network_scale

__all__ = ["NucleusScale", "scale_of_nucleus", "typical_nucleus"]

_TIP = "Show a circle of the size of a typical nucleus; drag it onto a nucleus and resize it to set the scale"
_SCALES = (0.01, 16.0)


def typical_nucleus(header: CheckpointHeader, pixel_size_um: float | None, scale: float | None) -> float | None:
    """Return how wide a typical nucleus of the training images is at this scale, px of the image.

    None when the checkpoint does not tell the size of its cells.

    Parameters
    ----------
    header : CheckpointHeader
    pixel_size_um : float or None
        Of the image.
    scale : float or None
        Network px per image px that users chose.
    """
    if header.statistics is None or header.statistics.cell_side_px is None:
        return None
    config = header.config
    return header.statistics.cell_side_px * config.working_scale / _scale(header, pixel_size_um, scale)


def scale_of_nucleus(header: CheckpointHeader, diameter: float) -> float:
    """Return the scale, network px per image px, at which a nucleus of this diameter looks like a typical one."""
    assert header.statistics is not None, "there is a typical nucleus"
    assert header.statistics.cell_side_px is not None, "there is a typical nucleus"
    scale = header.statistics.cell_side_px * header.config.working_scale / diameter
    return float(f"{min(max(scale, _SCALES[0]), _SCALES[1]):.3g}")


def _scale(header: CheckpointHeader, pixel_size_um: float | None, scale: float | None) -> float:
    config = header.config
    return network_scale(config.working_scale, config.pixel_size_um, pixel_size_um, scale)[0]


class NucleusScale(QWidget):
    """The button, a line that says what the circle means, and the circle itself."""

    chosen = Signal(float)
    """The scale, while the circle is resized."""
    wanted = Signal()
    """The button was pressed: the dock calls `show_circle`."""

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._header: CheckpointHeader | None = None
        self.circle: GhostCircle | None = None
        self.button = QPushButton("Set scale on a nucleus")
        self.button.setCheckable(True)
        self.button.clicked.connect(self._on_button)
        self.hint = small_label()
        self.hint.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.hint)
        # Another image has nuclei of another size, and at other places.
        state.current_changed.connect(self.hide_circle)
        state.closing.connect(self.hide_circle)

    def refresh(self, why_not: str | None) -> None:
        """Enable the button, or say why it cannot work."""
        explain(self.button, why_not, _TIP)
        if why_not is not None:
            self.hide_circle()

    def show_circle(self, header: CheckpointHeader, pixel_size_um: float | None, scale: float | None) -> None:
        """Show the circle of a typical nucleus at this scale, or resize it when it is shown."""
        diameter = typical_nucleus(header, pixel_size_um, scale)
        image, canvas = self._state.image, canvas_widget(self._state.viewer)
        if diameter is None or image is None or canvas is None:
            self.hide_circle()
            return
        self._header = header
        if self.circle is None:
            self.circle = GhostCircle(canvas, self._state.viewer)
            self.circle.resized.connect(self._on_resized)
            self.circle.escaped.connect(self.hide_circle)
            self.circle.open(diameter, image.size)
        elif not self.circle.is_held:  # the field rounds what the circle is dragged to
            self.circle.resize_to(diameter)
        self.button.setChecked(True)
        self._say(diameter, _scale(header, pixel_size_um, scale))

    def hide_circle(self) -> None:
        """Take the circle away; the scale stays."""
        self.button.setChecked(False)
        self.hint.hide()
        circle, self.circle = self.circle, None
        if circle is not None:
            circle.discard()

    def _on_button(self, is_checked: bool) -> None:
        self.wanted.emit() if is_checked else self.hide_circle()

    def _on_resized(self, diameter: float) -> None:
        if self._header is not None:
            self.chosen.emit(scale_of_nucleus(self._header, diameter))

    def _say(self, diameter: float, scale: float) -> None:
        self.hint.setText(
            f"At scale {scale:.3g} a typical nucleus is {diameter:.0f} px wide. Drag the circle onto a nucleus, and "
            "its edge to the edge of the nucleus."
        )
        self.hint.show()
