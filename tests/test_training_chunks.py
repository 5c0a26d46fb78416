from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from napari_cellseg.errors import ImageReadError, TrainingError
from training.chunks import ChunkedLoader, Item


def loader(samples=range(23), read=lambda i: 10 * i, **options) -> ChunkedLoader:
    options = {"chunks": 5, "seed": 1, **options}
    return ChunkedLoader(samples, read, lambda data, epoch, repeat: (data, epoch, repeat), **options)


def essence(items) -> list[tuple]:
    return [(item.index, item.chunk, item.repeat, item.data) for item in items]


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("cellseg")]


def wait_until(condition, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_gives_each_sample_once_in_a_new_order(workers: int) -> None:
    chunked = loader(workers=workers)
    first, second = essence(chunked), essence(chunked)
    assert sorted(index for index, *_ in first) == sorted(index for index, *_ in second) == list(range(23))
    assert [index for index, *_ in first] != [index for index, *_ in second]
    assert [chunk for _, chunk, *_ in first] == sorted(chunk for _, chunk, *_ in first)
    assert Counter(chunk for _, chunk, *_ in first) == {0: 5, 1: 5, 2: 5, 3: 4, 4: 4}
    assert {data for *_, data in first} == {(10 * i, 1, 0) for i in range(23)}
    assert chunked.epoch == 3


def test_workers_do_not_change_the_order() -> None:
    assert essence(loader(workers=3, views=2, repeats=2)) == essence(loader(views=2, repeats=2))


def test_another_seed_gives_another_order_and_the_same_seed_the_same() -> None:
    assert essence(loader()) == essence(loader())
    assert essence(loader()) != essence(loader(seed=2))


def test_repeats_play_a_chunk_again_without_reading_it_again() -> None:
    reads = []
    items = essence(loader(read=reads.append, repeats=3))
    assert Counter(reads) == Counter(range(23))
    assert Counter(index for index, *_ in items) == dict.fromkeys(range(23), 3)
    assert Counter((index, repeat) for index, _, repeat, _ in items).most_common(1)[0][1] == 1
    first_chunk = [index for index, chunk, *_ in items if chunk == 0]
    assert sorted(first_chunk[:5]) == sorted(first_chunk[5:10]) == sorted(first_chunk[10:])
    assert first_chunk[:5] != first_chunk[5:10]


def test_views_come_all_over_the_epoch_and_each_has_its_own_number() -> None:
    items = essence(loader(views=4))
    assert Counter((index, repeat) for index, _, repeat, _ in items) == {(i, r): 1 for i in range(23) for r in range(4)}
    assert len({index for index, *_ in items[:23]}) == 23


def test_what_two_chunks_share_is_read_once() -> None:
    reads = []
    list(loader(samples=range(4), read=reads.append, views=10, chunks=10))
    assert len(reads) < 10  # each chunk of four plays shares samples with the last


def test_no_more_than_two_chunks_are_alive() -> None:
    alive, peak = Counter(), []

    class Decoded:
        def __init__(self, _: int) -> None:
            alive["now"] += 1
            peak.append(alive["now"])

        def __del__(self) -> None:
            alive["now"] -= 1

    for workers in (0, 2):
        chunked = ChunkedLoader(range(60), Decoded, lambda *_: None, chunks=10, workers=workers)
        for _ in chunked:
            time.sleep(0.001)
        assert max(peak) <= 12
        assert alive["now"] == 0


def test_a_byte_budget_makes_more_chunks_but_never_an_empty_one() -> None:
    sizes = [10, 20, 100, 10, 10, 200, 10]  # MiB
    chunked = loader(samples=range(7), chunks=1, budget_mib=100, size=lambda i: sizes[i] * 2**20)
    for _ in range(5):
        chunks = {}
        for item in chunked:
            chunks.setdefault(item.chunk, []).append(sizes[item.index])
        assert sorted(chunks) == list(range(item.chunks))
        assert all(sum(chunk) <= 50 or len(chunk) == 1 for chunk in chunks.values())


def test_without_a_tight_budget_the_number_of_chunks_stays() -> None:
    chunked = loader(budget_mib=100, size=lambda _: 2**20)
    assert next(iter(chunked)).chunks == 5


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop_after", [0, 1, 5, 17, 45, 46])
def test_a_resumed_epoch_goes_on_with_the_next_item(stop_after: int, workers: int) -> None:
    options = {"repeats": 2, "workers": workers}
    whole = loader(**options)
    expected = essence(whole) + essence(whole)
    first = loader(**options)
    items = iter(first)
    done = essence(next(items) for _ in range(stop_after))
    state = first.state_dict()
    first.close()
    resumed = loader(**options)
    resumed.load_state_dict(state)
    done += essence(resumed)
    assert resumed.epoch == 2
    assert done + essence(resumed) == expected


def test_resuming_with_other_settings_finishes_the_epoch_as_it_was_planned() -> None:
    first = loader()
    items = iter(first)
    done = essence(next(items) for _ in range(7))
    resumed = loader(chunks=2, seed=9)
    resumed.load_state_dict(first.state_dict())
    assert done + essence(resumed) == essence(loader())


def test_a_resumed_epoch_does_not_read_what_is_done() -> None:
    first = loader()
    items = iter(first)
    done = [next(items).index for _ in range(12)]
    state = first.state_dict()
    first.close()
    reads = []
    resumed = loader(read=reads.append)
    resumed.load_state_dict(state)
    list(resumed)
    assert sorted(reads + done) == list(range(23))


def test_the_state_of_other_data_is_refused() -> None:
    with pytest.raises(TrainingError, match="not the training images that this run"):
        loader(samples=range(24)).load_state_dict(loader().state_dict())


def test_the_state_is_plain_values() -> None:
    def check(value) -> None:
        assert type(value) in (int, str, list), value
        for part in value if type(value) is list else ():
            check(part)

    for value in loader().state_dict().values():
        check(value)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_reader_comes_where_its_sample_would(workers: int) -> None:
    order = [item.index for item in loader()]

    def read(index: int) -> int:
        if index == order[8]:
            raise ImageReadError("broken.tif cannot be read")
        return index

    chunked = loader(read=read, workers=workers)
    items = iter(chunked)
    assert [next(items).index for _ in range(8)] == order[:8]
    with pytest.raises(ImageReadError, match=r"broken\.tif"):
        next(items)
    assert wait_until(lambda: not reader_threads())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 6])
def test_closing_is_quick_leaves_no_thread_and_may_be_repeated(taken: int, workers: int) -> None:
    was_read = []

    def read(index: int) -> int:
        was_read.append(index)
        time.sleep(0.05)
        return index

    chunked = loader(read=read, workers=workers)
    items = iter(chunked)
    for _ in range(taken):
        next(items)
    items.close()
    chunked.close()
    chunked.close()
    assert wait_until(lambda: not reader_threads())
    assert len(was_read) <= 15  # of 23: the chunks that were begun, and the one after them


def test_closing_while_a_read_hangs_returns_at_once() -> None:
    release = threading.Event()
    chunked = loader(read=lambda _: release.wait(20), workers=1)
    ended: list[list[Item]] = []
    consumer = threading.Thread(target=lambda: ended.append(list(chunked)))
    consumer.start()
    assert wait_until(reader_threads)
    started = time.monotonic()
    chunked.close()
    consumer.join(10)
    assert time.monotonic() - started < 5
    assert ended == [[]]
    release.set()
    assert wait_until(lambda: not reader_threads())


def test_a_new_iteration_ends_the_old_one() -> None:
    chunked = loader()
    old = iter(chunked)
    next(old)
    assert len(list(chunked)) == 22
    assert list(old) == []


def test_ranks_share_the_epoch_of_one_process() -> None:
    alone = [item.index for item in loader(repeats=2)]
    ranks = [[item.index for item in loader(repeats=2, rank=rank, world_size=3)] for rank in range(3)]
    together = [index for step in zip(*ranks, strict=True) for index in step]
    assert together[:46] == alone
    assert together[46:] == alone[:2]  # the last round is filled up from the beginning


def test_ranks_go_on_from_the_state_of_one_of_them() -> None:
    alone = [item.index for item in loader()]
    first = loader(rank=1, world_size=2)
    items = iter(first)
    for _ in range(4):
        next(items)
    resumed = loader(rank=0, world_size=2)
    resumed.load_state_dict(first.state_dict())
    assert [item.index for item in resumed] == alone[8::2]


def test_positions_count_up_to_the_length() -> None:
    chunked = loader(rank=1, world_size=2)
    items = list(chunked)
    assert [item.position for item in items] == list(range(1, 13))
    assert {item.length for item in items} == {12} == {len(chunked)}


def test_no_sample_at_all_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no image"):
        loader(samples=[])


def test_one_sample_is_an_epoch() -> None:
    assert len(essence(loader(samples=[7], views=3))) == 3
