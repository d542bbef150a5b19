"""Experiments that train, on the tiny network: what they record, and that finished runs are not trained again."""

import json

import pytest

from benchmarks.experiments import accuracy, reference, time_to_accuracy, training_cost
from benchmarks.experiments.accuracy import Goal
from benchmarks.measures.training_time import cost_ratios
from training import run
from training.config import make_config


@pytest.fixture
def no_more_training(monkeypatch):
    """A function after which no run may train."""
    fail = lambda data_dir=None: pytest.fail("finished runs are not trained again")  # noqa: E731
    return lambda: monkeypatch.setattr(run, "load_cifar10", fail)


def test_reference_trains_every_seed_once_and_states_the_spread(tiny_training, tmp_path, monkeypatch, no_more_training):
    tiny = lambda phase, **options: make_config(phase, tiny_training, weights="none", **options)  # noqa: E731
    monkeypatch.setattr(reference, "make_config", tiny)
    arguments = (tmp_path / "runs", tmp_path / "results", range(2), range(1))
    result = reference.reference(*arguments)
    assert [(row["phase"], row["seed"]) for row in result["runs"]] == [("head", 0), ("head", 1), ("finetune", 0)]
    accuracies = [row["accuracy"] for row in result["runs"] if row["phase"] == "head"]
    assert result["head"]["accuracy_mean"] == pytest.approx(sum(accuracies) / 2)
    assert result["head"]["n"] == 2 and result["finetune"]["accuracy_deviation"] is None
    assert json.loads((tmp_path / "results" / "reference.json").read_text()) == result
    assert (tmp_path / "results" / "curves.png").exists()
    no_more_training()
    assert reference.reference(*arguments)["runs"] == result["runs"]


def test_training_cost_compares_the_two_ways(tiny_training, dataset, tmp_path, monkeypatch):
    tiny = lambda phase, **options: make_config(phase, tiny_training, weights="none", **options)  # noqa: E731
    monkeypatch.setattr(training_cost, "make_config", tiny)
    monkeypatch.setattr(training_cost, "load_cifar10", lambda: dataset)
    result = training_cost.training_cost(tmp_path, epochs=1)
    cached, plain = result["cached"]["seconds"], result["plain"]["seconds"]
    assert cached["cache"] > 0 and plain["cache"] == 0
    ratio = result["ratios"]["measured"]["finetune_epoch"]
    assert ratio == pytest.approx(plain["finetune"] / cached["finetune"], abs=0.01)
    assert json.loads((tmp_path / "training_cost.json").read_text()) == result


def test_ratios_of_longer_phases_follow_from_the_time_of_an_epoch():
    seconds = {"cached": {"cache": 50.0, "head": 2.0, "finetune": 40.0}, "plain": {"head": 100.0, "finetune": 80.0}}
    cost = {way: {"seconds": each} for way, each in seconds.items()}
    cost["epochs"] = {"measured": {"head": 2, "finetune": 1}}
    expected = {"head_epoch": 50, "finetune_epoch": 2, "head_with_cache": 500 / 60, "whole": 900 / 260}
    assert cost_ratios(cost, {"head": 10, "finetune": 5}) == pytest.approx(expected, abs=0.01)


@pytest.fixture
def tiny_goals(tiny_training, monkeypatch):
    def tiny_config(model=None, **options):
        options = {"epochs": 1, **options, "image_size": None, "unfreeze": None, "validation": 24}
        return make_config(model=tiny_training, weights="none", **options)

    for module in (accuracy, time_to_accuracy):
        monkeypatch.setattr(module, "make_config", tiny_config)
    goals = (Goal(tiny_training, {"recipe": "reference"}), Goal(tiny_training, {"recipe": "strong"}, 0.3, 0.4))
    monkeypatch.setattr(accuracy, "GOALS", goals)


def test_accuracy_keeps_the_rows_of_other_commands(tiny_goals, tmp_path, no_more_training):
    runs = tmp_path / "runs"
    accuracy.accuracy(runs, tmp_path)
    result = accuracy.accuracy(runs, tmp_path, seeds=[1], word="strong")
    assert [(row["recipe"], row["seed"]) for row in result["runs"]] == [("reference", 0), ("strong", 0), ("strong", 1)]
    assert result["runs"][0]["accuracy_tta"] is None and 0 < result["runs"][1]["accuracy_tta"] <= 1
    assert json.loads((tmp_path / "accuracy.json").read_text()) == result
    no_more_training()
    assert accuracy.accuracy(runs, tmp_path)["runs"] == result["runs"]
    with pytest.raises(ValueError, match="word='stro'"):
        accuracy.accuracy(runs, tmp_path, word="stro")


def test_time_to_accuracy_counts_frozen_layers_and_epochs(tiny_goals, tmp_path):
    result = time_to_accuracy.time_to_accuracy(tmp_path / "runs", tmp_path, image_size=16)
    assert [row["way"] for row in result["runs"]] == ["strong", "reference", "plain Keras"]
    for row in result["runs"]:
        seconds = [point["seconds"] for point in row["curve"]]
        assert seconds == sorted(seconds) and len(seconds) == sum(row["epochs"].values())
        reached = [point["seconds"] for point in row["curve"] if point["accuracy"] >= 0.9]
        assert row["seconds_until"]["90%"] == (reached[0] if reached else None)
    assert (tmp_path / "time_to_accuracy.png").exists()
