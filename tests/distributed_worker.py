"""Train with the settings of a file; the test of several devices starts it in several processes."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from training.config import TrainConfig
from training.engine import train


def main() -> None:
    """Run ``distributed_worker.py CONFIG DATA RUN [resume]`` to the end."""
    config, data, run, *how = sys.argv[1:]
    torch.set_num_threads(1)
    for _ in train(TrainConfig.load(Path(config)), Path(data), Path(run), resume=bool(how)):
        pass


if __name__ == "__main__":
    main()
