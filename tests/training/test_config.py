"""Run settings: the recipe's, overridden by the user's, and an error for a wrong value."""

import json

import pytest

import training.config
from training.config import TrainingConfig, make_config, with_precision
from training.recipes import robust


def test_the_default_is_both_phases_of_the_reference_recipe():
    config = make_config()
    assert (config.model, config.weights, config.head) == ("mobilenet_v2", "imagenet", "dense")
    assert (config.image_size, config.unfreeze) == (160, 50)
    head, finetune = config.phases
    assert (head.name, head.learning_rate, head.batch_size) == ("head", 1e-3, 32)
    assert (finetune.name, finetune.learning_rate, finetune.batch_size, finetune.epochs) == ("finetune", 1e-5, 32, 10)


def test_options_override_the_recipe():
    config = make_config("finetune", epochs=2.5, batch_size=64, augment="flip", unfreeze="block_13", weights="none")
    assert [(phase.epochs, phase.batch_size) for phase in config.phases] == [(20, 64), (2.5, 64)]
    assert config.phases[-1].whole_epochs == 3
    assert (config.augment, config.unfreeze, config.weights) == (("flip",), "block_13", None)
    config = make_config("finetune", "alexnet", "strong", learning_rate=2e-4, image_size=96, validation=500)
    assert (config.phases[-1].learning_rate, config.image_size, config.validation) == (2e-4, 96, 500)
    assert make_config(model="speedrun_cnn", augment="none").augment == ()


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("identity, mirror", ("identity", "flip")),
        ("none", ()),
        (" robust ", robust.VIEWS),
        (("identity",), ("identity",)),
    ],
)
def test_views_are_given_by_names_or_by_the_name_of_a_set(text, views):
    assert make_config(recipe="strong", views=text).views == views


def test_the_head_phase_alone_is_not_averaged():
    assert make_config("head", recipe="robust").average_with is None
    config = make_config(recipe="robust")
    assert (config.average_with, config.head_start().average_with) == ("strong", None)


@pytest.mark.parametrize(("validation", "limit"), [(None, None), (24, 300)])
def test_both_members_have_the_same_validation_split(tiny_network, validation, limit):
    choices = {"weights": "none", "head": "linear", "average_with": "strong"}
    config = make_config("finetune", tiny_network, "reference", **choices, validation=validation, limit=limit)
    assert {(member.validation, member.limit) for member, _ in config.members()} == {(validation, limit)}


@pytest.mark.parametrize(
    ("options", "token"),
    [
        ({"model": "nonsense"}, "model='nonsense'"),
        ({"recipe": "secret"}, "reference.*recipe='secret'"),
        ({"phase": "scratch"}, "head or finetune.*mobilenet_v2.*phase='scratch'"),
        ({"model": "custom_cnn", "phase": "head"}, "scratch.*custom_cnn.*phase='head'"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": -4}, "batch_size=-4"),
        ({"augment": "flip,blur"}, "flip.*crop.*cutmix.*blur"),
        ({"views": "mirror,identity"}, "identity.*views="),
        ({"limit": 5}, "100.*limit=5"),
        ({"recipe": "strong", "head": "dense"}, "linear.*head='dense'"),
        ({"recipe": "robust", "average_with": "robust"}, "reference.*average_with='robust'"),
        ({"recipe": "reference", "average_with": "strong"}, "linear.*head='dense'"),
        ({"recipe": "strong", "average_with": "robust", "average_share": 1}, "average_share=1"),
        ({"cache_dtype": "int8"}, "float16.*float32.*cache_dtype='int8'"),
    ],
)
def test_a_wrong_value_is_refused(options, token):
    with pytest.raises(ValueError, match=f"(?s){token}"):
        make_config(**options)


@pytest.mark.parametrize(
    "options",
    [{"augment": "flip,crop", "unfreeze": "block_13", "limit": 200}, {"model": "speedrun_cnn"}, {"recipe": "robust"}],
)
def test_a_saved_config_loads_again(tmp_path, options):
    config = make_config(**options)
    config.save(tmp_path / "config.json", {"command": "train"})
    assert TrainingConfig.load(tmp_path / "config.json") == config


def test_the_file_of_an_older_version_is_read(tmp_path):
    config = make_config(recipe="robust")
    config.save(tmp_path / "config.json", {})
    text = (tmp_path / "config.json").read_text()
    for old, new in (("blend", "average_with"), ("blend_share", "average_share"), ("test_views", "tta_views")):
        assert text.count(f'"{new}"') == 1
        text = text.replace(f'"{new}"', f'"{old}"')
    (tmp_path / "config.json").write_text(text)
    assert TrainingConfig.load(tmp_path / "config.json") == config


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"config": {"model": "custom_cnn", "colour": 1}})])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        TrainingConfig.load(tmp_path / "config.json")


def test_a_weight_file_is_kept_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pt").touch()
    assert make_config("head", weights="mine.pt").weights == str(tmp_path / "mine.pt")


@pytest.mark.parametrize(
    ("fast", "chosen", "precision"),
    [
        (True, None, "mixed_bfloat16"),
        (False, None, "float32"),
        (False, "mixed_bfloat16", "mixed_bfloat16"),
        (True, "float32", "float32"),
    ],
)
def test_bfloat16_is_the_default_only_where_it_is_fast(monkeypatch, fast, chosen, precision):
    monkeypatch.setattr(training.config, "computes_bfloat16", lambda: fast)
    config = make_config(model="speedrun_cnn", precision=chosen)
    assert config.precision == precision
    command = "python train.py --model speedrun_cnn"
    assert with_precision(command, config) == f"{command} --precision {precision}"
    assert with_precision(f"{command} --precision float32", config) == f"{command} --precision float32"
    assert with_precision("", config) == ""
    assert with_precision("python train.py", make_config()) == "python train.py"
