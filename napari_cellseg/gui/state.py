"""`AppState`: the state that the docks of one viewer share. Docks communicate only through it.

It holds plain core objects and emits a Qt signal when one of them is replaced. It does no long work itself:
`gui.opening` reads images, `gui.jobs` runs jobs, `gui.canvas.layers` writes layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.palettes import with_preferred_colours

if TYPE_CHECKING:
    from napari_cellseg.gui.thresholds import CellsModel
    from napari_cellseg.images.read import Image, ImageFile
    from napari_cellseg.review import ReviewSession
    from napari_cellseg.review.region import Region
    from napari_cellseg.workspace import Sessions
    from napari_cellseg.workspace.open_any import LoadedSlide

__all__ = ["AppState"]


class AppState(QObject):
    """What is open in one viewer, with a signal for each thing that can be replaced.

    Attributes
    ----------
    workspace : Sessions or None
        The open folder; None before the first one is open.
    images : tuple of ImageFile
        The images of the open folder, in natural order.
    file : ImageFile or None
        The image on the canvas.
    image : Image or None
        Its pixels.
    session : ReviewSession or None
        Its cells; always replaced together with ``file`` and ``image``.
    slide : LoadedSlide or None
        The slide on the canvas; ``image`` and ``session`` are None then.
    slide_class_ids : frozenset of int
        The class_ids that shown cells of the slide can have; empty without cells.
    cells_model : CellsModel or None
        The model that predicted the cells of the slide: ``min_scores`` are its, whatever model is chosen.
    classes : ClassTable
    classes_are_provisional : bool
        Whether no one has chosen them yet: they are numbers, or the classes of the chosen model.
    min_scores : dict of class_id to float
        The minimum score of each class, as the sliders of *Segment* show it.
    model : Path or None
        The checkpoint that *Segment* uses; a bundled one, one of the library, or any file.
    model_is_proposed : bool
        Whether no user chose it, so that another one may be proposed for the next image.
    selection : tuple of int
        Ids of the selected cells, the same on canvas, gallery and table.
    wants_comparison : bool
        Whether the next prediction is to be shown next to the labels of its image.
    is_training : bool
        Whether *Train* is running: checking data, training, or comparing two models.
    trial : str
        What is known of a new model that the user is to keep or drop; empty without one.
    trial_is_ready : bool
        Whether the user can decide about it.
    second_reader : Path or None
        The folder of another reader of the same images, with whom this one is compared; None if there is none.
    disputed : dict of str to int
        By image_id, the number of open disputes with that reader, as far as it is known.
    loading : str
        Description of what is being opened; empty if nothing is.
    has_docks : bool
        Whether a dock has been shown: the first one opens the others.
    docks : set of QWidget
        The docks that Qt has not deleted yet; see `gui.widgets.lifetime`.
    is_closed : bool
        Whether the viewer is closing or closed.
    """

    workspace_changed = Signal()
    """Another folder is open: ``workspace`` and ``images`` are new; the current image is not yet."""
    images_changed = Signal()
    """The open folder has other images; the current one stays."""
    current_changed = Signal()
    """Another image is on the canvas: ``file``, ``image`` and ``session`` are new (or all None)."""
    emptied = Signal()
    """No image is open in memory and none is coming: what was to be opened could not be, or is a slide."""
    slide_region_changed = Signal()
    """The user drew another region on the slide, or removed it."""
    classes_changed = Signal()
    """Names, colours or number of classes."""
    min_scores_changed = Signal()
    cells_model_changed = Signal()
    """The slide shows cells of another model, or none."""
    model_changed = Signal()
    models_changed = Signal()
    """Models of the library were added, removed or renamed."""
    segment_requested = Signal()
    """Requests a run of *Segment* on the current image with the current model."""
    training_requested = Signal(float)
    """Requests a training of at most these minutes, of the current model, on the annotated images of the folder."""
    trial_changed = Signal()
    """``trial`` or ``trial_is_ready`` is another."""
    trial_decided = Signal(bool)
    """The user keeps (True) or drops the new model."""
    training_changed = Signal()
    """``is_training`` may be another."""
    answered = Signal(str, object)
    """The image_id and the `InstanceMasks` that a model predicted for it, of all scores, with the class_ids here."""
    second_reader_changed = Signal()
    """``second_reader`` was chosen, maybe the same folder again."""
    disputed_changed = Signal()
    disputes_requested = Signal()
    """Requests the queue of disputed cells in *Review*."""
    selection_changed = Signal()
    loading_changed = Signal()
    status_changed = Signal(str)
    """The counts of one image_id in the image list (cells, reviewed, saved) are out of date."""
    closing = Signal()
    """The viewer is closing: stop running work, write unsaved data. Emitted once."""
    closed = Signal()
    """Emitted after ``closing`` was handled by all: free shared resources."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = ref(viewer)  # a strong one would keep the viewer, the key of `gui.plugin`, alive forever
        self.workspace: Sessions | None = None
        self.images: tuple[ImageFile, ...] = ()
        self.file: ImageFile | None = None
        self.image: Image | None = None
        self.session: ReviewSession | None = None
        self.slide: LoadedSlide | None = None
        self.slide_class_ids: frozenset[int] = frozenset()
        self.cells_model: CellsModel | None = None
        self._scores_before: dict[int, float] = {}
        self._slide_region: Region = ()
        self.classes = ClassTable.numbered(1)
        self.classes_are_provisional = True
        self.min_scores: dict[int, float] = {}
        self.model: Path | None = None
        self.model_is_proposed = True
        self.selection: tuple[int, ...] = ()
        self.wants_comparison = False
        self.is_training = False
        self.trial = ""
        self.trial_is_ready = False
        self.second_reader: Path | None = None
        self.disputed: dict[str, int] = {}
        self.loading = ""
        self.has_docks = False
        self.docks: set[QWidget] = set()
        self.is_closed = False

    def close(self) -> None:
        """Announce that the viewer closes; does nothing the second time. `Plugin.close` calls it first."""
        if not self.is_closed:
            self.is_closed = True
            self.closing.emit()
            self.closed.emit()

    @property
    def viewer(self) -> Any:
        """Return the napari viewer; None after it was closed."""
        return self._viewer()

    @property
    def window(self) -> QMainWindow | None:
        """Return the window of the viewer; None without one, or after it was closed."""
        window: QMainWindow | None = getattr(getattr(self.viewer, "window", None), "_qt_window", None)
        return window

    @property
    def image_id(self) -> str | None:
        """Return the id of the image on the canvas."""
        return None if self.file is None else self.file.image_id

    def set_workspace(self, workspace: Sessions | None, images: Iterable[ImageFile]) -> None:
        """Replace the open folder; the current image is closed."""
        self.set_current(None, None, None)
        self.workspace, self.images = workspace, tuple(images)
        self.workspace_changed.emit()

    def set_images(self, images: Iterable[ImageFile]) -> None:
        """Replace the list of images of the open folder; the current image stays."""
        self.images = tuple(images)
        self.images_changed.emit()

    def set_current(
        self,
        file: ImageFile | None,
        image: Image | None,
        session: ReviewSession | None,
        slide: LoadedSlide | None = None,
    ) -> None:
        """Replace the current image and its cells, or the slide; the minimum scores stay."""
        self.file, self.image, self.session, self.slide = file, image, session, slide
        self.selection, self._slide_region = (), ()
        if session is not None:
            session.set_min_scores(self.min_scores)
        self.current_changed.emit()
        self.selection_changed.emit()

    @property
    def slide_region(self) -> Region:
        """Return the part of the slide that *Segment* predicts, (y, x) px of the canvas; empty for all of it."""
        return self._slide_region

    def set_slide_region(self, region: Region) -> None:
        """Replace the region of the slide on the canvas; `gui.slides.kept` keeps it."""
        if self.slide is not None and region != self._slide_region:
            self._slide_region = region
            self.slide_region_changed.emit()

    def set_classes(self, classes: ClassTable, *, provisional: bool = False) -> None:
        """Replace the class table if it differs; a provisional table gets the preferred colours."""
        classes = with_preferred_colours(classes) if provisional else classes
        if classes != self.classes or provisional != self.classes_are_provisional:
            self.classes = classes
            self.classes_are_provisional = provisional
            self.classes_changed.emit()

    def set_min_scores(self, min_scores: Mapping[int, float]) -> None:
        """Replace the minimum scores if they differ."""
        if dict(min_scores) != self.min_scores:
            self.min_scores = dict(min_scores)
            self.min_scores_changed.emit()

    def set_cells_model(self, model: CellsModel | None) -> None:
        """Use the minimum scores of the model that predicted the cells of the slide; None for no such cells."""
        if model is None and self.cells_model is None:
            return
        if self.cells_model is None:
            self._scores_before = self.min_scores
        self.cells_model = model
        self.set_min_scores(self._scores_before if model is None else model.first_min_scores())
        self.cells_model_changed.emit()

    @property
    def slide_has_cells(self) -> bool:
        """Return whether cells of the slide are shown."""
        return bool(self.slide_class_ids)

    def set_model(self, checkpoint: Path | None, *, proposed: bool = False) -> None:
        """Choose another checkpoint for *Segment*; a proposed one does not count as the user's choice."""
        if (checkpoint, proposed) != (self.model, self.model_is_proposed):
            self.model, self.model_is_proposed = checkpoint, proposed
            self.model_changed.emit()

    def set_trial(self, text: str, *, is_ready: bool = False) -> None:
        """Set the words about a new model; empty words end its trial."""
        if (text, is_ready) != (self.trial, self.trial_is_ready):
            self.trial, self.trial_is_ready = text, is_ready
            self.trial_changed.emit()

    def set_second_reader(self, folder: Path | None) -> None:
        """Choose the folder of another reader; what is known of disputes with the reader before is forgotten."""
        self.second_reader = folder
        self.set_disputed({})
        self.second_reader_changed.emit()

    def set_disputed(self, disputed: Mapping[str, int]) -> None:
        """Replace the numbers of open disputes if they differ."""
        if dict(disputed) != self.disputed:
            self.disputed = dict(disputed)
            self.disputed_changed.emit()

    def select(self, cell_ids: Iterable[int]) -> None:
        """Select cells by their ids; replaces the selection."""
        chosen = tuple(cell_ids)
        if chosen != self.selection:
            self.selection = chosen
            self.selection_changed.emit()

    def set_loading(self, text: str) -> None:
        """Set the description of what is being opened; an empty text ends it."""
        if text != self.loading:
            self.loading = text
            self.loading_changed.emit()
