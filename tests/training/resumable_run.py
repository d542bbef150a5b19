"""Run or resume a tiny training run in the folder that the command line names; a process to be killed by its test."""

import sys
from pathlib import Path

import tiny

from models.registry import register_model
from training import run
from training.config import TrainingConfig, make_config
from training.data.dataset import ImageDataset


def run_in(folder: Path) -> None:
    """Run in an empty folder, or go on where the run in it was."""
    stored = folder / "config.json"
    config = (
        TrainingConfig.load(stored)
        if stored.exists()
        else make_config("finetune", "tiny", epochs=4, batch_size=8, weights="none", augment="flip", seed=3)
    )
    run.Run(config, folder, command="test").complete()


def load_data(data_dir: Path | None) -> ImageDataset:
    return tiny.tiny_dataset(images=600)


if __name__ == "__main__":
    register_model(**vars(tiny.TINY))
    run.load_cifar10 = load_data
    run_in(Path(sys.argv[1]))
