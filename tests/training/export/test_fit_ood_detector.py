"""The OOD detector: fitted on pooled features, and added to a saved model that has none."""

import json
import shutil

import numpy as np
import pytest
from scipy import special
from tiny import tiny_dataset

from models.saved.card import read_card
from models.saved.onnx_model import OnnxModel
from models.saved.ood import read_ood_detector
from training.data.image_batches import resize
from training.export import calibrate, ood
from training.export.ood import fit_ood_detector, last_layer, pooled_features, refit_ood_detector
from training.export.saved_model import load_saved

NO_LAYER = np.zeros((6, 0), np.float32), np.zeros(0, np.float32)


def cloud(n: int, seed: int, turned: bool = False) -> np.ndarray:
    """Return features in two clusters along the first direction; turned, along the third."""
    features = np.random.default_rng(seed).normal(0, [1, 1, 0.3, 0.3, 0.1, 0.1], (n, 6))
    features[:, 2 if turned else 0] += np.where(np.arange(n) % 2, 8, -8)
    return features.astype(np.float32)


def test_held_out_images_are_uniform_and_others_are_out_of_distribution():
    detector = fit_ood_detector(cloud(500, 0), cloud(300, 1), *NO_LAYER, dimensions=4)
    assert detector.directions.shape == (6, 4)
    shares = detector.in_distribution(cloud(400, 2))
    assert np.abs(np.sort(shares) - np.linspace(0, 1, 400)).max() < 0.15
    assert (detector.in_distribution(cloud(50, 3, turned=True)) < 0.01).mean() > 0.9
    assert detector.bank.shape == (500, 4)


def test_features_outside_the_kept_directions_are_out_of_distribution():
    detector = fit_ood_detector(cloud(500, 0), cloud(300, 1), *NO_LAYER, dimensions=2)
    shifted = cloud(50, 2)
    shifted[:, 4] += 20  # this direction is not kept
    assert (detector.in_distribution(shifted) < 0.01).all()


def test_bank_and_features_are_weighted_by_energy():
    kernel = np.zeros((6, 2), np.float32)
    kernel[0] = 0.5, -0.5
    features = cloud(500, 0)
    detector = fit_ood_detector(features, cloud(300, 1), kernel, np.zeros(2), dimensions=6)
    energy = np.log(np.exp(features @ kernel).sum(axis=1))
    np.testing.assert_allclose(np.linalg.norm(detector.bank, axis=1), energy, rtol=1e-2)
    weak = cloud(50, 2) / 4  # as near, with less energy
    assert (detector.in_distribution(weak) < 0.01).all()
    assert (fit_ood_detector(features, cloud(300, 1), *NO_LAYER).in_distribution(weak) > 0.01).mean() > 0.9


def test_a_small_bank_has_fewer_neighbours():
    assert fit_ood_detector(cloud(3, 0), cloud(30, 1), *NO_LAYER, k=5).neighbours == 3
    assert fit_ood_detector(cloud(50, 0), cloud(30, 1), *NO_LAYER, bank=20, k=5).bank.shape[0] == 20


def test_the_last_layer_maps_pooled_features_to_logits(saved_models):
    model = load_saved(saved_models / "tiny_b" / "model.keras").model
    kernel, bias = last_layer(model)
    images = np.asarray(resize(tiny_dataset(classes=10).x_test[:5], 16))
    features = OnnxModel(saved_models / "tiny_b" / "model.onnx").outputs(images)[1].mean(axis=(1, 2))
    logits = features @ kernel + bias
    np.testing.assert_allclose(special.softmax(logits, axis=1), model.predict_on_batch(images), atol=1e-4)
    deep, none = last_layer(load_saved(saved_models / "tiny_a" / "model.keras").model)
    assert (deep.shape, none.shape) == ((features.shape[1], 0), (0,))


@pytest.fixture
def folder(saved_models, tmp_path):
    """A saved model without an OOD detector."""
    copied = shutil.copytree(saved_models / "tiny_b", tmp_path / "model")
    card = json.loads((copied / "card.json").read_text())
    (copied / "card.json").write_text(json.dumps(card | {"validation_images": 40}))
    return copied


def test_the_command_adds_a_detector_and_updates_the_card(folder, monkeypatch):
    dataset = tiny_dataset(classes=10)
    assert read_ood_detector(folder, read_card(folder / "card.json")) is None
    monkeypatch.setattr(calibrate, "load_cifar10", lambda: dataset)
    assert ood.main([str(folder)]) == 0
    card = read_card(folder / "card.json")
    added = read_ood_detector(folder, card)
    _, held_out = dataset.split(card.seed, 40)
    features = pooled_features(OnnxModel(folder / "model.onnx"), dataset.x_train[held_out])
    shares = added.in_distribution(features)
    assert np.abs(np.sort(shares) - np.linspace(0, 1, 40)).max() < 0.06
    assert (card.resolution, card.resize_mode) == (8, "thumbnail")
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.keras", "model.onnx", "ood.npz"]


def test_an_interruption_leaves_a_model_that_works(folder, monkeypatch):
    assert refit_ood_detector(folder, tiny_dataset(classes=10))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ood, "sha256_of", killed)
    with pytest.raises(KeyboardInterrupt):
        refit_ood_detector(folder, tiny_dataset(classes=10))
    card = read_card(folder / "card.json")
    assert "ood.npz" not in card.sha256 and read_ood_detector(folder, card) is None


def test_without_a_feature_map_only_resolution_and_resize_mode_change(folder, monkeypatch):
    before = read_card(folder / "card.json")
    monkeypatch.setattr(OnnxModel, "output_count", property(lambda self: 1, lambda self, count: None), raising=False)
    assert not refit_ood_detector(folder, tiny_dataset(classes=10))
    card = read_card(folder / "card.json")
    assert (card.resolution, card.resize_mode, card.sha256) == (8, "thumbnail", before.sha256)
    assert not (folder / "ood.npz").exists()


def test_pooled_features_are_in_the_order_of_the_images(folder):
    model, images = OnnxModel(folder / "model.onnx"), tiny_dataset(classes=10).x_train[:100]
    features = pooled_features(model, images)
    expected = model.outputs(np.asarray(resize(images[70:72], 16)))[1].mean(axis=(1, 2))
    np.testing.assert_allclose(features[70:72], expected, atol=1e-5)
