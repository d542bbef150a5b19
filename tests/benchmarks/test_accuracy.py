"""Measurements of the recipes, on the tiny network: what they record, what they may not look at, and the tables they fill."""

import dataclasses
import json
import statistics

import pytest

from benchmarks.experiments import accuracy as measure_recipes
from benchmarks.experiments.accuracy import Goal
from benchmarks.report import tables
from models.registry import create_model
from training import run
from training.checkpoint import TrainingState
from training.config import make_config
from training.freezing.boundary import resolve_unfreeze
from training.run import Run


def test_each_goal_is_trained_once_and_other_rows_stay(tiny_recipes, tmp_path, monkeypatch):
    goals = (
        Goal(tiny_recipes, {"recipe": "reference"}),
        Goal(tiny_recipes, {"recipe": "reference", "views": "identity,mirror"}),
        Goal(tiny_recipes, {"recipe": "strong"}, 0.3, 0.4),
    )
    monkeypatch.setattr(measure_recipes, "GOALS", goals)
    measure_recipes.accuracy(tmp_path / "runs", tmp_path)
    monkeypatch.setattr(measure_recipes, "GOALS", goals[2:])
    result = measure_recipes.accuracy(tmp_path / "runs", tmp_path, seeds=[1])
    recipes = [(row["recipe"], row["seed"]) for row in result["runs"]]
    assert recipes == [("reference", 0), ("reference", 0), ("strong", 0), ("strong", 1)]
    reference, changed, strong, other = result["runs"]
    assert changed["command"] == f"{reference['command']} --views identity,mirror"
    assert reference["accuracy_tta"] is None
    assert 0.3 < strong["accuracy_tta"] <= 1
    assert strong["command"] == f"python train.py --model {tiny_recipes} --recipe strong"
    assert json.loads((tmp_path / "accuracy.json").read_text()) == result
    table = tables._accuracy(result, {})
    assert f"| `{tiny_recipes}`, reference `--views identity,mirror` |" in table
    mean = {**strong, **{name: (strong[name] + other[name]) / 2 for name in ("accuracy", "accuracy_tta")}}
    spread = 100 * statistics.stdev((strong["accuracy"], other["accuracy"]))
    assert (
        f"**{mean['accuracy']:.2%}** ± {spread:.2f} | {mean['accuracy_tta']:.2%} | 2 | {tables._verdict(mean)} |"
        in table
    )
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir=None: pytest.fail("finished runs are not run again"))
    monkeypatch.setattr(measure_recipes, "GOALS", goals)
    assert measure_recipes.accuracy(tmp_path / "runs", tmp_path, [tiny_recipes])["runs"] == result["runs"]
    with pytest.raises(ValueError, match="models must be of tiny. Received: 'vgg61'"):
        measure_recipes.accuracy(tmp_path / "runs", tmp_path, ["vgg61"])
    only = measure_recipes.accuracy(tmp_path / "runs", tmp_path / "only", word="strong")["runs"]
    assert [row["command"] for row in only] == [strong["command"]]
    with pytest.raises(
        ValueError, match="word must be one of a command: python train.py .*strong. Received: word='str"
    ):
        measure_recipes.accuracy(tmp_path / "runs", tmp_path, word="stro")
    with pytest.raises(ValueError, match="at least one seed is needed"):
        measure_recipes.accuracy(tmp_path / "runs", tmp_path, seeds=())


@pytest.mark.parametrize(
    ("accuracy", "averaged", "seconds", "verdict"),
    [
        (0.92, None, 3600, "92.0% in 60 min: reached"),
        (0.92, None, 3700, "92.0% in 60 min: reached, too late"),
        (0.9, 0.93, 60, "92.0% in 60 min: reached, averaged"),
        (0.9, 0.93, 3700, "92.0% in 60 min: reached, averaged, too late"),
        (0.9, 0.91, 60, "92.0% in 60 min: missed"),
        (0.9, None, 9999, "92.0% in 60 min: missed"),
    ],
)
def test_a_target_that_only_the_average_reaches_or_too_late_says_so(accuracy, averaged, seconds, verdict):
    run = {"accuracy": accuracy, "accuracy_tta": averaged, "target": 0.92, "minutes": 60, "seconds": {"total": seconds}}
    assert tables._verdict(run) == verdict
    assert tables._verdict({**run, "target": None}) == "–"


TRIED = (
    "the recipe as it is",
    "no head first: fine-tuned from a random one",
    "two views: identity, mirror",
    "weights averaged (EMA)",
    "MixUp 0.2 on cached activations",
)


def test_the_ablation_changes_one_thing_at_a_time(tiny_recipes, unseen, tmp_path, monkeypatch):
    monkeypatch.setattr(measure_recipes, "CHANGES", {change: measure_recipes.CHANGES[change] for change in TRIED})
    options = {"image_size": 16, "epochs": 1}
    measure_recipes.ablation(tmp_path / "runs", tmp_path, ["EMA"], **options)
    result = measure_recipes.ablation(tmp_path / "runs", tmp_path, ["as it is", "no head", "two", "MixUp"], **options)
    assert [row["change"] for row in result["runs"]] == [TRIED[0], measure_recipes.VIEWS_AVERAGED, *TRIED[1:]]
    with pytest.raises(ValueError, match="changes must be words of: the recipe as it is; .* Received: 'XXL'"):
        measure_recipes.ablation(tmp_path / "runs", tmp_path, ["XXL"], **options)
    with pytest.raises(ValueError, match="holds runs of 1 epochs at 16 pixels: move it away first"):
        measure_recipes.ablation(tmp_path / "runs", tmp_path, ["EMA"], image_size=16, epochs=2)
    without = {**result, "runs": [row for row in result["runs"] if not row["change"].startswith("the recipe")]}
    assert "| – |" in tables._ablation(without, {}) and "+0.00" not in tables._ablation(without, {})
    rows = {row["change"]: row for row in result["runs"]}
    base = rows.pop("the recipe as it is")
    rows.pop(measure_recipes.VIEWS_AVERAGED)
    assert all(row["validation_loss"] != base["validation_loss"] for row in rows.values())
    assert result["validation_images"] == 24
    table = tables._ablation(result, {})
    assert table.count("\n|") == len(TRIED) + 2
    assert "| +0.00 |" in table


@pytest.fixture(scope="module")
def mobilenet():
    return create_model("mobilenet_v2", weights=None, head="linear", image_size=96)


@pytest.mark.parametrize("change", list(measure_recipes.CHANGES)[1:])
def test_every_change_of_the_ablation_is_one_setting(change, mobilenet):
    def settings(changes):
        config = dataclasses.asdict(measure_recipes.shortened_strong(96, 4, changes[0], **changes[1]))
        phases = {phase["name"]: phase for phase in config.pop("phases")}
        return {**config, "phase head": phases.get("head"), **phases["finetune"]}

    base, changed = settings(({}, {})), settings(measure_recipes.CHANGES[change])
    differs = {name for name in base if base[name] != changed[name]}
    assert changed["unfreeze"] == base["unfreeze"] or resolve_unfreeze(mobilenet, changed["unfreeze"]) > 0
    assert len(differs) == 1 or differs in ({"optimizer", "learning_rate", "momentum"}, {"schedule", "warmup"})


def test_time_to_accuracy_counts_the_frozen_layers_and_stops_at_validation(tiny_recipes, unseen, tmp_path):
    result = measure_recipes.time_to_accuracy(tmp_path / "runs", tmp_path)
    strong, reference, plain = result["runs"]
    assert [point["phase"] for point in strong["curve"]] == ["head", "finetune"]
    assert reference["curve"][0]["accuracy"] == pytest.approx(plain["curve"][0]["accuracy"], abs=0.05)
    assert (tmp_path / "time_to_accuracy.png").stat().st_size > 10_000
    assert "results/time_to_accuracy.png" in tables._time_to_accuracy(result, {})


def test_the_clock_of_a_curve_starts_before_the_frozen_layers(tmp_path):
    run_ = Run(make_config(model="custom_cnn"), tmp_path)
    run_.state = TrainingState(seconds={"cache": 100.0})
    for accuracy in (0.5, 0.6):
        run_.state.history.append({"phase": "head", "val_accuracy": accuracy, "seconds": 7.0})
    assert [point["seconds"] for point in measure_recipes._curve(run_)] == [107.0, 114.0]


def test_the_plain_way_is_short_and_has_no_cache(tiny_recipes, unseen, tmp_path, monkeypatch):
    ways = {}
    monkeypatch.setattr(Run, "trained", lambda run_: ways.setdefault(run_.folder.name, run_.config))
    monkeypatch.setattr(measure_recipes, "_curve", lambda run_: [{"seconds": 1.0, "phase": "head", "accuracy": 0.5}])
    measure_recipes.time_to_accuracy(tmp_path / "runs", tmp_path)
    assert {name: config.cache for name, config in ways.items()} == {
        "strong": True,
        "reference": True,
        "plain-keras": False,
    }
    assert {phase.name: phase.epochs for phase in ways["plain-keras"].phases} == measure_recipes.PLAIN_EPOCHS


def test_the_time_until_an_accuracy_is_that_of_the_first_epoch_there():
    curve = [
        {"seconds": 60.0, "accuracy": 0.89},
        {"seconds": 90.0, "accuracy": 0.93},
        {"seconds": 99.0, "accuracy": 0.91},
    ]
    assert measure_recipes._seconds_until(curve) == {"90%": 90.0, "92%": 90.0, "94%": None}
