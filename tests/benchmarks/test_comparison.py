"""The controlled comparison, on the tiny network: what it trains, resumes and records."""

import json

import numpy as np
import pytest

from benchmarks.experiments import comparison
from benchmarks.experiments.comparison import COMPARED, controlled_config
from benchmarks.experiments.latency import save_untrained
from benchmarks.measures.flops import count_flops
from models.registry import create_model
from models.saved.onnx_model import OnnxModel
from training import run
from training.config import TrainingConfig, make_config
from training.export.saved_model import load_saved, parameter_counts


@pytest.mark.parametrize("model", COMPARED)
def test_all_share_one_budget(model):
    config = controlled_config(model, 2)
    (phase,) = config.phases
    assert (phase.optimizer, phase.learning_rate, phase.epochs, phase.batch_size) == ("adam", 1e-3, 15, 128)
    assert phase.patience == 15  # the best epoch is kept, and none ends early
    assert (config.augment, config.views, config.seed, config.validation) == ((), (), 2, None)


@pytest.fixture
def tiny_comparison(tiny_training, dataset, monkeypatch):
    """Two networks to compare: the tiny one with either head."""
    monkeypatch.setattr(comparison, "load_cifar10", lambda: dataset)
    heads = {"tiny_linear": "linear", "tiny_dense": "dense"}

    def tiny_config(model, seed):
        options = {"weights": "none", "epochs": 3, "head": heads[model], "seed": seed}
        return make_config("head", tiny_training, "controlled", **options)

    monkeypatch.setattr(comparison, "controlled_config", tiny_config)
    monkeypatch.setattr(TrainingConfig, "name", property(lambda config: f"{config.head}-seed{config.seed}"))
    monkeypatch.setattr(comparison, "COMPARED", tuple(heads))


@pytest.fixture
def measure(tiny_comparison, options, tmp_path):
    return lambda model, *seeds: comparison.run(options(models=[model], seeds=seeds), tmp_path / "store")


def test_networks_are_trained_once_ranked_and_compared(measure, saved_models, tmp_path, monkeypatch):
    measure("tiny_linear", 1)
    card = json.loads((saved_models / "tiny_a" / "card.json").read_text()) | {"name": "tiny_linear"}
    (tmp_path / "store" / "one").mkdir(parents=True)
    (tmp_path / "store" / "one" / "card.json").write_text(json.dumps(card))
    measure("tiny_linear", 0)
    result = measure("tiny_dense", 0)
    assert json.loads((tmp_path / "comparison.json").read_text()) == result
    rows = {row["model"]: row for row in result["models"]}
    assert {name: row["status"] for name, row in rows.items()} == {"tiny_linear": "live", "tiny_dense": "study"}
    means = [row["accuracy_mean"] for row in result["models"]]
    assert means == sorted(means, reverse=True)
    linear, dense = rows["tiny_linear"], rows["tiny_dense"]
    assert [one["seed"] for one in linear["runs"]] == [0, 1] and dense["accuracy_deviation"] is None
    assert linear["accuracy_mean"] == pytest.approx(np.mean([one["accuracy"] for one in linear["runs"]]))
    assert linear["accuracy_interval"][0] <= linear["accuracy_mean"] <= linear["accuracy_interval"][1]
    assert linear["flops"] > 0 and linear["frozen_seconds"] > 0 and linear["training_seconds"] > 0
    curve = linear["runs"][0]["curve"]
    assert len(curve) == 3 and curve[linear["epochs_to_converge"] - 1] >= max(curve) - 0.01
    (pair,) = result["pairs"]
    gap = 80 * (rows[pair["first"]]["runs"][0]["accuracy"] - rows[pair["second"]]["runs"][0]["accuracy"])
    assert pair["only_first"] - pair["only_second"] == pytest.approx(gap), "of 80 test images"
    assert not list((tmp_path / "runs" / "comparison").glob(".*-cache"))
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir=None: pytest.fail("finished runs are not trained again"))
    assert measure("tiny_linear", 0, 1)["models"] == result["models"]


def test_runs_of_another_budget_are_not_mixed_in(measure, tmp_path):
    (tmp_path / "comparison.json").write_text(json.dumps({"budget": {"epochs": 7}, "models": []}))
    with pytest.raises(ValueError, match="budget"):
        measure("tiny_linear", 0)


def test_an_unknown_network_is_refused(options):
    with pytest.raises(ValueError, match="vgg61"):
        comparison.run(options(models=["vgg61"], seeds=[0]))


def test_an_untrained_network_is_the_one_that_is_compared(tmp_path):
    config = controlled_config("custom_cnn", 0)
    saved = load_saved(save_untrained("custom_cnn", tmp_path))
    assert saved.card.parameters == parameter_counts(create_model("custom_cnn", weights=None, head=config.head))
    assert OnnxModel(tmp_path / "model.onnx").output_count == 3, "Grad-CAM's too, as it is served"
    assert count_flops(tmp_path / "model.onnx") > 1e6
