"""The cards of the shipped models: the command of each trains what it describes, and stands in the measured accuracies."""

import json
import shlex
from pathlib import Path

import pytest

import train
from models.card import read_card
from training.config import make_config

ROOT = Path(__file__).parents[2]
CARDS = sorted(ROOT.glob("saved_models/*/card.json"))


def test_models_ship():
    assert len(CARDS) >= 8


@pytest.mark.parametrize("path", CARDS, ids=[path.parent.name for path in CARDS])
def test_the_command_of_a_card_trains_what_it_describes(path):
    card = read_card(path)
    program, script, *arguments = shlex.split(card.command)
    assert (program, script) == ("python", "train.py")
    options = train.parse_arguments(arguments)
    assert options.output is None and options.resume is None
    names = ("model", "recipe", "epochs", "augment", "views", "seed", "precision")
    config = make_config(**{name: getattr(options, name) for name in names})
    assert (config.model, config.recipe, config.seed) == (card.name, card.recipe, card.seed)
    runs = json.loads((ROOT / "results" / "accuracy.json").read_text())["runs"]
    (row,) = (run for run in runs if run["command"] == card.command and run["hardware"] == card.hardware)
    assert (row["accuracy"], row["parameters"]) == (card.test_accuracy, card.parameters)
