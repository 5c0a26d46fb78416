"""File formats of annotations: COCO, run lengths, label images, outlines."""
