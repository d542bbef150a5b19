"""Recipes are complete, fit the networks that they name, and state the numbers of their sources and results."""

import dataclasses
import functools
import json
import re
import shlex
from collections import Counter, defaultdict
from pathlib import Path
from statistics import mean

import keras
import numpy as np
import pytest

import train
from models.registry import create_model, list_models, model_spec
from training import run
from training.config import TrainingConfig, make_config
from training.freezing.boundary import resolve_unfreeze
from training.recipes import default_recipe, list_recipes, load_recipe, recipe_doc, robust, strong
from training.recipes.recipe import PhaseConfig
from training.run import Run

RESULTS = Path(train.__file__).parent / "results"


@pytest.mark.parametrize("network", list_models())
def test_every_network_has_a_default_recipe(network):
    config = make_config(model=network)
    assert config.recipe == default_recipe(network)
    assert config.phases[-1].name == model_spec(network).phases[-1]


@functools.cache
def skeleton(network: str, head: str, image_size: int) -> keras.Model:
    """Build a network's layers and shapes without weights."""
    with keras.StatelessScope():
        return create_model(network, weights=None, head=head, image_size=image_size)


@pytest.mark.parametrize(
    ("recipe", "network"),
    [
        (recipe, network)
        for recipe in list_recipes()
        for network in list_models()
        if load_recipe(recipe, network) != load_recipe(recipe, "any other")
    ],
)
def test_a_network_with_settings_of_its_own_can_be_trained_by_the_recipe(recipe, network):
    config = make_config(model=network, recipe=recipe)
    model = skeleton(network, config.head, config.image_size)
    assert 0 < resolve_unfreeze(model, config.unfreeze) < len(model.layers)


@pytest.fixture(scope="module")
def measured() -> dict[TrainingConfig, list[tuple[float, float]]]:
    """Return (test accuracy, minutes) of every run in the result files by its config, whatever its seed and precision."""
    accuracy, reference, comparison = (
        json.loads((RESULTS / f"{name}.json").read_text()) for name in ("accuracy", "reference", "comparison")
    )
    budget = [
        {**one, "command": f"python train.py --model {row['model']} --recipe controlled --phase {row['phase']}"}
        for row in comparison["models"]
        for one in row["runs"]
    ]
    found = {}
    for rows in (accuracy["runs"], reference["runs"], budget):  # a later file replaces the runs of an earlier one
        runs = defaultdict(list)
        for row in rows:
            runs[trained_by(row["command"])].append((row["accuracy"], row["seconds"]["total"] / 60))
        found |= runs
    return found


def trained_by(command: str) -> TrainingConfig:
    options = train.parse_arguments([*shlex.split(command)[2:], "--precision", "float32", "--seed", "0"])
    return train.configure(options)


@pytest.mark.parametrize("recipe", list_recipes())
def test_a_recipe_states_what_was_measured(recipe, measured):
    lines = re.findall(
        r"^    (python train\.py .*?)  +([\d.]+) %, n = (\d+), (\d+) min$", recipe_doc(recipe), re.MULTILINE
    )
    assert len(lines) == recipe_doc(recipe).count("python train.py") > 0
    for command, accuracy, n, minutes in lines:
        accuracies, times = zip(*measured[trained_by(command)], strict=True)
        stated = (f"{100 * mean(accuracies):.2f}", str(len(accuracies)), f"{mean(times):.0f}")
        assert (accuracy, n, minutes) == stated, command


def test_a_recipe_that_does_not_fit_the_network_is_refused(dataset, cache, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"recipe strong .*custom_cnn"):
        make_config(model="custom_cnn", recipe="strong")
    with pytest.raises(ValueError, match=r"recipe must be one of .*strong.*recipe='weak'"):
        load_recipe("weak", "custom_cnn")
    with pytest.raises(ValueError, match="epochs=5"):
        make_config("head", "mobilenet_v2", "strong", epochs=5)  # logistic regression has none
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: dataset)
    config = make_config(model="custom_cnn", recipe="speedrun", validation=12)
    with pytest.raises(ValueError, match="'whitening'.*model='custom_cnn'"):
        Run(config, tmp_path / "run").complete()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("network", ["efficientnet_lite0", "mobilenet_v2", "vgg16", "alexnet", "resnet18"])
def test_robust_is_strong_with_degraded_views_and_hard_labels_averaged_with_it(network):
    config = make_config(model=network, recipe="robust")
    (other, share), (own, rest) = config.members()
    assert (share, rest) == (0.35, 0.65)
    assert other == make_config(model=network, recipe="strong")
    assert own == make_config(model=network, recipe="robust", average_with="none")
    assert (own.views, own.phases[-1].label_smoothing) == (robust.VIEWS, 0)
    finetune = dataclasses.replace(own.phases[-1], label_smoothing=0.1, epochs=other.phases[-1].epochs)
    phases = (own.phases[0], finetune)
    assert dataclasses.replace(own, recipe="strong", views=strong.STRONG.views, phases=phases) == other


@pytest.mark.parametrize(
    ("model", "rate", "epochs", "decay", "augment", "triangle", "steps"),
    [
        # As many steps as theirs, which drops the last batch of 50,000.
        ("speedrun_cnn", 11.5, 9.9, 0.0153, ("translate",), (0.2, 0.23, 0.07), 476),
        ("speedrun_cnn_95", 10.0, 15, 0.0153, ("translate",), (0.2, 0.23, 0.07), 720),
        ("speedrun_cnn_96", 9.0, 37, 0.012, ("crop", "cutout_12"), (0.2, 0.1, 0.0), 1776),
    ],
)
def test_the_speedruns_have_the_papers_numbers(model, rate, epochs, decay, augment, triangle, steps):
    config = make_config(model=model)
    (phase,) = config.phases
    assert phase.learning_rate == pytest.approx(rate / (1 + 1 / 0.15))  # for a loss that is a mean, not a sum
    through_momentum = decay / (1 + 1 / 0.15) / 0.15  # a step's decay there, when it has passed through the momentum
    assert phase.weight_decay * phase.learning_rate == pytest.approx(through_momentum)
    assert (phase.epochs, phase.steps(49_000), phase.batch_size) == (epochs, steps, 1024)
    assert (phase.optimizer, phase.momentum, phase.label_smoothing, phase.bias_rate) == ("sgd", 0.85, 0.2, 64.0)
    assert (phase.schedule, phase.triangle, phase.average) == ("triangle", triangle, "lookahead")
    assert phase.freeze_at == (("whitening", 3),)
    assert (config.views, config.augment) == (("identity", "flip"), augment)
    weights = Counter(config.tta_views)
    assert weights.pop("identity") == weights.pop("flip") == 2  # half of all in the centre, half shifted by a pixel
    assert weights == dict.fromkeys(
        ("translate_1_1", "translate_-1_-1", "translate_1_1+flip", "translate_-1_-1+flip"), 1
    )


def test_a_speedrun_starts_from_whitening_patches_of_its_images(dataset, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: dataset)
    config = make_config(model="speedrun_cnn", epochs=1, validation=24, precision="float32")
    model, _ = Run(config, tmp_path / "run").train()
    kernel = np.asarray(model.get_layer("whitening").kernel)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])
    assert np.abs(kernel).max() > 1


@pytest.mark.parametrize(
    ("wrong", "token"),
    [
        ({"optimizer": "lion"}, "adam, adamw, sgd, logistic.*optimizer='lion'"),
        ({"schedule": "sine"}, "constant, cosine, triangle.*schedule='sine'"),
        ({"average": "polyak"}, "none, ema, lookahead.*average='polyak'"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"weight_decay": -1e-4}, "weight_decay=-0.0001"),
        ({"optimizer": "logistic"}, "logistic.*phase='finetune'"),
        ({"patience": 0}, "patience=0"),
        ({"epochs": float("inf")}, "epochs=inf"),
    ],
)
def test_a_phase_refuses_a_wrong_setting(wrong, token):
    with pytest.raises(ValueError, match=token):
        PhaseConfig("finetune", **wrong)
