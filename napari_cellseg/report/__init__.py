"""The report: one self-contained HTML page about the cells of some images, for a colleague; no Qt."""
