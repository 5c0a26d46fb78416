"""The functions behind ``import napari_cellseg as cs``: thin, typed, and with the defaults of the command."""
