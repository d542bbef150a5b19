"""Measurements, on the tiny network: what they compute from the runs that they make."""

import json

import pytest

from training import measure, run
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
    (tmp_path / "results").mkdir()
    recorded = {"runs": [{"phase": "finetune", "epochs": {"head": 12, "finetune": 10}}]}
    (tmp_path / "results" / "reference.json").write_text(json.dumps(recorded))
    result = measure.training_cost(tmp_path / "results", epochs=1)
    cached, plain = result["cached"]["seconds"], result["plain"]["seconds"]
    assert cached["cache"] > 0
    assert result["ratios"]["measured"]["finetune_epoch"] == pytest.approx(
        plain["finetune"] / cached["finetune"], abs=0.01
    )
    whole = (12 * plain["head"] + 10 * plain["finetune"]) / (
        cached["cache"] + 12 * cached["head"] + 10 * cached["finetune"]
    )
    assert result["ratios"]["recipe"]["whole"] == pytest.approx(whole, abs=0.01)
    assert result["accuracy_difference"] == result["cached"]["accuracy"] - result["plain"]["accuracy"]
