"""Recipes are complete, fit the networks that they name, and hold the numbers that their sources state."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

import training.config
from models.registry import create_model, list_models, model_spec
from training import run
from training.config import make_config, with_precision
from training.data.views import VIEW_SETS
from training.freezing.boundary import resolve_unfreeze
from training.recipes import MADE_FOR, RECIPES, PhaseConfig, find_recipe
from training.run import Run


@pytest.mark.parametrize("network", list_models())
def test_every_network_has_a_default_recipe(network):
    config = make_config(model=network)
    assert config.recipe == MADE_FOR.get(network, "reference")
    assert config.phases[-1].name == model_spec(network).phases[-1]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_network_that_a_recipe_names_can_be_trained_by_it(recipe):
    for network in RECIPES[recipe].networks:
        config = make_config(model=network, recipe=recipe)
        model = create_model(network, weights=None, head=config.head, image_size=config.image_size)
        assert 0 < resolve_unfreeze(model, config.unfreeze) < len(model.layers)


def test_a_recipe_without_the_networks_phases_is_refused():
    with pytest.raises(ValueError, match="recipe strong has no phase that custom_cnn is trained in"):
        make_config(model="custom_cnn", recipe="strong")
    with pytest.raises(ValueError, match="recipe must be one of reference, .*strong.*Received: recipe='weak'"):
        find_recipe("weak", "custom_cnn")


def test_a_recipe_for_another_network_is_refused_before_anything_is_trained(dataset, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: dataset)
    config = make_config(model="custom_cnn", recipe="speedrun", validation=12)
    with pytest.raises(
        ValueError, match="recipe speedrun is for networks with a layer 'whitening'. .*model='custom_cnn'"
    ):
        Run(config, tmp_path / "run").complete()
    assert not (tmp_path / "run").exists()


def test_a_solved_head_has_no_epochs_to_choose():
    with pytest.raises(
        ValueError, match="strong solves for the head: there is no epochs to choose. Received: epochs=5"
    ):
        make_config("head", "mobilenet_v2", "strong", epochs=5)


def test_validation_sees_the_first_view():
    with pytest.raises(ValueError, match="first view must be identity"):
        make_config(views="mirror,identity")
    assert make_config(views="identity, mirror").views == ("identity", "flip")
    assert make_config(recipe="strong", views="none").views == ()


def test_robust_is_strong_on_other_views_and_hard_labels():
    strong, robust = (make_config(model="efficientnet_lite0", recipe=name) for name in ("strong", "robust"))
    assert robust.views == VIEW_SETS["robust"]
    assert [phase.label_smoothing for phase in robust.phases] == [0.0, 0.0]
    finetune = dataclasses.replace(robust.phases[-1], label_smoothing=0.1, epochs=8)
    (other, share), (alone, rest) = robust.parts()
    same = dataclasses.replace(alone, recipe="strong", views=strong.views, phases=(robust.phases[0], finetune))
    assert same == strong == other
    assert (share, rest) == (0.35, 0.65)
    assert alone == make_config(model="efficientnet_lite0", recipe="robust", blend="none")


def test_a_choice_overrules_the_recipe():
    config = make_config(model="mobilenet_v2", recipe="strong", epochs=2.5, views=("identity",), validation=500)
    assert (config.phases[-1].epochs, config.views, config.validation) == (2.5, ("identity",), 500)
    assert config.phases[-1].whole_epochs == 3
    assert make_config(model="speedrun_cnn", augment="none").augment == ()


def test_a_network_may_have_settings_of_its_own_in_a_recipe(monkeypatch):
    monkeypatch.setattr(training.config, "computes_bfloat16", lambda: True)
    config = make_config(model="alexnet", recipe="strong")
    assert (config.image_size, config.precision, config.phases[-1].learning_rate) == (128, "mixed_bfloat16", 1e-4)
    assert (
        make_config(model="alexnet", recipe="strong", learning_rate=2e-4, image_size=96).phases[-1].learning_rate
        == 2e-4
    )
    assert make_config(model="mobilenet_v2", recipe="strong").phases[-1].learning_rate == 5e-4


def test_a_recipe_does_not_choose_bfloat16_where_it_is_slow(monkeypatch, caplog):
    caplog.set_level("INFO")
    for fast, chosen, precision in (
        (True, None, "mixed_bfloat16"),
        (False, None, "float32"),
        (False, "mixed_bfloat16", "mixed_bfloat16"),
        (True, "float32", "float32"),
    ):
        monkeypatch.setattr(training.config, "computes_bfloat16", lambda fast=fast: fast)
        assert make_config(model="speedrun_cnn", precision=chosen).precision == precision
    assert caplog.messages == ["Trains in float32: this processor has no AVX-512, without which bfloat16 is slow."]


def test_the_speedrun_has_the_papers_numbers():
    config = make_config(model="speedrun_cnn")
    (phase,) = config.phases
    assert phase.learning_rate == pytest.approx(11.5 / (1 + 1 / 0.15))  # for a loss that is a mean, not a sum
    through_momentum = 0.0153 / (1 + 1 / 0.15) / 0.15  # a step's decay there, when it has passed through the momentum
    assert phase.weight_decay * phase.learning_rate == pytest.approx(through_momentum)
    assert phase.steps(49_000) == 476  # as many as theirs, which drops the last batch of 50,000
    assert (phase.optimizer, phase.momentum, phase.batch_size, phase.epochs) == ("sgd", 0.85, 1024, 9.9)
    assert (phase.label_smoothing, phase.bias_rate, phase.freeze_at) == (0.2, 64.0, (("whitening", 3),))
    assert (phase.schedule, phase.triangle, phase.average) == ("triangle", (0.2, 0.23, 0.07), "lookahead")
    assert (config.views, config.augment) == (("identity", "flip"), ("translate",))
    weights = Counter(config.test_views)
    assert weights.pop("identity") == weights.pop("flip") == 2  # half of all in the centre, half shifted by a pixel
    assert weights == dict.fromkeys(
        ("translate_1_1", "translate_-1_-1", "translate_1_1+flip", "translate_-1_-1+flip"), 1
    )


@pytest.mark.parametrize(
    ("model", "rate", "epochs", "decay", "augment", "triangle"),
    [
        ("speedrun_cnn_95", 10.0, 15, 0.0153, ("translate",), (0.2, 0.23, 0.07)),
        ("speedrun_cnn_96", 9.0, 37, 0.012, ("crop", "cutout_12"), (0.2, 0.1, 0.0)),
    ],
)
def test_the_wider_speedruns_have_the_papers_numbers(model, rate, epochs, decay, augment, triangle):
    config = make_config(model=model)
    (phase,) = config.phases
    assert phase.learning_rate == pytest.approx(rate / (1 + 1 / 0.15)) and phase.epochs == epochs
    assert phase.weight_decay * phase.learning_rate == pytest.approx(decay / (1 + 1 / 0.15) / 0.15)
    assert (config.augment, phase.triangle) == (augment, triangle)


def test_a_speedrun_starts_from_whitening_patches_of_its_images(dataset, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: dataset)
    config = make_config(model="speedrun_cnn", epochs=1, validation=24, precision="float32")
    model, _ = Run(config, tmp_path / "run").train()
    kernel = np.asarray(model.get_layer("whitening").kernel)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])
    assert np.abs(kernel).max() > 1


def test_what_a_network_has_of_its_own_is_not_for_a_solved_head():
    head = make_config("head", "alexnet", "strong").phases[-1]
    assert head == RECIPES["strong"].phases["head"]


def test_a_command_names_the_precision_that_the_machine_chose(monkeypatch):
    monkeypatch.setattr(training.config, "computes_bfloat16", lambda: False)
    speedrun, reference = make_config(model="speedrun_cnn"), make_config()
    command = "python train.py --model speedrun_cnn"
    assert with_precision(command, speedrun) == f"{command} --precision float32"
    assert with_precision(f"{command} --precision float32", speedrun) == f"{command} --precision float32"
    assert with_precision("python train.py", reference) == "python train.py"
    assert with_precision("", speedrun) == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of adam, adamw, sgd, logistic. Received: optimizer='lion'"),
        ({"average": "polyak"}, "average must be one of none, ema, lookahead. Received: average='polyak'"),
        ({"label_smoothing": 1.0}, "label_smoothing must be below 1"),
        ({"weight_decay": -1e-4}, "weight_decay must be at least 0"),
        ({"optimizer": "logistic"}, "logistic is for phase head alone"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"epochs": float("inf")}, "epochs must be a finite number"),
    ],
)
def test_a_wrong_setting_is_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        PhaseConfig("finetune", **wrong)


def test_what_needs_a_linear_head_says_so():
    with pytest.raises(ValueError, match="head must be linear to be solved for. Received: head='dense'"):
        make_config(model="mobilenet_v2", recipe="strong", head="dense")
