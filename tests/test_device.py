"""The device: chosen with a reason, or one clear message."""

from __future__ import annotations

import pytest
import torch

from napari_cellseg.errors import ConfigError
from napari_cellseg.model.device import Device, autocast, choose_device, choose_precision


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


def test_half_precision_is_for_cuda(monkeypatch):
    cpu, gpu = Device("cpu", ""), Device("cuda:0", "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert choose_precision(cpu) == "fp32"
    assert choose_precision(gpu) == "fp16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert choose_precision(gpu) == "bf16"
    assert choose_precision(gpu, "fp32") == "fp32"
    for precision, message in (("bf16", "CUDA devices only"), ("int4", "no precision")):
        with pytest.raises(ConfigError, match=message):
            choose_precision(cpu, precision)


def test_autocast_of_full_precision_changes_nothing():
    with autocast(Device("cpu", ""), "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")
