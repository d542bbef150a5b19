"""Run or resume a tiny training run in the folder that the command line names; a process to be killed by its test."""

import sys
from pathlib import Path

import tiny

from models.registry import register_model
from training import run
from training.config import TrainingConfig, make_config

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    register_model(tiny.TINY)
    run.load_cifar10 = lambda data_dir: tiny.tiny_dataset(images=600)
    stored = folder / "config.json"
    config = TrainingConfig.load(stored) if stored.exists() else make_config(
        "finetune", "tiny", epochs=4, batch_size=4, weights="none", augment="flip", seed=3
    )  # fmt: skip
    run.Run(config, folder, command="test").complete()
