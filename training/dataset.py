"""Training data on disk: find the samples, and decode one into pixels and compact label images.

Training data is a folder with ``train/<id>/`` or ``<id>/`` folders, each with ``image.tif`` and ``class1.tif`` ...
``classK.tif`` (an absent file means no cell of that class), and ``classes.json`` with the class names; or annotations
that `napari_cellseg.importers` reads (a COCO file, for example), with their images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError, ImageReadError
from napari_cellseg.formats.class_names import read_class_names
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.ids import short_names
from napari_cellseg.formats.label_images import class_files, read_label_image
from napari_cellseg.formats.layers import layers_of
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.listing import Listing, Skipped, find_images, has_own_folder, list_images, natural_key
from napari_cellseg.images.read import ReadOptions
from napari_cellseg.importers import Imported, ImportOptions, import_annotations, is_recognised
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.region import Region
from training.exact_cells import exact_cells
from training.region import in_region, region_of

__all__ = ["DataSource", "Sample", "TrainingImage", "find_samples", "label_images_of", "read_sample", "training_image"]

LabelImage = npt.NDArray[Any]

_LAYOUT = "Each image needs a folder of its own with image.tif and class1.tif, class2.tif, ..."


@dataclass(frozen=True)
class Sample:
    """Where one training image and its cells are stored; picklable, nothing decoded.

    Attributes
    ----------
    image_id : str
        Unique in the data set.
    image : Path
        The image file; its class files are in the same folder.
    cells : InstanceMasks, optional
        The cells themselves, when they come from a file of annotations or overlap others of their class.
    reading : ReadOptions
        How to read the image.
    region : tuple of (y, x)
        The part that is annotated, px; empty for the whole image.
    """

    image_id: str
    image: Path
    cells: InstanceMasks | None = field(default=None, compare=False, repr=False)
    reading: ReadOptions = field(default_factory=ReadOptions)
    region: Region = ()


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """The samples of a folder or a file of annotations, in natural order, and their classes.

    ``remarks`` are sentences about annotations that were left out and other oddities. ``left_out`` are those about the
    annotations or images that were left out. ``listing`` names the files of a
    training folder that look like an image or a mask and are not used; None for other data.
    """

    path: Path
    samples: tuple[Sample, ...]
    classes: ClassTable
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    listing: Listing | None = None

    @property
    def regions(self) -> dict[str, Region]:
        """The regions of interest of the images that have one, by image_id."""
        return {sample.image_id: sample.region for sample in self.samples if sample.region}

    def lines(self) -> list[str]:
        """Return the remarks, and the files of a training folder that are not used, in one line per reason."""
        return [*self.remarks, *(self.listing.skipped_lines() if self.listing is not None else ())]


@dataclass(frozen=True, eq=False)
class OverlapLayer:
    """Cells that overlap others of their class and therefore need another label image.

    ``label_image``, ``areas`` and ``centres`` are as in `TrainingImage`.
    """

    class_id: int
    label_image: LabelImage
    areas: npt.NDArray[np.int64]
    centres: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingImage:
    """One decoded training image as the loader keeps it in memory.

    Attributes
    ----------
    image_id : str
    rgb : (H, W, 3) uint8
    class_maps : dict of (H, W) uint16 or int32
        Label image of each class that has cells, by class_id; cells are numbered 1..n without gaps. A class without
        cells takes no memory.
    areas : dict of (n + 1,) int64
        Pixels of each cell, by class_id and cell number; ``[0]`` is 0.
    centres : dict of (n, 2) float64
        Mean y, x of each cell, px; cell number ``i`` is row ``i - 1``.
    overlaps : tuple of OverlapLayer
        Cells that share pixels with others of their class; almost always none.
    """

    image_id: str
    rgb: npt.NDArray[np.uint8]
    class_maps: Mapping[int, LabelImage]
    areas: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    centres: Mapping[int, npt.NDArray[np.float64]] = field(default_factory=dict)
    overlaps: tuple[OverlapLayer, ...] = ()

    @classmethod
    def from_label_images(
        cls, image_id: str, rgb: npt.NDArray[np.uint8], label_images: Iterable[tuple[int, LabelImage]]
    ) -> TrainingImage:
        """Build from pairs of class_id and integer label image; further label images of a class hold overlaps."""
        class_maps, areas, centres = {}, {}, {}
        overlaps: list[OverlapLayer] = []
        for class_id, label_image in label_images:
            if (compact := _compact(label_image)) is None:
                continue
            if class_id in class_maps:
                overlaps.append(OverlapLayer(class_id, *compact))
            else:
                class_maps[class_id], areas[class_id], centres[class_id] = compact
        return cls(
            image_id=image_id, rgb=rgb, class_maps=class_maps, areas=areas, centres=centres, overlaps=tuple(overlaps)
        )

    @property
    def label_images(self) -> list[tuple[int, LabelImage]]:
        """Pairs of class_id and label image: one of each class, then those of overlapping cells."""
        return [*self.class_maps.items(), *((layer.class_id, layer.label_image) for layer in self.overlaps)]

    def count(self, class_id: int) -> int:
        """Return the number of cells of a class."""
        more = sum(len(layer.centres) for layer in self.overlaps if layer.class_id == class_id)
        return len(self.centres.get(class_id, ())) + more

    @cached_property
    def cell_count(self) -> int:
        """Cells of all classes."""
        return sum(self.count(class_id) for class_id in self.centres)

    @cached_property
    def places(self) -> dict[int, list[tuple[slice, slice]]]:
        """The rows and columns of each cell, by class_id; cell number ``i`` is item ``i - 1``."""
        return {class_id: ndimage.find_objects(label_image) for class_id, label_image in self.class_maps.items()}

    @property
    def nbytes(self) -> int:
        """Memory of the pixels and label images, bytes."""
        return self.rgb.nbytes + sum(label_image.nbytes for _, label_image in self.label_images)


def _compact(
    label_image: LabelImage,
) -> tuple[LabelImage, npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    """Renumber the cells 1..n; return label image, areas and centres as in `TrainingImage`, or None without a cell."""
    places = np.flatnonzero(label_image)
    if not len(places):
        return None
    values = label_image.reshape(-1)[places]
    if values.max() < 2**22:  # a table of that size is faster than sorting
        numbers = np.cumsum(np.bincount(values) > 0, dtype=np.intp)[values]
    else:
        numbers = np.unique(values, return_inverse=True)[1] + 1
    count = int(numbers.max())
    compact = np.zeros(label_image.shape, np.uint16 if count < 2**16 else np.int32)
    compact.reshape(-1)[places] = numbers
    areas = np.bincount(numbers, minlength=count + 1)
    sums = [np.bincount(numbers, weights=axis)[1:] for axis in np.divmod(places, label_image.shape[1])]
    return compact, areas, np.stack(sums, 1) / areas[1:, None]


def find_samples(
    data: Path,
    classes: ClassTable | None = None,
    reading: ReadOptions | None = None,
    images: Path | None = None,
) -> DataSource:
    """List the samples of a data folder or a COCO file.

    Parameters
    ----------
    data : Path
    classes : ClassTable, optional
        Names of class1.tif, class2.tif, ...; when left out, those of ``classes.json``, or else numbers.
    reading : ReadOptions, optional
        How to read the images.
    images : Path, optional
        Where the images of a file of annotations are, when they are not next to it.

    Raises
    ------
    AnnotationError
        The data does not exist or has no image.
    ConfigError
        ``classes.json`` is not a class table, the given classes contradict those of the data (more are allowed), or
        ``images`` is given with a folder that holds its images.
    """
    data = Path(data)
    is_foreign = _is_foreign(data)
    if images is not None and not is_foreign:
        raise ConfigError(f"{data} holds its images itself; leave out where the images are ({images}).")
    source = _imported_samples(data, classes, images) if is_foreign else _folder_samples(data, classes)
    if reading is None:
        return source
    return replace(source, samples=tuple(replace(sample, reading=reading) for sample in source.samples))


def _folder_samples(data: Path, classes: ClassTable | None) -> DataSource:
    if not data.is_dir():
        raise AnnotationError(f"There is no data folder {data}.")
    root = data / "train" if (data / "train").is_dir() else data
    try:
        listing = find_images(root)
    except ImageReadError as error:
        raise AnnotationError(f"{root} holds no training image: {error} {_LAYOUT}") from error
    used = [file for file in listing.images if has_own_folder(file.path)]
    if not used:
        raise AnnotationError(f"{root} holds no training image. {_LAYOUT}")
    cells, remarks = exact_cells(root, [file.path for file in used])
    places = {data: "" if root == data else "train/", root: ""}  # the folders that may be the project
    samples = tuple(
        Sample(
            file.image_id,
            file.path,
            cells.get(file.path),
            region=region_of(file.path, {folder: f"{before}{file.image_id}" for folder, before in places.items()}),
        )
        for file in used
    )
    unused = [Skipped(f.path, "without a folder of its own") for f in listing.images if not has_own_folder(f.path)]
    skipped = replace(listing, skipped=(*listing.skipped, *unused))
    named = _named_classes(data)
    if classes is not None and named is not None and classes.names[: len(named)] != named.names:
        raise ConfigError(
            f"{data} has the classes {', '.join(named.names)}; the settings say {', '.join(classes.names)}. Their "
            "order is that of class1.tif, class2.tif, ...: correct the settings, or classes.json."
        )
    return DataSource(
        path=data,
        samples=samples,
        classes=classes or named or _numbered_classes(samples),
        remarks=remarks,
        left_out=tuple(replace(listing, skipped=tuple(unused)).skipped_lines()),
        listing=skipped,
    )


def _is_foreign(data: Path) -> bool:
    """Return whether the data is an annotation file, or a folder with annotations that is not a training folder."""
    if not data.is_dir():
        return data.is_file()
    root = data / "train" if (data / "train").is_dir() else data
    try:
        is_training_folder = any(has_own_folder(file.path) for file in list_images(root))
    except ImageReadError:
        is_training_folder = False
    return not is_training_folder and is_recognised(data)


def _imported_samples(path: Path, classes: ClassTable | None, images: Path | None) -> DataSource:
    result = import_annotations(path, ImportOptions(images=images))
    if classes is not None and classes.names != result.classes.names:
        if not set(result.classes.names) <= set(classes.names):
            raise ConfigError(
                f"{path} has the classes {', '.join(result.classes.names)}; the settings say "
                f"{', '.join(classes.names)}. Correct the settings, or rename classes with `napari-cellseg import`."
            )
        result = import_annotations(path, ImportOptions(images=images, classes=classes.names))
    samples = _samples_of(result)
    samples.sort(key=lambda sample: natural_key(sample.image_id))
    left_out = [f"{count:,} of {result.rows:,} annotations left out: {reason}." for reason, count in result.reasons()]
    return DataSource(
        path=path,
        samples=tuple(samples),
        classes=classes or result.classes,
        remarks=(*left_out, *result.notes),
        left_out=tuple(left_out),
    )


def _samples_of(result: Imported) -> list[Sample]:
    if not result.images:
        reasons = "; ".join(dict.fromkeys([*(item.reason for item in result.left_out), *result.notes]))
        raise AnnotationError(f"{result.source} lists no image that can be used. {reasons}".rstrip())
    numbered = enumerate(result.images, start=1)
    names = short_names([ImageId(image.name, n, *image.size) for n, image in numbered])
    samples = []
    for name, image in zip(names, result.images, strict=True):
        if image.path is None:
            raise AnnotationError(
                f"{result.source} holds its images as arrays. Run `napari-cellseg import` and use the folder it writes."
            )
        samples.append(Sample(name, image.path, image.cells))
    return samples


def _named_classes(data: Path) -> ClassTable | None:
    folders = [data, data.parent] if data.name == "train" else [data]
    for file in (folder / "classes.json" for folder in folders):
        if file.is_file():
            return read_class_names(file, ConfigError)
    return None


def _numbered_classes(samples: tuple[Sample, ...]) -> ClassTable:
    highest = max((max(class_files(sample.image.parent), default=0) for sample in samples), default=0)
    return ClassTable.numbered(max(1, highest))


def label_images_of(
    sample: Sample, image_size: tuple[int, int], remarks: list[str] | None = None
) -> Iterator[tuple[int, LabelImage]]:
    """Yield class_id and label image (H, W) of each class in turn, so that only one unprocessed one is in memory.

    Overlapping cells of a class (which a COCO file allows) are split over several label images of the class. Oddities
    of the files are added to ``remarks``.

    Raises
    ------
    AnnotationError
        A file is wrong; raised when its turn comes.
    """
    if sample.cells is None:
        for class_id, path in class_files(sample.image.parent).items():
            yield class_id, read_label_image(path, image_size, remarks)
    else:
        if sample.cells.image_size != tuple(image_size):
            raise AnnotationError(
                f"{sample.image} has {image_size[0]} x {image_size[1]} px, but its cells were drawn on "
                f"{sample.cells.image_size[0]} x {sample.cells.image_size[1]} px."
            )
        for class_id in sorted(set(sample.cells.class_ids.tolist())):
            for layer in layers_of(sample.cells.select(sample.cells.class_ids == class_id)):
                yield class_id, layer


def read_sample(sample: Sample) -> TrainingImage:
    """Decode one sample.

    Raises
    ------
    ImageReadError
        The image cannot be read.
    AnnotationError
        The label images are wrong.
    """
    rgb = read_image(sample.image, options=sample.reading).rgb()
    return training_image(sample, rgb, label_images_of(sample, (rgb.shape[0], rgb.shape[1])))


def training_image(
    sample: Sample, rgb: npt.NDArray[np.uint8], label_images: Iterable[tuple[int, LabelImage]]
) -> TrainingImage:
    """Build the image of a sample, cut to its region of interest.

    Raises
    ------
    AnnotationError
        The region lies outside the image.
    """
    return TrainingImage.from_label_images(sample.image_id, *in_region(rgb, label_images, sample.region, sample.image))
