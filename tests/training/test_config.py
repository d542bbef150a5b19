"""Run settings: what is left open is filled in, what is wrong is told."""

import json

import pytest

from training.config import PhaseConfig, TrainingConfig, make_config


def test_the_default_is_both_phases_of_the_reference_recipe():
    config = make_config()
    assert (config.model, config.weights, config.head, config.image_size, config.unfreeze) == (
        "mobilenet_v2",
        "imagenet",
        "dense",
        160,
        50,
    )
    assert [(phase.name, phase.learning_rate, phase.batch_size) for phase in config.phases] == [
        ("head", 1e-3, 32),
        ("finetune", 1e-5, 32),
    ]
    assert config.phases[1].epochs == 10


def test_from_scratch_the_learning_rate_falls():
    (phase,) = make_config(model="custom_cnn").phases
    assert (phase.name, phase.learning_rate, phase.schedule) == ("scratch", 1e-3, "cosine")


def test_an_unknown_schedule_is_told():
    with pytest.raises(
        ValueError, match="schedule must be one of constant, cosine, triangle. Received: schedule='sine'"
    ):
        PhaseConfig("head", learning_rate=1e-3, epochs=1, schedule="sine")


def test_a_head_alone_is_not_blended():
    assert make_config("head", recipe="robust").blend is None
    robust = make_config(recipe="robust")
    assert (robust.blend, robust.head_start().blend) == ("strong", None)


def test_options_override_the_recipe():
    config = make_config("finetune", epochs=2, batch_size=64, augment="flip", unfreeze="block_13", weights="none")
    assert [phase.epochs for phase in config.phases] == [20, 2]
    assert [phase.batch_size for phase in config.phases] == [64, 64]
    assert config.augment == ("flip",)
    assert config.weights is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nonsense"}, "model must be one of .*mobilenet_v2.*Received: model='nonsense'"),
        ({"model": "mobilenet"}, "Did you mean 'mobilenet_v2'"),
        ({"recipe": "secret"}, "recipe must be one of reference.*Received: recipe='secret'"),
        ({"phase": "scratch"}, "phase must be head or finetune for mobilenet_v2"),
        ({"model": "custom_cnn", "phase": "head"}, "phase must be scratch for custom_cnn"),
        ({"epochs": 0}, "epochs must be above 0. Received: epochs=0"),
        ({"batch_size": -4}, "batch_size must be at least 1. Received: batch_size=-4"),
        ({"augment": "flip,blur"}, "flip.*crop.*cutmix.*blur"),
        ({"limit": 5}, "limit must be at least 100 images. Received: limit=5"),
        ({"recipe": "robust", "blend": "robust"}, "blend must be none or one of reference.*Received: blend='robust'"),
        ({"recipe": "reference", "blend": "strong"}, "head must be linear to be solved for. Received: head='dense'"),
        ({"recipe": "strong", "blend": "robust", "blend_share": 1}, "blend_share must be between 0 and 1"),
        ({"cache_dtype": "int8"}, "cache_dtype must be float16 or float32"),
    ],
)
def test_a_wrong_value_is_told(options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make_config(**options)


@pytest.mark.parametrize(
    "options", [{"augment": "flip,crop", "unfreeze": "block_13", "limit": 200}, {"model": "speedrun_cnn"}]
)
def test_a_config_comes_back_from_its_file(tmp_path, options):
    config = make_config(**options)
    config.save(tmp_path / "config.json", {"command": "train"})
    assert TrainingConfig.load(tmp_path / "config.json") == config


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"config": {"model": "custom_cnn", "colour": 1}})])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="is not a training config"):
        TrainingConfig.load(tmp_path / "config.json")


def test_a_weight_file_is_kept_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pt").touch()
    assert make_config("head", weights="mine.pt").weights == str(tmp_path / "mine.pt")
