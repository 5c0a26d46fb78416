"""The number of threads does not change the cells: a worker with one core predicts what a large machine does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from napari_cellseg.events import ImageDone
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict import ModelCache, predict
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.network.any_threads import same_on_any_threads


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_of_one_pixel_is_the_same_on_any_number_of_threads(stride: int) -> None:
    torch.manual_seed(0)
    layer, image = nn.Conv2d(240, 40, 1, stride=stride), torch.randn(1, 240, 64, 64)
    plain = layer(image)
    same_on_any_threads(layer)
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(layer(image))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])
    assert torch.allclose(found[0], plain, atol=1e-4)


@pytest.mark.parametrize(("count", "side"), [(1, 3), (1, 10), (1, 14), (2, 8), (1, 15), (3, 14)])
def test_a_convolution_of_a_small_map_is_the_same_on_any_number_of_threads(count: int, side: int) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(96, 64, 3, padding=1))
    maps = torch.randn(count, 96, side, side).contiguous(memory_format=torch.channels_last)
    _check_same(plain, maps)


@pytest.mark.parametrize("boxes", [1, 16, 300])
def test_a_linear_layer_of_many_inputs_is_the_same_on_any_number_of_threads(boxes: int) -> None:
    torch.manual_seed(0)
    _check_same(nn.Sequential(nn.Linear(4704, 256)), torch.randn(boxes, 4704))


def _check_same(layers: nn.Sequential, given: torch.Tensor) -> None:
    with torch.inference_mode():
        plain, found = layers(given), []
        same_on_any_threads(layers)
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            found.append(layers(given))
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert torch.allclose(found[0], plain, atol=1e-4)


def test_one_thread_predicts_the_cells_of_several_exactly() -> None:
    options = PredictOptions(checkpoint=bundled(), device="cpu", precision="fp32")
    rgb, found, cache = generate_tissue((160, 160), 20, seed=1)[0], [], ModelCache()
    for count in (1, 2):
        torch.set_num_threads(count)
        events = predict([PredictItem("a", rgb)], options, cache=cache)
        found += [event.instances for event in events if isinstance(event, ImageDone)]
    one, two = found
    assert isinstance(one, InstanceMasks)
    assert len(one) > 5
    assert one.equals(two)
