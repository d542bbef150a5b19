"""The port command: a checkpoint becomes a Keras file and comes back; what does not fit is told."""

import re

import keras
import numpy as np
import pytest

from models.pretrained import port
from models.pretrained.checkpoints import read_state_dict
from models.registry import build_model, model_spec

torch = pytest.importorskip("torch")
from originals import arrays, original  # noqa: E402  (it imports torch)


@pytest.fixture
def checkpoint(tmp_path):
    """A ResNet-18 of PyTorch with 1000 classes, and its file."""
    network = original("resnet18", "torchvision", classes=1000)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    return network, tmp_path / "resnet18.pth"


def run(*arguments):
    return port.main([str(argument) for argument in arguments])


def test_there_and_back_with_the_classifier(checkpoint, tmp_path, capsys):
    network, path = checkpoint
    target, back = tmp_path / "resnet18.keras", tmp_path / "back.safetensors"
    options = ("--model", "resnet18")
    assert run(*options, "--from", path, "--to", target, "--classes", 1000, "--image-size", 64) == 0
    assert "classes: 1000" in capsys.readouterr().out
    model = keras.models.load_model(target)
    assert model.input_shape == (None, 64, 64, 3)

    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    scaled = (images / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.no_grad():
        expected = network(torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype("float32").copy())).softmax(-1)
    np.testing.assert_allclose(model.predict_on_batch(images), expected.numpy(), atol=1e-4)

    assert run(*options, "--from", target, "--to", back) == 0
    other = original("resnet18", "torchvision", classes=1000, seed=1)
    other.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in read_state_dict(back).items()}, strict=True
    )
    for name, array in arrays(network).items():
        np.testing.assert_array_equal(arrays(other)[name], array, err_msg=name)


def test_without_classes_the_classifier_is_left_out(checkpoint, tmp_path):
    _, path = checkpoint
    assert run("--model", "resnet18", "--from", path, "--to", tmp_path / "a.keras") == 0
    assert keras.models.load_model(tmp_path / "a.keras").output_shape == (None, 10)


def test_a_head_that_the_original_does_not_have_is_left_out_and_said(tmp_path, caplog):
    build_model(model_spec("resnet18"), classes=10, head="dense", image_size=64).save(tmp_path / "a.keras")
    assert run("--model", "resnet18", "--from", tmp_path / "a.keras", "--to", tmp_path / "a.safetensors") == 0
    assert "Left out the head" in caplog.text
    names = set(read_state_dict(tmp_path / "a.safetensors"))
    assert names == {name for name in original("resnet18", "torchvision").state_dict() if not name.startswith("fc.")}


def test_weights_go_back_under_the_names_of_their_own_scaling(tmp_path, capsys):
    spec = model_spec("mobilenet_v2")
    build_model(spec, classes=7, head="linear", image_size=32).save(tmp_path / "a.keras")
    options = ("--model", "mobilenet_v2", "--from", tmp_path / "a.keras", "--to", tmp_path / "a.safetensors")
    for naming in ("torchvision", "flat"):
        assert run(*options, "--naming", naming) == 0
        network = original("mobilenet_v2", naming, classes=7)
        tensors = {name: torch.from_numpy(a.copy()) for name, a in read_state_dict(tmp_path / "a.safetensors").items()}
        network.load_state_dict(tensors, strict=True)
    build_model(spec, classes=7, head="linear", image_size=32, convention="keras").save(tmp_path / "a.keras")
    assert run(*options) == 1, "PyTorch's MobileNetV2 would answer wrongly with these weights"
    assert re.search("rescaling|padding|epsilon", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model", "resnet18", "--from", "a.pth", "--to", "b.pth"], 2, "--to must end with .keras"),
        (["--model", "resnet18", "--from", "a.zip", "--to", "b.keras"], 2, "--from must be imagenet or end with .pt"),
        (
            ["--model", "resnet18", "--from", "a.pt", "--to", "b.keras", "--naming", "x"],
            2,
            "--naming is for the way back",
        ),
        (
            ["--model", "resnet18", "--from", "a.keras", "--to", "b.safetensors", "--classes", "9"],
            2,
            "are for the way to",
        ),
        (["--model", "resnet18", "--from", "a.keras", "--to", "b.safetensors"], 1, "No such file"),
        (["--model", "resnet18", "--from", "a.keras", "--to", "b.pth"], 2, "--to must end with .safetensors"),
        (["--model", "nonsense", "--from", "a.pth", "--to", "b.keras"], 1, "model must be one of .*resnet18"),
        (["--model", "resnet18", "--from", "a.pth", "--to", "b.keras"], 1, "an existing file"),
        (
            ["--model", "resnet50", "--from", "a.keras", "--to", "b.safetensors"],
            1,
            "resnet50 has no PyTorch counterpart",
        ),
        (
            ["--model", "resnet18", "--from", "a.keras", "--to", "b.safetensors", "--naming", "x"],
            1,
            "naming must be one of",
        ),
    ],
)
def test_a_wrong_option_is_told(tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    try:
        found = run(*arguments)
    except SystemExit as stop:
        found = stop.code
    assert found == status
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


def test_a_keras_file_of_another_program_is_told(tmp_path, capsys):
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "a.keras")
    assert run("--model", "resnet18", "--from", tmp_path / "a.keras", "--to", tmp_path / "b.safetensors") == 1
    assert "must be a .keras file of a network that Thaw built" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["missing", "extra", "misshapen", "classes"])
def test_a_checkpoint_that_does_not_fit_is_listed_and_refused(checkpoint, tmp_path, capsys, change):
    network, path = checkpoint
    state_dict = dict(network.state_dict())
    if change == "missing":
        del state_dict["layer3.0.conv2.weight"]
    elif change == "extra":
        state_dict["layer5.0.conv1.weight"] = torch.zeros(3)
    elif change == "misshapen":
        state_dict["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    torch.save(state_dict, path)
    classes = 100 if change == "classes" else 1000
    assert run("--model", "resnet18", "--from", path, "--to", tmp_path / "a.keras", "--classes", classes) == 1
    named = {
        "missing": r"1 missing: layer3.0.conv2.weight",
        "extra": r"1 unknown to the network: layer5.0.conv1.weight",
        "misshapen": r"conv1.weight must have the shape \(64, 3, 7, 7\). Received: \(64, 3, 3, 3\)",
        "classes": "must hold a classifier of 100 classes",
    }[change]
    error = capsys.readouterr().err
    assert re.search(named, error), error
    assert not (tmp_path / "a.keras").exists()
