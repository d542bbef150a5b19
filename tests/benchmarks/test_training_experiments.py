"""Experiments that train, on the tiny network: what they record, and that finished runs are not trained again."""

import functools
import json

import pytest

from benchmarks.experiments import accuracy, reference, time_to_accuracy, training_cost
from benchmarks.experiments.accuracy import Training
from benchmarks.measures.training_time import cost_ratios
from training import run
from training.config import make_config


@pytest.fixture
def tiny_config(tiny_training):
    """`make_config` for the tiny network, whatever network is asked for."""

    def tiny(phase=None, model=None, **options):
        options |= {"image_size": None, "unfreeze": None, "validation": 24}
        return make_config(phase, tiny_training, weights="none", **{"epochs": 1, **options})

    return tiny


@pytest.fixture
def no_more_training(monkeypatch):
    """A function after which no run may train."""
    message = "finished runs are not trained again"
    return functools.partial(monkeypatch.setattr, run, "load_cifar10", lambda data_dir=None: pytest.fail(message))


@pytest.mark.slow
def test_reference_trains_every_seed_once_and_states_the_spread(tiny_config, options, monkeypatch, no_more_training):
    monkeypatch.setattr(reference, "make_config", tiny_config)
    chosen = options(head_seeds=2, finetune_seeds=1)
    result = reference.run(chosen)
    assert [(row["phase"], row["seed"]) for row in result["runs"]] == [("head", 0), ("head", 1), ("finetune", 0)]
    accuracies = [row["accuracy"] for row in result["runs"] if row["phase"] == "head"]
    assert result["head"]["accuracy_mean"] == pytest.approx(sum(accuracies) / 2)
    assert result["head"]["n"] == 2 and result["finetune"]["accuracy_deviation"] is None
    assert json.loads((chosen.results / "reference.json").read_text()) == result
    assert (chosen.results / "curves.png").exists()
    no_more_training()
    assert reference.run(chosen)["runs"] == result["runs"]


@pytest.mark.slow
def test_training_cost_compares_the_two_ways(tiny_config, dataset, options, monkeypatch):
    monkeypatch.setattr(training_cost, "make_config", tiny_config)
    monkeypatch.setattr(training_cost, "load_cifar10", lambda: dataset)
    result = training_cost.run(options(epochs=1, limit=None))
    cached, plain = result["cached"]["seconds"], result["plain"]["seconds"]
    assert cached["cache"] > 0 and plain["cache"] == 0
    ratio = result["ratios"]["measured"]["finetune_epoch"]
    assert ratio == pytest.approx(plain["finetune"] / cached["finetune"], abs=0.01)


def test_ratios_of_longer_phases_follow_from_the_time_of_an_epoch():
    seconds = {"cached": {"cache": 50.0, "head": 2.0, "finetune": 40.0}, "plain": {"head": 100.0, "finetune": 80.0}}
    cost = {way: {"seconds": each} for way, each in seconds.items()}
    cost["epochs"] = {"measured": {"head": 2, "finetune": 1}}
    expected = {"head_epoch": 50, "finetune_epoch": 2, "head_with_cache": 500 / 60, "whole": 900 / 260}
    assert cost_ratios(cost, {"head": 10, "finetune": 5}) == pytest.approx(expected, abs=0.01)


@pytest.mark.slow
def test_accuracy_keeps_the_rows_of_other_commands(tiny_config, options, monkeypatch, no_more_training):
    monkeypatch.setattr(accuracy, "make_config", tiny_config)
    trainings = (Training("tiny", {"recipe": "reference"}), Training("tiny", {"recipe": "strong"}, 0.3))
    monkeypatch.setattr(accuracy, "TRAININGS", trainings)
    everything = options(models=(), seeds=[0], word="")
    accuracy.run(everything)
    result = accuracy.run(options(models=(), seeds=[1], word="strong"))
    assert [(row["recipe"], row["seed"]) for row in result["runs"]] == [("reference", 0), ("strong", 0), ("strong", 1)]
    assert result["runs"][0]["accuracy_tta"] is None and 0 < result["runs"][1]["accuracy_tta"] <= 1
    no_more_training()
    assert accuracy.run(everything)["runs"] == result["runs"]


def test_a_word_of_no_command_is_refused(options):
    with pytest.raises(ValueError, match="word='stro'"):
        accuracy.run(options(models=(), seeds=[0], word="stro"))


@pytest.mark.slow
def test_time_to_accuracy_counts_frozen_layers_and_epochs(tiny_config, options, monkeypatch):
    monkeypatch.setattr(time_to_accuracy, "make_config", tiny_config)
    result = time_to_accuracy.run(options(image_size=16))
    assert [row["way"] for row in result["runs"]] == ["strong", "reference", "plain Keras"]
    for row in result["runs"]:
        seconds = [point["seconds"] for point in row["curve"]]
        assert seconds == sorted(seconds) and len(seconds) == sum(row["epochs"].values())
        reached = [point["seconds"] for point in row["curve"] if point["accuracy"] >= 0.9]
        assert row["seconds_until"]["90%"] == (reached[0] if reached else None)
