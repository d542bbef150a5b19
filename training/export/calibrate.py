"""Fit the calibration of saved models anew, each on the images that its run held back, and write it into their cards.

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
    """Fit the calibration of the model in a folder on its validation split, let its card say so, and return it.

    Other reports of its run stay as they are.

    Raises:
        ModelFileError: there is no model, or no card that says which images it has not learned from.
        ValueError: it answers other classes than the data set has.
    """
    saved = load_saved(folder)
    if saved.card is None:
        raise ModelFileError(f"{folder} holds no {CARD_FILE}.")
    own, _, held_back = saved.split(dataset)
    probabilities = predict_probabilities(saved.model, own.x_train[held_back], saved.image_size)
    fitted = fit_calibration(probabilities[:, class_order(saved, dataset)], own.y_train[held_back])
    card = dataclasses.replace(saved.card, **dataclasses.asdict(fitted))
    write_json(folder / CARD_FILE, card.as_dict())
    return fitted


def main(arguments: list[str] | None = None) -> int:
    """Calibrate the models, and return the exit status."""

    def work(folder: Path, dataset: ImageDataset) -> str:
        fitted = calibrate(folder, dataset)
        return f"temperature {fitted.temperature:.3f}, exponent {fitted.exponent:.3f}"

    return for_each_folder("calibrate", __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main())
