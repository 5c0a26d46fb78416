"""The network, its settings and files, and prediction. Importing this package loads no torch."""
