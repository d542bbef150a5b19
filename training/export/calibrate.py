"""Calibrate saved models again on their runs' validation images, and update their cards.

python -m training.export.calibrate saved_models/*
"""

import dataclasses
import sys
from pathlib import Path

from models.saved.calibration import Calibration
from models.saved.card import CARD_FILE, ModelFileError
from training.data.dataset import ImageDataset
from training.evaluation import class_order, fit_calibration, predict_probabilities
from training.export.folder_command import for_each_folder
from training.export.saved_model import load_saved, write_json


def calibrate(folder: Path, dataset: ImageDataset) -> Calibration:
    """Fit the calibration of the model in a folder on its validation split, write it into the card, and return it.

    The run's other reports keep the calibration that they were written with.

    Raises:
        ModelFileError: no model, or no card, which names the validation images.
        ValueError: the model's classes are not the data set's.
    """
    saved = load_saved(folder)
    if saved.card is None:
        raise ModelFileError(f"{folder} holds no {CARD_FILE}.")
    own, _, validation = saved.split(dataset)
    probabilities = predict_probabilities(saved.model, own.x_train[validation], saved.image_size)
    calibration = fit_calibration(probabilities[:, class_order(saved, dataset)], own.y_train[validation])
    card = dataclasses.replace(saved.card, **dataclasses.asdict(calibration))
    write_json(folder / CARD_FILE, card.as_dict())
    return calibration


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""

    def work(folder: Path, dataset: ImageDataset) -> str:
        calibration = calibrate(folder, dataset)
        return f"temperature {calibration.temperature:.3f}, exponent {calibration.exponent:.3f}"

    return for_each_folder("calibrate", __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main())
