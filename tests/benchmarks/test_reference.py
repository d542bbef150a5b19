"""Measurements, on the tiny network: what they compute from the runs that they make."""

import json

import pytest

from benchmarks.experiments import reference as measure
from training import run
from training.config import make_config


@pytest.fixture
def tiny_world(tiny_network, dataset, cache, monkeypatch):
    for module in (run, measure):
        monkeypatch.setattr(module, "load_cifar10", lambda data_dir=None: dataset)
    monkeypatch.setattr(
        measure, "make_config", lambda phase, **choices: make_config(phase, tiny_network, weights="none", **choices)
    )
    monkeypatch.setattr(measure, "create_model", lambda name: None)
    for folder in ("datasets", "weights"):
        (cache / folder).mkdir(parents=True)


def test_reference_trains_every_seed_once_and_states_the_spread(tiny_world, tmp_path, monkeypatch):
    arguments = {"head_seeds": range(2), "finetune_seeds": range(1)}
    result = measure.reference(tmp_path / "runs", tmp_path / "results", **arguments)
    assert [(row["phase"], row["seed"]) for row in result["runs"]] == [("head", 0), ("head", 1), ("finetune", 0)]
    accuracies = [row["accuracy"] for row in result["runs"] if row["phase"] == "head"]
    assert result["head"]["accuracy_mean"] == pytest.approx(sum(accuracies) / 2)
    assert result["head"]["n"] == 2
    assert result["finetune"]["accuracy_deviation"] is None
    assert json.loads((tmp_path / "results" / "reference.json").read_text()) == result
    assert (tmp_path / "results" / "curves.png").exists()
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir=None: pytest.fail("finished runs are not run again"))
    assert measure.reference(tmp_path / "runs", tmp_path / "results", **arguments)["runs"] == result["runs"]


def test_training_cost_compares_the_two_ways(tiny_world, tmp_path):
    result = measure.training_cost(tmp_path / "results", epochs=1)
    cached, plain = result["cached"]["seconds"], result["plain"]["seconds"]
    assert cached["cache"] > 0
    ratios = result["ratios"]["measured"]
    assert ratios["finetune_epoch"] == pytest.approx(plain["finetune"] / cached["finetune"], abs=0.01)
    assert result["accuracy_difference"] == result["cached"]["accuracy"] - result["plain"]["accuracy"]
    assert json.loads((tmp_path / "results" / "training_cost.json").read_text()) == result


def test_the_ratios_of_longer_phases_follow_from_the_time_of_an_epoch():
    seconds = {"cached": {"cache": 50.0, "head": 2.0, "finetune": 40.0}, "plain": {"head": 100.0, "finetune": 80.0}}
    cost = {way: {"seconds": each} for way, each in seconds.items()} | {
        "epochs": {"measured": {"head": 2, "finetune": 1}}
    }
    ratios = measure.cost_ratios(cost, {"head": 10, "finetune": 5})
    assert ratios == {
        "head_epoch": 50.0,
        "finetune_epoch": 2.0,
        "head_with_cache": round(500 / 60, 2),
        "whole": round(900 / 260, 2),
    }
