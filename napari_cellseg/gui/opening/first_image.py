"""`FirstImage`: which image of a folder opens first where some of them cannot be read."""

from __future__ import annotations

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.opening.summaries import Summaries
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error, show_warning
from napari_cellseg.images.read import ImageFile

__all__ = ["FirstImage"]


class FirstImage:
    """The search for the first readable image of a folder; the images that failed are marked in ``summaries``."""

    def __init__(self, state: AppState, summaries: Summaries) -> None:
        self._state = state
        self._summaries = summaries
        self._begun_with: str | None = None

    def seek(self, image_id: str) -> None:
        """Begin with this image of the folder that was opened."""
        self._begun_with = image_id

    def settle(self) -> None:
        """End the search: an image is open, or the user chose one."""
        self._begun_with = None

    def tell(self, failed: ImageFile | None, error: CellSegError) -> None:
        """Mark an image that failed (None: a folder) and show the error.

        The search shows only the first one, because a folder can have thousands of broken images.
        """
        if failed is not None:
            self._summaries.note_problem(failed.image_id, str(error))
        if failed is None or self._begun_with in (None, failed.image_id):
            show_error(error, self._state.window)

    def next(self) -> ImageFile | None:
        """Return the next image to try; None without a search, or when all images were tried."""
        if self._begun_with is None or self._state.file is not None:
            return None
        problems = self._summaries.problems
        found = next((file for file in self._state.images if not problems.get(file.image_id)), None)
        if found is None:
            self.settle()
            if len(self._state.images) > 1:
                show_warning("No image of this folder can be opened. The tooltips of the image list say why.")
        return found
