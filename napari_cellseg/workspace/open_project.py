"""Opening of a folder as a `Project`: locked for this process, or for reading only."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from napari_cellseg.errors import AnnotationError
from napari_cellseg.images.listing import find_images, home_of
from napari_cellseg.images.plane_images import all_planes
from napari_cellseg.review import account_name
from napari_cellseg.workspace.holds import Lease
from napari_cellseg.workspace.places import state_folder
from napari_cellseg.workspace.project import Project
from napari_cellseg.workspace.project_file import read_settings

__all__ = ["look_at", "open_project"]


def look_at(path: str | os.PathLike[str]) -> Project:
    """Return a read-only project: no lock is taken and nothing is written.

    Raises
    ------
    ImageReadError
        There is no image.
    AnnotationError
        The classes of the project cannot be read.
    """
    return _project(Path(path), account_name(), None)


def open_project(path: str | os.PathLike[str], *, user: str | None = None, take_over: bool = False) -> Project:
    """Open a folder, or one image, and lock it for this process.

    If another viewer holds the folder, ``owner`` names it, and nothing can be written.

    Parameters
    ----------
    path : path
        A folder, as `list_images` takes it, or one image.
    user : str, optional
        Name of the user; that of the account if left out.
    take_over : bool
        Take the lock even if another viewer holds it. That viewer can no longer save.

    Raises
    ------
    ImageReadError
        There is no image.
    AnnotationError
        The project's own files cannot be read or written.
    """
    path, user = Path(path), account_name() if user is None else user
    project = _project(path, user, None)
    try:
        project.state_folder.mkdir(parents=True, exist_ok=True)
        lease = Lease(project.state_folder, user, take_over=take_over)
    except OSError as error:
        raise AnnotationError(f"Cannot write into {project.state_folder}: {error.strerror or error}.") from error
    return replace(project, lease=lease)


def _project(path: Path, user: str, lease: Lease | None) -> Project:
    listing = find_images(path)
    folder = home_of(path)
    state = state_folder(folder)
    settings = read_settings(state, folder)
    images = all_planes(listing.images) if settings.every_plane else listing.images
    return Project(
        path=path,
        folder=folder,
        state_folder=state,
        user=user,
        images=tuple(images),
        classes=settings.classes,
        lease=lease,
        skipped=listing.skipped,
        every_plane=settings.every_plane,
    )
