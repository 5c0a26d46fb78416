"""The errors a person can meet.

::

    CellSegError
    ├── ImageReadError    an image cannot be read
    ├── AnnotationError   label images, COCO files or review data are wrong
    ├── ConfigError       a setting, a class table or a command line is wrong
    ├── EngineError       the engine process failed in a way the program does not know, or died
    ├── CheckpointError   a model file is missing, damaged or does not fit
    ├── TrainingError     training cannot start or go on
    └── ExportError       a result cannot be written

Every message says what is wrong, where (path, image, value) and what to do. `CellSegError` is deliberately not a
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
    """Base of all errors that a person can mend; its text is shown without a traceback.

    ``details`` is what *Details* shows on request: the traceback of the engine process, where there is one.
    """

    details: str = ""


class ImageReadError(CellSegError):
    """An image cannot be read."""


class AnnotationError(CellSegError):
    """Label images, COCO files or review data are wrong."""


class ConfigError(CellSegError):
    """A setting, a class table or a command line is wrong."""


class CheckpointError(CellSegError):
    """A model file is missing, damaged or does not fit."""


class TrainingError(CellSegError):
    """Training cannot start or go on."""


class EngineError(CellSegError):
    """The engine process failed in a way the program does not know, or died."""


class ExportError(CellSegError):
    """A result cannot be written."""


_MEMORY_TEXTS = (
    "CUDA out of memory",
    "not enough memory",
    "can't allocate memory",
    "could not create a primitive",  # of oneDNN, for a convolution on the CPU
    "could not create a memory",  # of oneDNN
    "Cannot allocate memory",  # the system's own words
    "std::bad_alloc",
    "can't start new thread",  # no room for its stack
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, torch or the system ran out of memory; on a CPU torch says so only in the text of an error."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)
