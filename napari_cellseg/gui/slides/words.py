"""What the docks say about slides."""

from __future__ import annotations

__all__ = ["ONLY_IN_MEMORY"]

ONLY_IN_MEMORY = "This works for images in memory. A slide is shown by regions."
"""Why an action is not available on a slide."""
