"""From a finished run to the store that serving reads."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.classifier import load_classifier
from models.saved.card import ModelFileError
from training.data import cifar10
from training.export import ship


@pytest.fixture
def finished(saved_models, dataset, monkeypatch, tmp_path):
    """A finished run's folder, as far as shipping looks at it."""
    monkeypatch.setattr(cifar10, "load_cifar10", lambda: dataset)
    return shutil.copytree(saved_models / "tiny_a", tmp_path / "run")


def test_what_is_shipped_answers_as_the_run_and_explains(finished, tmp_path, dataset):
    (finished / "model.onnx").unlink()  # it is made anew
    target = ship.ship(finished, "colours", tmp_path / "store")
    assert target == tmp_path / "store" / "colours"
    assert {path.name for path in target.iterdir()} == {"card.json", "model.keras", "model.onnx", "ood.npz"}
    shipped = load_classifier(target)
    assert shipped.engine.name == "onnxruntime" and shipped.engine.explains
    images = list(dataset.x_test[:8])
    expected = [answer.probabilities for answer in load_classifier(finished, "keras").classify(images)]
    for answer, probabilities in zip(shipped.classify(images), expected, strict=True):
        assert answer.probabilities == pytest.approx(probabilities, abs=1e-4)
        assert 0 <= answer.in_distribution <= 1
    assert [path.name for path in finished.iterdir() if path.is_dir()] == []


def test_what_is_shipped_takes_less_room_and_loads_the_same(finished, tmp_path):
    import keras

    target = ship.ship(finished, store=tmp_path / "store")
    assert (target / "model.keras").stat().st_size < (finished / "model.keras").stat().st_size
    weights, same = (keras.models.load_model(folder / "model.keras").get_weights() for folder in (finished, target))
    assert len(weights) > 2
    for weight, shipped in zip(weights, same, strict=True):
        np.testing.assert_array_equal(weight, shipped)


def test_the_shelf_has_a_limit_and_keeps_what_it_had(finished, tmp_path, monkeypatch):
    target = ship.ship(finished, store=tmp_path / "store")
    before = (target / "model.onnx").stat().st_mtime_ns
    monkeypatch.setattr(ship, "LIMIT_MB", 1e-3)
    with pytest.raises(ValueError, match="may hold at most 0.001 MB"):
        ship.ship(finished, store=tmp_path / "store")
    assert (target / "model.onnx").stat().st_mtime_ns == before


def test_what_fails_at_the_last_moment_costs_no_model(finished, tmp_path, monkeypatch):
    target = ship.ship(finished, store=tmp_path / "store")
    before = (target / "model.onnx").stat().st_mtime_ns
    rename = Path.rename

    def refused(self, other):
        if "partial" in self.name:
            raise OSError("refused")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="refused"):
        ship.ship(finished, store=tmp_path / "store")
    assert (target / "model.onnx").stat().st_mtime_ns == before
    assert [path.name for path in (tmp_path / "store").iterdir()] == [target.name]


@pytest.mark.parametrize("name", [".", "..", "../other", "a/b", "/other"])
def test_nothing_outside_the_shelf_is_written_or_deleted(finished, tmp_path, name):
    store = tmp_path / "store"
    store.mkdir()
    with pytest.raises(ValueError, match="name must be that of a folder in"):
        ship.ship(finished, name, store)
    assert store.is_dir() and list(store.iterdir()) == []
    assert (finished / "card.json").is_file()


def test_what_tells_other_pictures_has_to_be_the_runs_own(finished, tmp_path):
    (finished / "ood.npz").write_bytes(b"stale")
    with pytest.raises(ModelFileError, match=r"ood\.npz is missing"):
        ship.ship(finished, store=tmp_path / "store")


def test_a_run_whose_model_was_changed_is_refused(finished, tmp_path):
    with open(finished / "model.keras", "ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelFileError, match="is the run finished"):
        ship.ship(finished, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()
