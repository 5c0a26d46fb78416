"""`read_image`, `load_model` and `Model`: from a file or an array to `Cells`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from napari_cellseg.api.cells import Cells
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CellSegError, ImageReadError
from napari_cellseg.images.formats import read_image as read_file
from napari_cellseg.images.image import Image
from napari_cellseg.images.listing import has_own_folder
from napari_cellseg.images.options import ReadOptions

if TYPE_CHECKING:
    from napari_cellseg.events import PredictEvent

__all__ = ["Model", "load_model", "read_image"]

logger = logging.getLogger(__name__)

_DIMENSIONS = {2: "YX", 3: "YXS"}


def read_image(
    path: str | Path,
    *,
    limits: Literal["auto", "dtype"] | tuple[float, float] | None = None,
    plane: int | Literal["max", "mean"] | None = None,
    channels: Sequence[int] | None = None,
    level: int | None = None,
) -> Image:
    """Read an image of any supported format; what is left out is chosen as for the training of the model.

    Parameters
    ----------
    path : str or Path
        TIFF, PNG, JPEG, a slide, OME-Zarr, ...
    limits : "auto", "dtype" or (float, float), optional
        Values that become black and white.
    plane : int, "max" or "mean", optional
        Plane of a stack, counted from 0, or a projection.
    channels : sequence of int, optional
        One channel to read as grey, or three as red, green and blue, counted from 0.
    level : int, optional
        Resolution level of a slide, 0 is the finest; if left out, the finest that fits.

    Returns
    -------
    Image
        ``size`` is (height, width) in px; ``rgb()`` is (H, W, 3) uint8; ``pixel_size_um`` is None if unknown.

    Raises
    ------
    ImageReadError
        The file does not exist, is damaged or too large, or has no such plane or channel.
    ConfigError
        An option has an invalid value.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> image = cs.read_image("samples/test/tissue_03.tif")
    >>> image.rgb().shape == (*image.size, 3), image.rgb().dtype
    (True, dtype('uint8'))
    """
    from napari_cellseg.model.settings import config_error

    given = {"limits": limits, "plane": plane, "channels": channels, "level": level}
    try:
        options = ReadOptions.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise config_error(error, "The image options") from error
    return read_file(path, options=options)


def load_model(
    model: str | Path = "lite-consep",
    *,
    device: str = "auto",
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto",
    runtime: Literal["torch", "openvino"] = "torch",
) -> Model:
    """Load a model.

    Parameters
    ----------
    model : str or Path
        A model file, or the name of a model of the library: "nuclei" is the bundled model for fluorescence and other
        stains; the bundled one for H&E if left out.
    device : str
        auto, cpu, cuda, cuda:N or mps.
    precision : str
        auto: half precision where it is faster.
    runtime : str
        openvino compiles the backbone for a CPU: faster by a third, after 3 s more to load.

    Raises
    ------
    CheckpointError
        There is no such model, or the file is damaged.
    ConfigError
        The device, precision or runtime is not available.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> cs.load_model("lite-consep", device="cpu").classes.names
    ('other', 'inflammatory', 'epithelial', 'spindle-shaped')
    """
    from napari_cellseg.model.library import ModelLibrary

    return Model(ModelLibrary().find(str(model)), device=device, precision=precision, runtime=runtime)


class Model:
    """A loaded model; made by `load_model`.

    Attributes
    ----------
    path : Path
        Its file.
    name : str
    classes : ClassTable
        Names and colours of class_id 1..K.
    min_scores : dict of int to float
        The best minimum score of each class_id on the model's validation images; empty if the file has none.
    pixel_size_um : float or None
        Pixel size of the training images.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> model = cs.load_model()
    >>> model.name, model.pixel_size_um
    ('lite (CoNSeP)', 0.25)
    """

    def __init__(self, path: Path, *, device: str = "auto", precision: str = "auto", runtime: str = "torch") -> None:
        from napari_cellseg.model.config import PredictOptions
        from napari_cellseg.model.device import choose_device
        from napari_cellseg.model.inference.predict import ModelCache

        self._settings = PredictOptions.parse(
            {"checkpoint": path, "device": device, "precision": precision, "runtime": runtime}
        )
        self._cache = ModelCache()
        _, self._header = self._cache.get(path, choose_device(device), runtime)
        self.path = path
        self.name = self._header.name or path.stem
        self.classes: ClassTable = self._header.classes
        self.min_scores = dict(enumerate(self._header.thresholds or (), start=1))
        self.pixel_size_um = self._header.config.pixel_size_um

    def __repr__(self) -> str:
        return f"<{self.name}: {', '.join(self.classes.names)}>"

    def predict(
        self,
        image: Image | str | Path | npt.NDArray[Any],
        *,
        pixel_size_um: float | None = None,
        min_score: float | None = None,
        scale: float | None = None,
        image_id: str | None = None,
        progress: Callable[[PredictEvent], object] | None = None,
        **options: Any,
    ) -> Cells:
        """Segment the cells of one image.

        Parameters
        ----------
        image : Image, str, Path, or array (H, W), (H, W, 3) or (H, W, 4)
            From `read_image`, a file, or pixels of any type; pixels are converted as those of a file are.
        pixel_size_um : float, optional
            Side of a pixel, um, if the file does not state it.
        min_score : float, optional
            One minimum score for all classes, 0..1; if left out, the model's best for each class.
        scale : float, optional
            Network px per image px; if left out, from the model and the pixel size.
        image_id : str, optional
            Name in tables and results; if left out, that of the file, or "image".
        progress : callable, optional
            Called with each event of `napari_cellseg.events`, at least once per tile.
        **options
            Any other field of `napari_cellseg.model.config.PredictOptions`: ``tile``, ``overlap``, ``batch``, ``nms``,
            ``test_time_augmentation``.

        Returns
        -------
        Cells

        Raises
        ------
        ImageReadError
            The file cannot be read, or the array is not an image.
        ConfigError
            An option is unknown, out of range, or has no effect.
        CellSegError
            The memory is too small.

        Examples
        --------
        >>> import napari_cellseg as cs
        >>> import numpy as np
        >>> model = cs.load_model()
        >>> bool(model.predict("samples/test/tissue_03.tif", min_score=0.5).detections.scores.min() >= 0.5)
        True
        >>> len(model.predict(np.full((64, 64, 3), 255, np.uint8)))
        0
        """
        from napari_cellseg.events import ImageDone, ImageFailed, Message, drive
        from napari_cellseg.model.config import PredictOptions
        from napari_cellseg.model.inference.predict import PredictItem, predict
        from napari_cellseg.model.suitability import check_pixel_size

        changes = {"min_score": min_score, "scale": scale, **options}
        settings = PredictOptions.parse({**self._settings.model_dump(), **changes})
        if pixel_size_um is not None:
            check_pixel_size(pixel_size_um, scale, self.pixel_size_um, self.name)
        pixels, name = self._pixels(image)
        size = pixel_size_um or pixels.pixel_size_um
        done: list[ImageDone] = []
        warnings = pixels.warnings()

        def follow(event: PredictEvent) -> None:
            if progress is not None:
                progress(event)
            if isinstance(event, ImageDone):
                done.append(event)
            elif isinstance(event, ImageFailed):
                raise CellSegError(f"{event.image_id}: {event.message}")
            elif isinstance(event, Message) and event.level == "warning":
                warnings.append(event.text)

        drive(predict([PredictItem(image_id or name, pixels.rgb(), size)], settings, cache=self._cache), follow)
        for text in warnings:
            logger.warning(text)
        return Cells(
            image=pixels,
            image_id=image_id or name,
            classes=self.classes,
            detections=done[0].instances,
            min_scores=self.min_scores if min_score is None else {},
            pixel_size_um=size,
            warnings=tuple(warnings),
        )

    def _pixels(self, image: Image | str | Path | npt.NDArray[Any]) -> tuple[Image, str]:
        """Return the image, read as those of the model's training where the user chose nothing, and its name."""
        if isinstance(image, str | Path):
            image = read_file(image, options=self._header.config.reading)
        elif isinstance(image, Image):
            chosen = image.options.model_dump(exclude_unset=True)
            image = image.with_options(ReadOptions(**{**self._header.config.reading.model_dump(), **chosen}))
        else:
            image = _of_array(np.asarray(image), self._header.config.reading)
        path = image.path
        return image, (path.absolute().parent.name if has_own_folder(path) else path.stem) or "image"


def _of_array(pixels: npt.NDArray[Any], reading: ReadOptions) -> Image:
    is_colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4)
    if not (pixels.ndim == 2 or is_colour) or not pixels.size or pixels.dtype.kind not in "uifb":
        raise ImageReadError(
            f"An array of shape {pixels.shape} and type {pixels.dtype} is not an image; its shape must be "
            "(height, width), (height, width, 3) or (height, width, 4), and its values numbers."
        )
    return Image(pixels=pixels, axes=_DIMENSIONS[pixels.ndim], pixel_size_um=None, path=Path(), options=reading)
