"""The command that calibrates a saved model anew."""

import json
import shutil

import pytest
from tiny import tiny_dataset

from models.saved.card import read_card
from training.evaluation import fit_calibration, predict_probabilities
from training.export import calibrate, folder_command
from training.export.saved_model import load_saved


@pytest.fixture
def dataset(monkeypatch):
    made_up = tiny_dataset(classes=10)
    monkeypatch.setattr(folder_command, "load_cifar10", lambda: made_up)
    return made_up


def test_the_card_gets_what_the_held_back_images_say_and_nothing_else_changes(saved_models, tmp_path, dataset, capsys):
    folder = shutil.copytree(saved_models / "tiny_b", tmp_path / "model")
    labels = [*dataset.class_names[1:], dataset.class_names[0]]  # in another order than the data set's
    before = json.loads((folder / "card.json").read_text()) | {"validation_images": 60, "labels": labels}
    (folder / "card.json").write_text(json.dumps(before))
    assert calibrate.main([str(folder)]) == 0
    card = read_card(folder / "card.json")
    _, held_back = dataset.split(card.seed, 60)
    saved = load_saved(folder)
    probabilities = predict_probabilities(saved.model, dataset.x_train[held_back], saved.image_size)
    order = [card.labels.index(name) for name in dataset.class_names]
    assert card.calibration == fit_calibration(probabilities[:, order], dataset.y_train[held_back])
    assert card.calibration.temperature != before["temperature"]
    changed = {"temperature": card.temperature, "exponent": card.exponent}
    assert json.loads((folder / "card.json").read_text()) == before | changed
    assert f"temperature {card.temperature:.3f}, exponent {card.exponent:.3f}" in capsys.readouterr().out


def test_a_folder_without_a_model_is_told(tmp_path, dataset, capsys):
    assert calibrate.main([str(tmp_path)]) == 1
    assert "calibrate: " in capsys.readouterr().err
