"""The errors that users can meet.

::

    CellSegError
    ├── ImageReadError    an image cannot be read
    ├── AnnotationError   label images, COCO files or review data are invalid
    ├── ConfigError       a setting, a class table or a command line is invalid
    ├── EngineError       the engine process or a worker died or raised an unexpected error
    ├── CheckpointError   a model file is missing, damaged or does not match
    ├── TrainingError     training cannot start or continue
    └── ExportError       a result cannot be written

Every message states the problem, its place (path, image, value) and what to do. `CellSegError` is deliberately not a
`RuntimeError`: a generator that raises one inside Qt worker libraries is reported as neither failed nor finished.
"""

from __future__ import annotations

import errno

__all__ = [
    "AnnotationError",
    "CellSegError",
    "CheckpointError",
    "ConfigError",
    "EngineError",
    "ExportError",
    "ImageReadError",
    "TrainingError",
    "is_out_of_memory",
]


class CellSegError(Exception):
    """Base of all errors that the user can fix; its text is shown without a traceback.

    ``details`` is the text that *Details* shows: the traceback of the engine process, if there is one.
    """

    details: str = ""


class ImageReadError(CellSegError):
    """An image cannot be read."""


class AnnotationError(CellSegError):
    """Label images, COCO files or review data are invalid."""


class ConfigError(CellSegError):
    """A setting, a class table or a command line is invalid."""


class CheckpointError(CellSegError):
    """A model file is missing, damaged or does not match."""


class TrainingError(CellSegError):
    """Training cannot start or continue."""


class EngineError(CellSegError):
    """The engine process or a worker died or raised an unexpected error."""


class ExportError(CellSegError):
    """A result cannot be written."""


_MEMORY_TEXTS = (
    "CUDA out of memory",
    "not enough memory",
    "can't allocate memory",
    "could not create a primitive",  # of oneDNN, for a convolution on the CPU
    "could not create a memory",  # of oneDNN
    "Cannot allocate memory",  # the system's own message
    "std::bad_alloc",
    "can't start new thread",  # no memory for its stack
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, torch or the system ran out of memory; on a CPU only torch's error text tells."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)
