"""The command that calibrates a saved model again."""

import json
import shutil

from tiny import tiny_dataset

from models.saved.card import read_card
from training.calibration import fit_calibration
from training.evaluation import predict_probabilities
from training.export import calibrate
from training.export.saved_model import load_saved


def test_only_the_cards_calibration_changes(saved_models, tmp_path, monkeypatch, capsys):
    dataset = tiny_dataset(classes=10)
    monkeypatch.setattr(calibrate, "load_cifar10", lambda: dataset)
    folder = shutil.copytree(saved_models / "tiny_b", tmp_path / "model")
    labels = [*dataset.class_names[1:], dataset.class_names[0]]  # in another order than the data set's
    before = json.loads((folder / "card.json").read_text()) | {"validation_images": 60, "labels": labels}
    (folder / "card.json").write_text(json.dumps(before))
    assert calibrate.main([str(folder)]) == 0
    card, saved = read_card(folder / "card.json"), load_saved(folder)
    _, validation = dataset.split(card.seed, 60)
    probabilities = predict_probabilities(saved.model, dataset.x_train[validation], saved.image_size)
    order = [card.labels.index(name) for name in dataset.class_names]
    assert card.calibration == fit_calibration(probabilities[:, order], dataset.y_train[validation])
    assert card.temperature != before["temperature"]
    changed = {"temperature": card.temperature, "exponent": card.exponent}
    assert json.loads((folder / "card.json").read_text()) == before | changed
    assert f"{card.temperature:.3f}" in capsys.readouterr().out


def test_a_folder_without_a_model_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibrate, "load_cifar10", lambda: None)
    assert calibrate.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("calibrate: ")
