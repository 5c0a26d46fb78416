"""Check all training data before the first step, and list all problems together."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, CellSegError, ImageReadError, TrainingError
from napari_cellseg.events import Progress, drive
from napari_cellseg.formats.label_images import class_files, read_label_image
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.read import ReadOptions
from napari_cellseg.images.statistics import ImageStatistics, PictureFacts, picture_facts, summarise
from napari_cellseg.wording import counted
from training.dataset import DataSource, Sample, TrainingImage, find_samples, label_images_of, training_image

__all__ = ["DataProblem", "DataReport", "ImageFacts", "ScanStep", "scan", "scan_steps"]

TINY_CELL_PX = 10
RARE_CELLS = 20
_TOUCHING = np.ones((3, 3))
_SHOWN = 30


@dataclass(frozen=True)
class DataProblem:
    """One error or oddity; an "error" blocks training. ``image_id`` is empty when it concerns the whole data set."""

    level: Literal["error", "warning"]
    image_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.image_id}: {self.text}" if self.image_id else self.text


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageFacts:
    """The facts of one readable image.

    Attributes
    ----------
    sample : Sample
    size : (int, int)
        Height and width, px.
    digest : str
        Of the pixels; equal for equal images.
    cells : (K,) int64
        Cells of each class.
    sides : (N,) float32
        Root of width times height of each cell's box, px.
    nbytes : int
        Memory when decoded, bytes.
    picture : PictureFacts
        Its colours.
    pixel_size_um : float or None
        As stated in the file.
    """

    sample: Sample
    size: tuple[int, int]
    digest: str
    cells: npt.NDArray[np.int64]
    sides: npt.NDArray[np.float32]
    nbytes: int
    picture: PictureFacts
    pixel_size_um: float | None

    @property
    def image_id(self) -> str:
        """Name of the image."""
        return self.sample.image_id


@dataclass(frozen=True)
class ScanStep(Progress):
    """Image ``image`` (1-based) of ``images`` has been checked."""

    image: int
    images: int
    image_id: str


@dataclass(frozen=True, eq=False)
class DataReport:
    """The numbers and problems of the training data.

    Attributes
    ----------
    path : Path
    classes : ClassTable
    images : tuple of ImageFacts
        The readable images, in natural order.
    problems : tuple of DataProblem
        Errors first.
    """

    path: Path
    classes: ClassTable
    images: tuple[ImageFacts, ...]
    problems: tuple[DataProblem, ...] = field(default=())

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that the loader reads."""
        return tuple(image.sample for image in self.images)

    @property
    def errors(self) -> tuple[DataProblem, ...]:
        """The problems that block training."""
        return tuple(problem for problem in self.problems if problem.level == "error")

    @property
    def warnings(self) -> tuple[DataProblem, ...]:
        """The problems that do not block training."""
        return tuple(problem for problem in self.problems if problem.level == "warning")

    @property
    def cells(self) -> npt.NDArray[np.int64]:
        """Cells of each class, (K,)."""
        return sum((image.cells for image in self.images), np.zeros(len(self.classes), np.int64))

    @property
    def sides(self) -> npt.NDArray[np.float32]:
        """Root of width times height of every cell's box, px, (N,)."""
        return np.concatenate([np.zeros(0, np.float32), *(image.sides for image in self.images)])

    def check(self) -> None:
        """Raise a `TrainingError` that lists every blocking problem, if there is one."""
        if self.errors:
            lines = "\n".join(f"  {problem}" for problem in self.errors)
            count = counted(len(self.errors), "problem")
            raise TrainingError(f"Fix {count} in {self.path} before training:\n{lines}")

    def statistics(self, image_ids: Sequence[str]) -> ImageStatistics:
        """Summarise some of the images, for example the training set, for the model file."""
        images = [image for image in self.images if image.image_id in set(image_ids)]
        sides = [image.sides for image in images]
        return summarise([image.picture for image in images], np.concatenate(sides))

    def summary(self) -> str:
        """Return the report as text: the numbers, then at most 30 problems of each level."""
        counts = ", ".join(f"{name} {n:,}" for name, n in zip(self.classes.names, self.cells.tolist(), strict=True))
        cells = counted(int(self.cells.sum()), "cell")
        lines = [f"{counted(len(self.images), 'image')}, {cells}: {counts}"]
        if len(self.sides):
            small, middle, large = np.percentile(self.sides, [5, 50, 95])
            lines.append(f"cell size: median {middle:.0f} px, from {small:.0f} (5 %) to {large:.0f} px (95 %)")
        without = sum(not image.cells.any() for image in self.images)
        if without:
            lines.append(f"{counted(without, 'image')} without cells, which train the model as background")
        for level, problems in (("error", self.errors), ("warning", self.warnings)):
            lines += [f"{level}: {problem}" for problem in problems[:_SHOWN]]
            if len(problems) > _SHOWN:
                lines.append(f"{level}: and {len(problems) - _SHOWN} more like these")
        return "\n".join(lines)


def scan(data: Path, classes: ClassTable | None = None, reading: ReadOptions | None = None) -> DataReport:
    """Check all images; see `scan_steps`."""
    return drive(scan_steps(data, classes, reading))


def scan_steps(
    data: Path, classes: ClassTable | None = None, reading: ReadOptions | None = None
) -> Generator[ScanStep, None, DataReport]:
    """Check all images, one per event, and return the `DataReport`.

    Parameters
    ----------
    data : Path
        Folder or COCO file.
    classes : ClassTable, optional
        See `training.dataset.find_samples`.
    reading : ReadOptions, optional
        How to read the images.

    Raises
    ------
    AnnotationError, ConfigError
        There is no data, or its classes are unknown. Problems of single images are in the report.
    """
    source = find_samples(data, classes, reading)
    images, problems = [], [DataProblem("warning", "", remark) for remark in source.remarks]
    problems += _stray_folders(source)
    for number, sample in enumerate(source.samples, start=1):
        facts, found = _look_at(sample, len(source.classes))
        problems += found
        if facts is not None:
            images.append(facts)
        yield ScanStep(number, len(source.samples), sample.image_id)
    report = DataReport(source.path, source.classes, tuple(images))
    problems += _of_all(report)
    problems.sort(key=lambda problem: problem.level)  # "error" < "warning"; the sort is stable, so images stay in order
    return DataReport(source.path, source.classes, tuple(images), tuple(problems))


def _stray_folders(source: DataSource) -> Iterator[DataProblem]:
    """Report folders with label images but no image, and every other file that is not used."""
    if source.listing is None:
        return
    with_image = {sample.image.parent for sample in source.samples}
    strays = dict.fromkeys(
        each.path.parent for each in source.listing.skipped if each.path.name.lower().startswith("class")
    )
    for folder in strays:
        if folder not in with_image and folder != source.listing.root:
            yield DataProblem("error", folder.name, f"{folder} has label images but no image.tif.")
    for line in source.listing.skipped_lines():
        yield DataProblem("warning", "", f"{line[0].upper()}{line[1:]}.")


def _look_at(sample: Sample, class_count: int) -> tuple[ImageFacts | None, list[DataProblem]]:
    try:
        file = read_image(sample.image, options=sample.reading)
        rgb = file.rgb()
    except ImageReadError as error:
        return None, [DataProblem("error", sample.image_id, str(error))]
    size = (rgb.shape[0], rgb.shape[1])
    label_images, problems = _read_each(sample, size, class_count)
    try:
        image = training_image(sample, rgb, label_images)
    except AnnotationError as error:
        return None, [DataProblem("error", sample.image_id, str(error))]
    if sample.region:
        height, width = image.rgb.shape[:2]
        text = f"Only the region of interest is used: {width} x {height} of {size[1]} x {size[0]} px."
        problems.append(DataProblem("warning", sample.image_id, text))
        rgb, size = image.rgb, (height, width)
    cells = np.array([image.count(class_id) for class_id in range(1, class_count + 1)], np.int64)
    sides, scattered = _shapes(image)
    problems += _oddities(image, scattered)
    problems += [DataProblem("warning", sample.image_id, f"{text}.") for text in file.warnings()]
    digest = hashlib.blake2b(rgb.tobytes() + repr(size).encode(), digest_size=16).hexdigest()
    facts = picture_facts(rgb)
    return ImageFacts(
        sample=sample,
        size=size,
        digest=digest,
        cells=cells,
        sides=sides,
        nbytes=image.nbytes,
        picture=facts,
        pixel_size_um=file.pixel_size_um,
    ), problems


def _read_each(
    sample: Sample, size: tuple[int, int], class_count: int
) -> tuple[list[tuple[int, npt.NDArray[Any]]], list[DataProblem]]:
    """Read the label images one by one, so that a wrong one does not hide the next."""
    good: list[tuple[int, npt.NDArray[Any]]] = []
    problems: list[DataProblem] = []
    if sample.cells is not None:
        try:
            return list(label_images_of(sample, size)), []
        except AnnotationError as error:
            return [], [DataProblem("error", sample.image_id, str(error))]
    try:
        files = class_files(sample.image.parent)
    except AnnotationError as error:
        return [], [DataProblem("error", sample.image_id, str(error))]
    remarks: list[str] = []
    for class_id, path in files.items():
        try:
            if class_id > class_count:
                raise AnnotationError(f"{path} is of class {class_id}, but there are only {class_count} classes.")
            good.append((class_id, read_label_image(path, size, remarks)))
        except CellSegError as error:
            problems.append(DataProblem("error", sample.image_id, str(error)))
    problems += [DataProblem("warning", sample.image_id, remark) for remark in remarks]
    return good, problems


def _shapes(image: TrainingImage) -> tuple[npt.NDArray[np.float32], int]:
    """Return the box sides of all cells, and how many cells are in several separate parts."""
    sides: list[float] = []
    scattered = 0
    for _, label_image in image.label_images:
        for number, place in enumerate(ndimage.find_objects(label_image), start=1):
            crop = label_image[place] == number
            sides.append(float(crop.size) ** 0.5)
            scattered += ndimage.label(crop, _TOUCHING)[1] > 1
    return np.array(sides, np.float32), scattered


def _oddities(image: TrainingImage, scattered: int) -> Iterator[DataProblem]:
    tiny = sum(int(np.count_nonzero(areas[1:] < TINY_CELL_PX)) for areas in image.areas.values())
    if tiny:
        yield DataProblem("warning", image.image_id, f"{counted(tiny, 'cell')} of fewer than {TINY_CELL_PX} px.")
    if scattered:
        yield DataProblem("warning", image.image_id, f"{counted(scattered, 'cell')} in several separate parts.")
    if len(image.class_maps) > 1:
        shared = np.count_nonzero(sum((m > 0).astype(np.uint8) for m in image.class_maps.values()) > 1)
        if shared:
            yield DataProblem("warning", image.image_id, f"{shared} px belong to cells of two classes.")


def _of_all(report: DataReport) -> Iterator[DataProblem]:
    total = int(report.cells.sum())
    if not total:
        yield DataProblem("error", "", f"There is no cell in {report.path}; add class1.tif, ... to at least one image.")
        return
    if len(report.images) == 1:
        yield DataProblem("warning", "", "There is only one image, so there is none for validation.")
    for class_id, name, _ in report.classes:
        count = int(report.cells[class_id - 1])
        if not count:
            yield DataProblem("warning", "", f"The class {name!r} has no cell; the model will not learn it.")
        elif count < 0.03 * total / len(report.classes):
            yield DataProblem("warning", "", f"The class {name!r} is rare: {count:,} of {counted(total, 'cell')}.")
        elif count < RARE_CELLS:
            yield DataProblem("warning", "", f"The class {name!r} has few cells: {count}.")
    same = defaultdict(list)
    for image in report.images:
        same[image.digest].append(image.image_id)
    for image_ids in same.values():
        if len(image_ids) > 1:
            text = f"Equal to {', '.join(image_ids[1:])}; equal images stay on one side of the split."
            yield DataProblem("warning", image_ids[0], text)
