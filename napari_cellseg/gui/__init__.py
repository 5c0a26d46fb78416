"""The napari docks. The only package that knows Qt and napari."""
