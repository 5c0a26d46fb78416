"""Training of napari-cellseg models, without a window: data, augmentation, loop, evaluation, run folders."""
