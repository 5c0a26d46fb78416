"""Memory and time of the chunked loader when the data set grows tenfold, compared with two plain ways.

    python benchmarks/loader_memory.py [--images 80] [--size 256] [--budget 16]

The plain ways are a list of all decoded samples, and torch's DataLoader with two worker processes. The data is a few
drawn tissues, hard-linked under many names. Each loader reads one epoch in a separate process; the result is the peak
memory of the process above its initial level, and of its workers what they do not share. The time of the chunked loader
is that of a second epoch: in the first it pauses, so that the reader gets as far ahead as it may. The smaller data set
must already have several chunks, because the heap needs a few to reach its plateau, which must not grow.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
from torch.utils.data import DataLoader, Dataset

from napari_cellseg.images.samples import write_training_folder
from training.chunks import ChunkedLoader
from training.dataset import Sample, TrainingImage, find_samples, read_sample

DRAWN = 4


def multiply(drawn: Path, folder: Path, images: int) -> None:
    sources = sorted((drawn / "train").iterdir())
    for number in range(images):
        target = folder / f"i{number:05d}"
        target.mkdir(parents=True)
        for file in sources[number % len(sources)].iterdir():
            os.link(file, target / file.name)


def chunked(folder: Path, budget: int, *, slow: bool = True) -> Iterator[int]:
    samples = find_samples(folder).samples
    size = max(read_sample(sample).nbytes for sample in samples[:DRAWN])
    last_read = [time.monotonic()]

    def read(sample: Sample) -> TrainingImage:
        image = read_sample(sample)
        last_read[0] = time.monotonic()
        return image

    loader = ChunkedLoader(samples, read, lambda image, *_: image, chunks=1, budget_mib=budget, size=lambda _: size)
    chunk = -1
    for item in loader:
        if (
            slow and item.chunk != chunk
        ):  # the worst case: training is so slow that the reader gets as far ahead as it may
            chunk = item.chunk
            while time.monotonic() - last_read[0] < 0.5:
                time.sleep(0.05)
        yield item.data.cell_count


def all_in_memory(folder: Path, _: int) -> Iterator[int]:
    for image in [read_sample(sample) for sample in find_samples(folder).samples]:
        yield image.cell_count


def with_workers(folder: Path, _: int) -> Iterator[int]:
    for image in DataLoader(OneByOne(find_samples(folder).samples), batch_size=None, shuffle=True, num_workers=2):
        yield image.cell_count


class OneByOne(Dataset[TrainingImage]):
    """The samples, read when they are asked for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> TrainingImage:
        return read_sample(self.samples[number])


WAYS = {"chunked": chunked, "all in memory": all_in_memory, "DataLoader, 2 workers": with_workers}


class WorkersWatch(threading.Thread):
    """Notes the most memory that the children of this process have together and do not share."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_mib, self.done = 0.0, threading.Event()

    def run(self) -> None:
        """Look until it is done."""
        while not self.done.wait(0.05):
            with suppress(psutil.Error):
                children = psutil.Process().children()
                self.most_mib = max(self.most_mib, sum(child.memory_full_info().uss for child in children) / 2**20)


def memory_mib(name: str) -> float:
    """Return "VmRSS" or "VmHWM" (its peak) of this process, MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def measure(name: str, folder: Path, budget: int) -> tuple[float, int, float]:
    read_sample(find_samples(folder).samples[0])  # imports and look-up tables
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = memory_mib("VmRSS")
    watch = WorkersWatch()
    watch.start()
    begin = time.perf_counter()
    cells = sum(WAYS[name](folder, budget))
    seconds = time.perf_counter() - begin
    watch.done.set()
    peak = memory_mib("VmHWM") - before + watch.most_mib
    if name == "chunked":
        begin = time.perf_counter()
        sum(chunked(folder, budget, slow=False))
        seconds = time.perf_counter() - begin
    return peak, cells, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--budget", type=int, default=16, help="MiB for two chunks")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as root:
        write_training_folder(Path(root) / "drawn", DRAWN, (options.size, options.size))
        counts = (options.images, 10 * options.images)
        for images in counts:
            multiply(Path(root) / "drawn", Path(root) / str(images), images)
        print(
            f"peak memory of one epoch, budget {options.budget} MiB\n"
            f"{'':24}{'images':>8}{'cells':>10}{'MiB':>8}{'growth':>9}{'s':>8}"
        )
        for name in WAYS:
            first = None
            for images in counts:
                with ProcessPoolExecutor(1, mp_context=spawn) as process:
                    peak, cells, seconds = process.submit(
                        measure, name, Path(root) / str(images), options.budget
                    ).result()
                growth = "" if first is None else f"{peak / first - 1:.0%}"
                first = first or peak
                print(f"{name:24}{images:8d}{cells:10,d}{peak:8.0f} {growth:>8}{seconds:8.1f}")


if __name__ == "__main__":
    main()
