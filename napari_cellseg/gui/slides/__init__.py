"""Whole slides on the canvas: image and cells of the part in view, at the resolution of the view."""
