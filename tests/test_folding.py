from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn

from napari_cellseg.model.network.folding import fold_batch_norms


def lively(body: nn.Module) -> nn.Module:
    """Give the batch norms statistics that change the output."""
    torch.manual_seed(1)
    for module in body.modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr, operator]
    return body.eval()


def norms(body: nn.Module) -> int:
    return sum(hasattr(module, "running_var") for module in body.modules())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "densenet121"])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_folded_network_computes_the_same_with_fewer_layers(name: str, frozen: bool) -> None:
    body = timm.create_model(name, features_only=True, pretrained=False)
    body = lively(freeze_batch_norm_2d(body) if frozen else body)
    weights = {key: value.clone() for key, value in body.state_dict().items()}
    folded = fold_batch_norms(body)
    assert norms(folded) < norms(body) * (0.6 if name == "densenet121" else 0.1)
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        for before, after in zip(body(image), folded(image), strict=True):
            assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
    for key, value in body.state_dict().items():
        assert torch.equal(value, weights[key])  # the original is as it was


class Shared(nn.Module):
    """One convolution for two norms: neither can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm1 = nn.BatchNorm2d(4)
        self.norm2 = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return self.norm1(y) + self.norm2(y).relu()  # type: ignore[no-any-return]


class Skipped(nn.Module):
    """The convolution's output is used next to its norm too, which only the comparison can notice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return self.norm(y) + y  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [Shared, Skipped])
def test_a_network_that_cannot_be_folded_stays_as_it_is(kind: type[nn.Module]) -> None:
    body = lively(kind())
    assert fold_batch_norms(body) is body
