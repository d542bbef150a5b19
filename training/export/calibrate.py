"""Recalibrate saved models on their runs' validation images and update their cards.

python -m training.export.calibrate saved_models/*
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from models.saved.calibration import Calibration
from models.saved.card import CARD_FILE, ModelFileError
from training.calibration import fit_calibration
from training.data.cifar10 import load_cifar10
from training.data.dataset import ImageDataset
from training.evaluation import class_order, predict_probabilities
from training.export.saved_model import load_saved, write_json


def calibrate(folder: Path, dataset: ImageDataset) -> Calibration:
    """Fit the calibration of the model in a folder on its validation split, update the card, and return it.

    Raises:
        ModelFileError: there is no model, or no card, which determines the validation split.
        ValueError: the model's classes are not the data set's.
    """
    saved = load_saved(folder)
    if saved.card is None:
        raise ModelFileError(f"{folder} holds no {CARD_FILE}.")
    own, _, validation = saved.split(dataset)
    probabilities = predict_probabilities(saved.model, own.x_train[validation], saved.image_size, progress=True)
    calibration = fit_calibration(probabilities[:, class_order(saved, dataset)], own.y_train[validation])
    card = dataclasses.replace(saved.card, **dataclasses.asdict(calibration))
    write_json(folder / CARD_FILE, card.as_dict())
    return calibration


def for_each_folder(
    program: str, description: str, work: Callable[[Path, ImageDataset], str], arguments: list[str] | None = None
) -> int:
    """Call `work` with each folder on the command line and CIFAR-10, print its result, and return the exit status.

    `program` precedes error messages.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folder of a saved model")
    folders = parser.parse_args(arguments).folders
    try:
        dataset = load_cifar10()
        for folder in folders:
            print(f"{folder}: {work(folder, dataset)}")
    except (OSError, ValueError, RuntimeError) as error:  # ModelFileError and DataUnavailableError among them
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""

    def work(folder: Path, dataset: ImageDataset) -> str:
        calibration = calibrate(folder, dataset)
        return f"temperature {calibration.temperature:.3f}, exponent {calibration.exponent:.3f}"

    return for_each_folder("calibrate", __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main())
