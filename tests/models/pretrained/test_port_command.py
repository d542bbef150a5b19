"""The port command: a checkpoint becomes a Keras file and is converted back; what does not fit is refused."""

import re

import keras
import numpy as np
import pytest
from recordings import random_tensors
from weight_files import save_pt

from models.pretrained import port
from models.pretrained.checkpoints import read_state_dict
from models.registry import build_model, model_spec


@pytest.fixture
def tensors():
    """The state dict of the PyTorch original with 1000 classes."""
    shapes = {"features.0.weight": (4, 3, 3, 3), "features.0.bias": (4,), "fc.weight": (1000, 4), "fc.bias": (1000,)}
    return random_tensors(shapes)


@pytest.fixture
def port_file(two_conventions, capsys):
    """Port one file to another; return the exit status and what was written to standard error."""

    def port_file(source, target, *options):
        arguments = ("--model", two_conventions, "--from", source, "--to", target, *options)
        return port.main([str(argument) for argument in arguments]), capsys.readouterr().err

    return port_file


def test_there_and_back_with_the_classifier(port_file, tensors, tmp_path):
    path, target, back = save_pt(tensors, tmp_path / "a.pth"), tmp_path / "a.keras", tmp_path / "back.safetensors"
    assert port_file(path, target, "--classes", 1000, "--image-size", 64) == (0, "")
    assert port_file(target, back) == (0, "")
    returned = read_state_dict(back)
    assert returned.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(returned[name], array, err_msg=name)
    model = keras.models.load_model(target)
    assert (model.input_shape, model.output_shape) == ((None, 64, 64, 3), (None, 1000))


def test_without_classes_the_classifier_is_left_out(port_file, tensors, tmp_path):
    assert port_file(save_pt(tensors, tmp_path / "a.pth"), tmp_path / "a.keras")[0] == 0
    assert keras.models.load_model(tmp_path / "a.keras").output_shape == (None, 10)


def test_the_naming_is_kept_and_a_head_that_the_original_does_not_have_is_left_out(
    port_file, two_conventions, tmp_path, caplog
):
    build_model(model_spec(two_conventions), classes=10, head="dense").save(tmp_path / "a.keras")
    assert port_file(tmp_path / "a.keras", tmp_path / "a.safetensors", "--naming", "stem")[0] == 0
    assert "head" in caplog.text
    assert set(read_state_dict(tmp_path / "a.safetensors")) == {"stem.0.weight", "stem.0.bias"}


def test_a_file_of_another_convention_is_refused(port_file, two_conventions, tmp_path):
    build_model(model_spec(two_conventions), classes=10, convention="keras").save(tmp_path / "a.keras")
    status, error = port_file(tmp_path / "a.keras", tmp_path / "a.safetensors")
    assert status == 1, "the PyTorch original would compute something else with these weights"
    assert "preprocess_" in error


def test_a_keras_file_of_another_program_is_refused(port_file, tmp_path):
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "a.keras")
    status, error = port_file(tmp_path / "a.keras", tmp_path / "b.safetensors")
    assert status == 1
    assert "a.keras" in error


@pytest.mark.parametrize(
    ("missing", "classes", "message"),
    [("features.0.bias", 1000, "1 missing: features.0.bias"), ("", 100, "100 classes")],
)
def test_a_checkpoint_that_does_not_fit_is_refused(port_file, tensors, tmp_path, missing, classes, message):
    tensors.pop(missing, None)
    status, error = port_file(save_pt(tensors, tmp_path / "a.pth"), tmp_path / "a.keras", "--classes", classes)
    assert status == 1
    assert message in error
    assert not (tmp_path / "a.keras").exists()


TO_KERAS, BACK = ("a.pth", "b.keras"), ("a.keras", "b.safetensors")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((*TO_KERAS, "--to", "b.pth"), 2, r"--to .*\.keras"),
        ((*TO_KERAS, "--from", "a.zip"), 2, "--from .*imagenet"),
        ((*TO_KERAS, "--naming", "x"), 2, "--naming"),
        ((*BACK, "--classes", "9"), 2, "--classes"),
        ((*BACK, "--to", "b.pth"), 2, r"--to .*\.safetensors"),
        (BACK, 1, "a.keras"),
        ((*TO_KERAS, "--model", "nonsense"), 1, "model must be one of .*resnet18"),
        (TO_KERAS, 1, "an existing file"),
        ((*BACK, "--model", "resnet50"), 1, "resnet50"),
        ((*BACK, "--naming", "x"), 1, "naming must be one of"),
    ],
)
def test_an_invalid_option_is_refused(port_file, tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    try:
        found, error = port_file(*arguments)
    except SystemExit as stop:
        found, error = stop.code, capsys.readouterr().err
    assert found == status
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []
