"""The command line of train.py: what it teaches, what it refuses, and a run from end to end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import train
from training import run

ROOT = Path(train.__file__).parent


@pytest.fixture
def tiny_cifar(tiny_network, dataset, cache, tmp_path, monkeypatch):
    """Run in an empty folder, on the tiny data set in the place of CIFAR-10."""
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: dataset)
    monkeypatch.chdir(tmp_path)
    return tiny_network


def test_help_answers_at_once_and_fits_one_screen():
    code = "import sys, train\ntry: train.main(['--help'])\nexcept SystemExit: print('tensorflow' in sys.modules)"
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "--recipe strong" in result.stdout
    assert result.stdout.endswith("False\n")
    assert len(result.stdout.splitlines()) <= 41


def test_help_all_shows_every_option_in_groups(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help-all"])
    printed = capsys.readouterr().out
    for text in ("data:", "model:", "optimisation:", "advanced:", "--average-with", "--cache-dtype", "--weights"):
        assert text in printed


def test_an_option_keeps_its_old_name():
    assert train.parse_arguments(["--blend", "strong"]).average_with == "strong"


def test_list_prints_networks_and_recipes(capsys):
    assert train.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"vit_b16 +224×224 +85,806,346", printed)
    assert re.search(r"^strong ", printed, re.MULTILINE)


def test_explain_prints_the_phases_and_trains_nothing(tiny_cifar, capsys):
    assert train.main(["--model", tiny_cifar, "--weights", "none", "--explain"]) == 0
    assert "phase finetune" in capsys.readouterr().out
    assert not Path("runs").exists()
    assert train.main(["--model", "nonsense", "--explain"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nonsense"], "model must be one of .*mobilenet_v2.* Received: model='nonsense'"),
        (["--model", "custom_cnn", "--phase", "finetune"], "phase must be scratch for custom_cnn"),
        (["--augment", "blur"], "blur"),
        (["--weights", "nowhere.pt"], "weights must be imagenet, keras, none or an existing file"),
        (["--image-size", "8"], "image_size must be at least 32 for mobilenet_v2. Received: image_size=8"),
        (["--epochs", "0"], "epochs must be above 0. Received: epochs=0"),
        (["--resume"], "no unfinished run in runs"),
        (["--resume", "elsewhere"], "elsewhere holds no run to resume"),
    ],
)
def test_a_wrong_option_is_told(tiny_cifar, capsys, arguments, message):
    assert train.main(arguments) == 2
    error = capsys.readouterr().err

    assert re.search(message, error)
    assert "Traceback" not in error
    assert not Path("runs").exists()


def test_unfreeze_500_is_told(tiny_cifar, capsys):
    assert train.main(["--model", tiny_cifar, "--weights", "none", "--unfreeze", "500"]) == 1
    assert "unfreeze must be between 0 and 8" in capsys.readouterr().err


def test_both_phases_from_the_command_line_and_finetune_starts_from_head(tiny_cifar, capsys):
    common = ["--model", tiny_cifar, "--weights", "none", "--batch-size", "48"]
    assert train.main([*common, "--phase", "head"]) == 0
    assert train.main([*common, "--phase", "finetune"]) == 0
    metrics = json.loads(Path("runs/tiny-reference-finetune-seed0/metrics.json").read_text())
    assert metrics["epochs"]["head"] == 0
    printed = capsys.readouterr().out
    assert printed.count("Test accuracy") == 2
    assert {path.name for path in Path("runs").iterdir() if path.is_dir()} == {
        "tiny-reference-head-seed0",
        "tiny-reference-finetune-seed0",
    }


def test_a_folder_that_is_not_empty_is_left_alone(tiny_cifar, capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert train.main(["--model", tiny_cifar, "--output", str(tmp_path / "mine")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_ctrl_c_tells_how_to_go_on(tiny_cifar, capsys, monkeypatch):
    arguments = ["--model", tiny_cifar, "--weights", "none", "--phase", "head"]
    with monkeypatch.context() as patch:
        patch.setattr(run, "write_history", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train.main(arguments) == 130
    assert "python train.py --resume runs/tiny-reference-head-seed0" in capsys.readouterr().err
    assert train.main(["--resume"]) == 0
    assert "Test accuracy" in capsys.readouterr().out


def test_without_data_the_error_says_how_to_supply_it(tiny_network, cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    monkeypatch.setattr("keras.datasets.cifar10.load_data", lambda: (_ for _ in ()).throw(OSError("no network")))
    assert train.main(["--model", "custom_cnn"]) == 1
    error = capsys.readouterr().err
    assert "no network" in error
    assert "--data-dir" in error


def test_resnet50_without_weights_at_hand_says_what_file_where_and_what_instead(tiny_cifar, cache, monkeypatch, capsys):
    def unreachable(*_, **__):
        raise Exception("URL fetch failure: Name or service not known")

    monkeypatch.setattr("keras.utils.get_file", unreachable)
    assert train.main(["--model", "resnet50", "--weights", "keras"]) == 1
    error = capsys.readouterr().err
    name = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    for part in (name, f"put it at {cache / 'weights' / name}", "--model mobilenet_v2", "Name or service not known"):
        assert part in error


@pytest.mark.slow
@pytest.mark.network
def test_real_data_and_real_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--phase", "finetune", "--limit", "300", "--epochs", "1", "--image-size", "96"]) == 0
    (folder,) = (path for path in Path("runs").iterdir() if path.is_dir())
    assert (folder / "model.keras").exists()
    accuracy = float(capsys.readouterr().out.partition("Test accuracy ")[2].partition("%")[0])
    assert accuracy > 40, "ImageNet features tell CIFAR-10 classes apart even after 270 images"
