"""Checkpoints: whole or absent, refused where damaged or of another network, and free of code."""

import keras
import numpy as np
import pytest

from models.registry import create_model
from training.checkpoint import Checkpoint, CheckpointMismatchError, TrainingState, assign


@pytest.fixture
def model(tiny_network):
    model = create_model(tiny_network, classes=3, weights=None)
    model.compile("adam", "categorical_crossentropy")
    model.fit(np.ones((4, 16, 16, 3)), np.eye(3)[[0, 1, 2, 0]], verbose=0)
    return model


def test_everything_comes_back(model, tmp_path):
    state = TrainingState(phase=1, epoch=4, best_loss=0.5, best_epoch=2, history=[{"loss": 1.0}], seconds={"head": 2.0})
    captured = Checkpoint.capture(state, model, model.optimizer, [np.arange(3.0)])
    captured.save(tmp_path / "c.npz")
    loaded = Checkpoint.load(tmp_path / "c.npz")
    assert loaded.state == state
    for kind in ("model", "optimizer", "best"):
        for found, expected in zip(getattr(loaded, kind), getattr(captured, kind), strict=True):
            np.testing.assert_array_equal(found, expected)
    paths = [variable.path for variable in model.variables]
    assert any("seed_generator" in path for path in paths), "Dropout's random state belongs to the checkpoint"


def test_a_checkpoint_of_another_network_is_refused_and_changes_nothing(model):
    other = create_model("custom_cnn", weights=None)
    with pytest.raises(CheckpointMismatchError, match="belongs to another network"):
        assign(model.variables, Checkpoint.capture(TrainingState(), other).model)
    wider = keras.models.clone_model(model)
    arrays = [
        np.zeros((*variable.shape, 2)) if i == 3 else np.zeros(variable.shape)
        for i, variable in enumerate(wider.variables)
    ]
    before = model.get_weights()
    with pytest.raises(CheckpointMismatchError, match=model.variables[3].path):
        assign(model.variables, arrays)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_damaged_checkpoint_is_refused(model, tmp_path):
    path = tmp_path / "c.npz"
    Checkpoint.capture(TrainingState(), model).save(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointMismatchError, match="is damaged"):
            Checkpoint.load(path)


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    np.savez(tmp_path / "c.npz", state=np.array([Malicious()], dtype=object))
    (tmp_path / "executed").unlink(missing_ok=True)
    with pytest.raises(CheckpointMismatchError):
        Checkpoint.load(tmp_path / "c.npz")
    assert not (tmp_path / "executed").exists()
