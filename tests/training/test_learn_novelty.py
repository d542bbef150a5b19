"""The file that tells images of another kind: learned beside a run, and added to a model that has none."""

import json
import shutil

import numpy as np
import pytest
from tiny import tiny_dataset

from models.card import read_card
from models.novelty import read_novelty
from models.onnx_model import OnnxModel
from training import folder_command, novelty
from training.novelty import add_novelty, learn_novelty, pooled_features
from training.pipeline import resize


def cloud(n: int, seed: int, turned: bool = False) -> np.ndarray:
    """Return features that vary in the first two directions, half of them far to either side; turned, in the third."""
    features = np.random.default_rng(seed).normal(0, [1, 1, 0.3, 0.3, 0.1, 0.1], (n, 6))
    features[:, 2 if turned else 0] += np.where(np.arange(n) % 2, 8, -8)
    return features.astype(np.float32)


def test_held_back_images_are_spread_evenly_and_others_are_unlike():
    learned = learn_novelty(cloud(500, 0), cloud(300, 1), dimensions=4)
    assert learned.directions.shape == (6, 4)
    shares = learned.in_distribution(cloud(400, 2))
    assert np.abs(np.sort(shares) - np.linspace(0, 1, 400)).max() < 0.15
    assert (learned.in_distribution(cloud(50, 3, turned=True)) < 0.01).mean() > 0.9
    assert learned.bank.shape == (500, 4)
    np.testing.assert_allclose(np.linalg.norm(learned.bank, axis=1), 1, atol=1e-3)


def test_a_small_bank_has_fewer_neighbours():
    assert learn_novelty(cloud(3, 0), cloud(30, 1), k=5).neighbour == 3
    assert learn_novelty(cloud(50, 0), cloud(30, 1), bank=20, k=5).bank.shape[0] == 20


@pytest.fixture
def folder(saved_models, tmp_path):
    """A finished model that has no such file."""
    copied = shutil.copytree(saved_models / "tiny_b", tmp_path / "model")
    card = json.loads((copied / "card.json").read_text())
    (copied / "card.json").write_text(json.dumps(card | {"validation_images": 40}))
    return copied


def test_it_is_added_to_a_model_and_named_in_its_card(folder, monkeypatch):
    dataset = tiny_dataset(classes=10)
    assert read_novelty(folder, read_card(folder / "card.json")) is None
    monkeypatch.setattr(folder_command, "load_cifar10", lambda: dataset)
    assert novelty.main([str(folder)]) == 0
    card = read_card(folder / "card.json")
    added = read_novelty(folder, card)
    _, held_back = dataset.split(card.seed, 40)
    features = pooled_features(OnnxModel(folder / "model.onnx"), dataset.x_train[held_back])
    shares = added.in_distribution(features)
    assert np.abs(np.sort(shares) - np.linspace(0, 1, 40)).max() < 0.06
    assert (card.resolution, card.fit) == (8, "thumbnail")
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.keras", "model.onnx", "novelty.npz"]


def test_a_model_without_its_feature_map_gets_its_resolution_alone(folder, monkeypatch):
    before = read_card(folder / "card.json")
    monkeypatch.setattr(OnnxModel, "output_count", property(lambda self: 1, lambda self, count: None), raising=False)
    assert not add_novelty(folder, tiny_dataset(classes=10))
    card = read_card(folder / "card.json")
    assert (card.resolution, card.fit, card.sha256) == (8, "thumbnail", before.sha256)
    assert not (folder / "novelty.npz").exists()


def test_a_folder_without_a_model_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder_command, "load_cifar10", lambda: tiny_dataset(classes=10))
    assert novelty.main([str(tmp_path)]) == 1
    assert "novelty: " in capsys.readouterr().err


def test_features_are_the_averages_of_the_map_in_order(folder):
    model, images = OnnxModel(folder / "model.onnx"), tiny_dataset(classes=10).x_train[:100]
    features = pooled_features(model, images)
    expected = model.outputs(np.asarray(resize(images[70:72], 16)))[1].mean(axis=(1, 2))
    np.testing.assert_allclose(features[70:72], expected, atol=1e-5)
