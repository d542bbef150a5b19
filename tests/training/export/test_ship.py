"""Shipping copies a finished run to the model store that serving reads."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from inference.classifier import load_classifier
from models.saved.card import ModelFileError
from training import ship as command
from training import ship as shipping
from training.ship import ship


@pytest.fixture
def run(saved_models, dataset, monkeypatch, tmp_path):
    """The part of a finished run's folder that shipping reads."""
    monkeypatch.setattr(shipping, "load_cifar10", lambda: dataset)
    return shutil.copytree(saved_models / "tiny_a", tmp_path / "run")


def test_the_shipped_model_predicts_as_the_run_does_and_explains(run, tmp_path, dataset, monkeypatch, capsys):
    (run / "model.onnx").unlink()  # it is exported again
    monkeypatch.setattr(ship, "__defaults__", (None, tmp_path / "store"))
    assert command.main([str(run), "--name", "colours"]) == 0
    target = tmp_path / "store" / "colours"
    assert str(target) in capsys.readouterr().out
    assert {path.name for path in target.iterdir()} == {"card.json", "model.keras", "model.onnx", "ood.npz"}
    shipped = load_classifier(target)
    assert shipped.engine.name == "onnxruntime" and shipped.engine.explains
    images = list(dataset.x_test[:8])
    for one, other in zip(shipped.classify(images), load_classifier(run, "keras").classify(images), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
        assert 0 <= one.in_distribution <= 1
    assert [path.name for path in run.iterdir() if path.is_dir()] == []


def test_the_shipped_keras_file_is_smaller_with_the_same_weights(run, tmp_path):
    target = ship(run, store=tmp_path / "store")
    assert (target / "model.keras").stat().st_size < (run / "model.keras").stat().st_size
    weights, same = (keras.models.load_model(folder / "model.keras").get_weights() for folder in (run, target))
    assert len(weights) > 2
    for weight, shipped in zip(weights, same, strict=True):
        np.testing.assert_array_equal(weight, shipped)


def test_a_failure_keeps_the_earlier_model(run, tmp_path, monkeypatch):
    store = tmp_path / "store"
    target = ship(run, store=store)
    before = (target / "model.onnx").stat().st_mtime_ns
    rename = Path.rename

    def refuse(self, other):
        if "partial" in self.name:
            raise OSError("refused")
        return rename(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(shipping, "LIMIT_MB", 1e-3)
        with pytest.raises(ValueError, match=r"0\.001 MB"):
            ship(run, store=store)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="refused"):
        ship(run, store=store)
    assert (target / "model.onnx").stat().st_mtime_ns == before
    assert [path.name for path in store.iterdir()] == [target.name]


@pytest.mark.parametrize("name", [".", "..", "../other", "a/b", "/other"])
def test_nothing_outside_the_store_is_written_or_deleted(run, tmp_path, name):
    store = tmp_path / "store"
    store.mkdir()
    with pytest.raises(ValueError, match="name must be"):
        ship(run, name, store)
    assert list(store.iterdir()) == []
    assert (run / "card.json").is_file()


@pytest.mark.parametrize("name", ["model.keras", "ood.npz"])
def test_a_file_with_another_checksum_is_an_error(run, tmp_path, name):
    with open(run / name, "ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelFileError, match=name):
        ship(run, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_command_reports_an_error(tmp_path, capsys):
    assert command.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("ship: ")
