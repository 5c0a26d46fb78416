"""Keeps the garbage collector from walking through all objects of the process while layers are made."""

from __future__ import annotations

import gc


class OldObjects:
    """The objects there are when layers begin to be made, hidden from the collector until the layers are there.

    A full collection takes 0.2 s, on top of the 0.2 s that napari takes for a layer. Where another part of the program
    has hidden its objects, they stay so.
    """

    def __init__(self) -> None:
        self._are_aside = False
        self._are_of_others = gc.get_freeze_count() > 0  # once: Python counts them one by one

    def set_aside(self) -> None:
        """Hide all objects, unless another part of the program has hidden some."""
        if not self._are_aside and not self._are_of_others:
            gc.freeze()
            self._are_aside = True

    def take_back(self) -> None:
        """Let the collector see again what `set_aside` hid."""
        if self._are_aside:
            gc.unfreeze()
            self._are_aside = False
