"""The controlled comparison, on the tiny network: what it trains, resumes and records."""

import json

import numpy as np
import pytest

from benchmarks.experiments import comparison
from benchmarks.experiments.comparison import COMPARED, controlled_config
from benchmarks.experiments.latency import save_untrained
from benchmarks.measures.flops import count_flops
from benchmarks.measures.significance import mcnemar
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
    if phase.name == "head":
        assert (config.weights, config.head) == ("imagenet", "linear")


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


def test_networks_are_trained_once_ranked_and_compared_on_the_same_images(
    tiny_comparison, dataset, tmp_path, monkeypatch
):
    runs = tmp_path / "runs"
    comparison.comparison(runs, tmp_path, ["tiny_linear"], seeds=[1], store=tmp_path)
    comparison.comparison(runs, tmp_path, ["tiny_linear"], seeds=[0], store=tmp_path)
    result = comparison.comparison(runs, tmp_path, ["tiny_dense"], seeds=[0], store=tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text()) == result
    rows = {row["model"]: row for row in result["models"]}
    assert set(rows) == {"tiny_linear", "tiny_dense"}
    means = [row["accuracy_mean"] for row in result["models"]]
    assert means == sorted(means, reverse=True)
    linear, dense = rows["tiny_linear"], rows["tiny_dense"]
    assert [one["seed"] for one in linear["runs"]] == [0, 1]
    assert linear["accuracy_mean"] == pytest.approx(np.mean([one["accuracy"] for one in linear["runs"]]))
    assert linear["accuracy_interval"][0] <= linear["accuracy_mean"] <= linear["accuracy_interval"][1]
    assert dense["accuracy_deviation"] is None
    assert linear["flops"] > 0 and linear["status"] == "study"
    timed = max(linear["runs"], key=lambda one: one["seconds"]["cache"])
    assert linear["cpu_seconds"] == timed["cpu_seconds"] > 0
    assert linear["training_seconds"] == timed["seconds"]["head"] > 0
    assert linear["frozen_seconds"] == timed["seconds"]["cache"] > 0
    assert all({"hardware", "date", "git_commit"} <= one.keys() for one in linear["runs"])
    assert (
        len(curve := linear["runs"][0]["curve"]) == 3 and curve[linear["epochs_to_converge"] - 1] >= max(curve) - 0.01
    )
    (pair,) = result["pairs"]
    right = {name: comparison._correct(runs / "comparison" / f"{name[5:]}-seed0") for name in rows}
    assert right["tiny_linear"].mean() == pytest.approx(linear["runs"][0]["accuracy"])
    assert {key: pair[key] for key in ("only_first", "only_second", "p")} == mcnemar(
        right[pair["first"]], right[pair["second"]]
    )
    assert not list((runs / "comparison").glob(".*-cache"))
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir=None: pytest.fail("finished runs are not run again"))
    assert (
        comparison.comparison(runs, tmp_path, ["tiny_linear"], seeds=[0, 1], store=tmp_path)["models"]
        == result["models"]
    )


def test_served_networks_are_live_and_another_budget_is_refused(tiny_comparison, saved_models, tmp_path):
    store = tmp_path / "store"
    comparison.comparison(tmp_path, tmp_path, ["tiny_linear"], seeds=[0], store=store)
    card = json.loads((saved_models / "tiny_a" / "card.json").read_text())
    (store / "one").mkdir(parents=True)
    (store / "one" / "card.json").write_text(json.dumps(card | {"name": "tiny_linear"}))
    result = comparison.comparison(tmp_path, tmp_path, ["tiny_dense"], seeds=[0], store=store)
    assert {row["model"]: row["status"] for row in result["models"]} == {"tiny_linear": "live", "tiny_dense": "study"}
    result["budget"]["epochs"] = 7
    (tmp_path / "comparison.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match="another setting: budget"):
        comparison.comparison(tmp_path, tmp_path, ["tiny_dense"], seeds=[0], store=store)


def test_an_unknown_network_is_refused(tmp_path):
    with pytest.raises(ValueError, match="vgg61"):
        comparison.comparison(tmp_path, tmp_path, ["vgg61"])


def test_an_untrained_network_is_the_one_that_is_compared(tmp_path):
    config = controlled_config("custom_cnn", 0)
    saved = load_saved(save_untrained("custom_cnn", tmp_path))
    assert saved.card.parameters == parameter_counts(create_model("custom_cnn", weights=None, head=config.head))
    assert OnnxModel(tmp_path / "model.onnx").output_count == 3, "Grad-CAM's too, as it is served"
    assert count_flops(tmp_path / "model.onnx") > 1e6
