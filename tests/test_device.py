"""The device: chosen with a reason, or refused with one clear message."""

from __future__ import annotations

import pytest
import torch

from napari_cellseg.errors import ConfigError
from napari_cellseg.model.device import Device, autocast, bf16_pays, choose_device, choose_precision


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_accelerator")
def test_auto_falls_back_to_the_cpu_and_says_why():
    device = choose_device("auto")
    assert device.name == device.kind == "cpu"
    assert device.reason.startswith("auto: CPU, ")


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "gpu", "cuda:x", ""])
def test_what_is_not_there_is_one_message(name):
    with pytest.raises(ConfigError, match="device"):
        choose_device(name)


def test_auto_prefers_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("napari_cellseg.model.device._cuda_name", lambda index: f"GPU {index}, 16 GiB")
    assert choose_device("auto") == Device("cuda:0", "auto: GPU 0, 16 GiB")
    assert choose_device("cuda:1").reason == "GPU 1, 16 GiB, as asked"
    with pytest.raises(ConfigError, match="it has 2, numbered from 0"):
        choose_device("cuda:2")


@pytest.mark.parametrize("pays", [True, False])
def test_auto_is_half_precision_where_it_pays(monkeypatch, pays):
    cpu, gpu = Device("cpu", ""), Device("cuda:0", "")
    monkeypatch.setattr("napari_cellseg.model.device.bf16_pays", lambda: pays)
    assert choose_precision(cpu) == ("bf16" if pays else "fp32")
    assert choose_precision(Device("mps", "")) == "fp32"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert choose_precision(gpu) == "fp16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert choose_precision(gpu) == "bf16"
    assert choose_precision(gpu, "fp32") == choose_precision(cpu, "fp32") == "fp32"


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [("cpu", "fp16", "does not run on cpu"), ("mps", "bf16", "does not run on mps"), ("cpu", "int4", "no precision"),
     ("cpu", "bf16", "no instructions for bf16")],
)  # fmt: skip
def test_a_precision_that_brings_nothing_is_refused(monkeypatch, device, precision, message):
    monkeypatch.setattr("napari_cellseg.model.device.bf16_pays", lambda: False)
    with pytest.raises(ConfigError, match=message):
        choose_precision(Device(device, ""), precision)


@pytest.mark.parametrize(("avx512", "amx"), [(True, False), (False, True), (False, False)])
def test_bf16_is_chosen_by_the_instructions_of_the_cpu(monkeypatch, avx512, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert bf16_pays.__wrapped__() == (avx512 or amx)


def test_a_torch_that_cannot_tell_means_no_bf16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not bf16_pays.__wrapped__()


def test_autocast_of_full_precision_changes_nothing():
    with autocast(Device("cpu", ""), "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")
