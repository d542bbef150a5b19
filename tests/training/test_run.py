"""A whole run: the files it writes, what it starts from, and that it resumes after an interruption."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest
import resumable_run

from models.registry import create_model
from models.saved.card import read_card
from training import run
from training.checkpoint import Checkpoint, CheckpointMismatchError, TrainingState
from training.config import TrainingConfig, make_config
from training.data.image_batches import image_batches
from training.evaluation import evaluate_once
from training.export import finalize
from training.run import Run, RunConflictError
from training.run_folders import finished_head


@pytest.fixture
def data(dataset, monkeypatch):
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: dataset)
    return dataset


@pytest.fixture
def config(tiny_network):
    return make_config("finetune", tiny_network, epochs=2, weights="none")


def history(folder: Path) -> list[dict]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_its_files(config, data, cache, tmp_path):
    folder = tmp_path / "run"
    metrics = Run(config, folder, command="python train.py").complete()
    assert {path.name for path in folder.iterdir()} == {
        "model.keras",
        "model.onnx",
        "card.json",
        "config.json",
        "history.csv",
        "metrics.json",
        "confusion_matrix.png",
        "curves.png",
        "samples.png",
        "tensorboard",
        "predictions.npz",
        "ood.npz",
    }
    assert TrainingConfig.load(folder / "config.json") == config
    provenance = json.loads((folder / "config.json").read_text())["provenance"]
    assert provenance["data"]["sha256"] == data.sha256
    assert {row["phase"] for row in history(folder)} == {"head", "finetune"}
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == len(data.x_test)
    assert sum(row["support"] for row in metrics["per_class"].values()) == len(data.x_test)
    assert set(metrics["seconds"]) >= {"cache", "head", "finetune", "evaluate", "total"}
    assert metrics["onnx_max_abs_difference"] <= 1e-4
    card = read_card(folder / "card.json")
    assert card.test_accuracy == metrics["accuracy"]
    assert card.resolution == data.x_train.shape[1] and "ood.npz" in card.sha256
    model = keras.models.load_model(folder / "model.keras")
    images = np.asarray(
        image_batches(
            data.x_test, data.y_test, classes=3, image_size=16, batch_size=len(data.x_test)
        ).get_single_element()[0]
    )
    accuracy = (model.predict(images, verbose=0).argmax(1) == data.y_test).mean()
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=1 / len(data.x_test))


def test_average_with_trains_both_recipes_and_averages_their_weights(tiny_network, data, cache, tmp_path, monkeypatch):
    evaluations = []
    monkeypatch.setattr(
        finalize, "evaluate_once", lambda *given, **named: evaluations.append(1) or evaluate_once(*given, **named)
    )
    choices = {"epochs": 2, "weights": "none", "average_with": "reference", "average_share": 0.25, "head": "linear"}
    config = make_config("finetune", tiny_network, "strong", **choices, validation=24)
    whole = Run(config, tmp_path / "run", command="python train.py")
    metrics = whole.complete()
    assert len(evaluations) == 1
    members = whole.members()
    assert all(member.is_trained for member in members) and not whole.is_trained
    averaged = keras.models.load_model(whole.folder / "model.keras").get_weights()
    weights = [member.train()[0].get_weights() for member in members]
    for array, others, owns in zip(averaged, *weights, strict=True):
        np.testing.assert_allclose(array, 0.25 * others + 0.75 * owns, atol=1e-6)
    assert any((others != owns).any() for others, owns in zip(*weights, strict=True))
    times = [Checkpoint.load(member.checkpoint_path).state for member in members]
    assert metrics["seconds"]["finetune"] == pytest.approx(sum(each.seconds["finetune"] for each in times), abs=0.1)
    assert metrics["cpu_seconds"] > sum(each.cpu_seconds for each in times) - 0.1
    assert history(whole.folder) == history(members[1].folder)
    assert read_card(whole.folder / "card.json").test_accuracy == metrics["accuracy"]


@pytest.mark.slow
def test_a_resumed_average_keeps_its_trained_members(tiny_network, data, cache, tmp_path, monkeypatch):
    choices = {"epochs": 1, "weights": "none", "average_with": "reference", "head": "linear"}
    config = make_config("finetune", tiny_network, "strong", **choices, validation=24)
    metrics = Run(config, folder := tmp_path / "run").complete()
    (folder / "metrics.json").unlink()
    monkeypatch.setattr(run, "run_phase", lambda *_, **__: pytest.fail("what is trained is not trained again"))
    again = Run(config, folder).complete()
    assert (again["accuracy"], again["loss"]) == pytest.approx((metrics["accuracy"], metrics["loss"]))


def test_a_strong_run_solves_for_its_head_and_averages_views(tiny_network, data, cache, tmp_path):
    config = make_config("finetune", tiny_network, "strong", epochs=2, weights="none", validation=12)
    metrics = Run(config, tmp_path / "run").complete()
    assert metrics["epochs"] == {"head": 1, "finetune": 2}
    assert metrics["tta"]["views"] == ["identity", "flip"]
    assert read_card(tmp_path / "run" / "card.json").test_accuracy_tta == metrics["tta"]["accuracy"]
    assert metrics["validation_accuracy"] * 12 % 1 == pytest.approx(0)


def test_a_run_in_bfloat16_saves_a_model_in_float32(tiny_network, data, cache, tmp_path):
    config = make_config("head", tiny_network, epochs=2, weights="none", precision="mixed_bfloat16")
    metrics = Run(config, tmp_path / "run").complete()
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert metrics["onnx_max_abs_difference"] <= 1e-4


def test_a_finished_run_is_not_run_again(config, data, cache, tmp_path, monkeypatch):
    first = Run(config, tmp_path / "run").complete()
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: pytest.fail("a finished run needs no data"))
    assert Run(config, tmp_path / "run").complete() == first


@pytest.mark.slow
def test_finetune_starts_from_a_finished_head_phase(config, data, cache, tmp_path):
    head_config = make_config("head", config.model, weights="none")
    assert finished_head(config, tmp_path) is None
    Run(head_config, tmp_path / "head").complete()
    assert finished_head(config, tmp_path) == tmp_path / "head"
    assert finished_head(dataclasses.replace(config, seed=1), tmp_path) is None
    assert finished_head(head_config, tmp_path) is None
    metrics = Run(config, tmp_path / "finetune", head_run=tmp_path / "head").complete()
    assert metrics["epochs"]["head"] == 0
    assert metrics["epochs"]["finetune"] >= 1


def test_a_wrong_unfreeze_is_an_error_before_training(config, data, cache, tmp_path):
    Run(make_config("head", config.model, weights="none"), tmp_path / "head").complete()
    for head_run in (None, tmp_path / "head"):
        with pytest.raises(ValueError, match="unfreeze=500"):
            Run(dataclasses.replace(config, unfreeze=500), tmp_path / "run", head_run=head_run).complete()
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_with_other_settings_data_or_network_or_twice(config, data, cache, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(patch, saves=3)
        with pytest.raises(KeyboardInterrupt):
            Run(config, folder).complete()
    with pytest.raises(RunConflictError, match="--output"):
        Run(dataclasses.replace(config, unfreeze=1), folder).complete()
    with filelock.FileLock(tmp_path / ".run.lock"), pytest.raises(RunConflictError, match="Another process"):
        Run(config, folder).complete()
    with monkeypatch.context() as patch:
        other = dataclasses.replace(data, sha256={**data.sha256, "x_train": "0" * 64})
        patch.setattr(run, "load_cifar10", lambda data_dir: other)
        with pytest.raises(CheckpointMismatchError, match="other data"):
            Run(config, folder).complete()
    Checkpoint.capture(TrainingState(), create_model("custom_cnn", weights=None)).save(folder / "checkpoint.npz")
    with pytest.raises(CheckpointMismatchError, match="another network"):
        Run(config, folder).complete()


@pytest.mark.slow
def test_a_run_that_was_stopped_while_saving_resumes_to_the_same_card(config, data, cache, tmp_path, monkeypatch):
    Run(config, tmp_path / "whole", command="python train.py").complete()
    with monkeypatch.context() as patch:
        patch.setattr(finalize, "save_keras", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Run(config, tmp_path / "stopped", command="python train.py").complete()
    Run(config, tmp_path / "stopped", command="python train.py --resume").complete()
    whole, resumed = (read_card(tmp_path / name / "card.json") for name in ("whole", "stopped"))
    assert resumed.parameters == whole.parameters
    assert resumed.command == "python train.py"
    assert resumed.test_accuracy == whole.test_accuracy


def test_the_time_of_an_interrupted_frozen_pass_counts(config, data, cache, tmp_path, monkeypatch):
    def interrupted_caches(*arguments):
        time.sleep(0.5)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "prepare_caches", interrupted_caches)
        with pytest.raises(KeyboardInterrupt):
            Run(config, tmp_path / "run").train()
    resumed = Run(config, tmp_path / "run")
    resumed.train()
    assert resumed.state.seconds["cache"] > 0.5


@pytest.mark.slow
def test_finetune_of_no_layer_shares_the_heads_cache(config, data, cache, tmp_path):
    metrics = Run(dataclasses.replace(config, unfreeze=0), tmp_path / "run").complete()
    assert metrics["epochs"]["finetune"] >= 1
    assert len(list(cache.glob("boundary/*/manifest.json"))) == 1


def interrupt_after(monkeypatch, saves: int) -> None:
    save, saved = Checkpoint.save, []

    def save_then_interrupt(self, path):
        save(self, path)
        saved.append(path)
        if len(saved) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_then_interrupt)


def kill_after(folder: Path, cache: Path, rows: int) -> None:
    """Run until the history has so many rows, then SIGKILL in the middle of whatever comes next."""
    root = Path(run.__file__).parent.parent
    environment = {**os.environ, "THAW_CACHE": str(cache), "PYTHONPATH": f"{root}:{root / 'tests'}"}
    command = [sys.executable, resumable_run.__file__, folder]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while process.poll() is None:
        if (folder / "history.csv").exists() and len(history(folder)) >= rows:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()[-2000:]


@pytest.mark.slow
def test_sigkill_in_both_phases_and_the_same_weights_in_the_end(tiny_network, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_cifar10", resumable_run.load_data)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    resumable_run.run_in(whole)
    head_epochs = sum(row["phase"] == "head" for row in history(whole))

    kill_after(killed, cache, rows=2)
    kill_after(killed, cache, rows=head_epochs + 1)
    resumable_run.run_in(killed)

    timeless = [[{**row, "seconds": ""} for row in history(folder)] for folder in (whole, killed)]
    assert timeless[0] == timeless[1]
    models = [keras.models.load_model(folder / "model.keras") for folder in (whole, killed)]
    for expected, found in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
