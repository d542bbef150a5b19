import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny import tiny_backbone

import evaluate
from models.heads import attach_head
from models.saved.calibration import Calibration
from training.data import cifar10
from training.data.dataset import DataUnavailableError
from training.export.onnx_export import export_onnx
from training.export.saved_model import save_keras, write_card


@pytest.fixture
def run(tmp_path, dataset, monkeypatch):
    """The folder of a run on the tiny data set, which the verb finds in place of CIFAR-10."""
    monkeypatch.setattr(cifar10, "load_cifar10", lambda data_dir=None: dataset)
    keras.utils.set_random_seed(0)
    backbone = tiny_backbone(16, "keras")
    model = keras.Model(backbone.input, attach_head("linear", backbone.output, 3), name="tiny")
    folder = tmp_path / "run"
    save_keras(model, folder / "model.keras")
    export_onnx(model, folder / "model.onnx", dataset.x_test[:4])
    write_card(
        folder,
        model,
        name="tiny",
        version="1",
        labels=dataset.class_names,
        resize_mode="bilinear",
        calibration=Calibration(1.5),
        test_accuracy=0.3,
        val_accuracy=0.3,
        command="python train.py",
        recipe="reference",
        seed=0,
        weights="none",
        data="made up",
        seconds=1,
    )
    return folder


def test_prints_the_table(run, dataset, capsys):
    assert evaluate.main([str(run)]) == 0
    out = capsys.readouterr().out
    assert f"{run / 'model.keras'} on the test split of tiny" in out
    for name in (*dataset.class_names, "macro average", "accuracy", "calibration error"):
        assert name in out
    assert f"images {len(dataset.x_test)}" in out


def test_keras_and_onnx_agree(run, tmp_path):
    reports = []
    for name in ("model.keras", "model.onnx"):
        assert evaluate.main([str(run / name), "--output", str(tmp_path / f"{name}.json")]) == 0
        reports.append(json.loads((tmp_path / f"{name}.json").read_text()))
    assert reports[0]["confusion_matrix"] == reports[1]["confusion_matrix"]
    assert reports[0]["loss"] == pytest.approx(reports[1]["loss"], abs=1e-4)


def test_writes_the_metrics_and_the_matrix(run, tmp_path, capsys):
    output = tmp_path / "new" / "metrics.json"
    assert evaluate.main([str(run), "--split", "validation", "--batch-size", "7", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert report["split"] == "validation"
    assert report["images"] == np.sum(report["confusion_matrix"]) == 24
    picture = output.with_name("metrics_confusion_matrix.png")
    assert Image.open(picture).format == "PNG"
    assert str(picture) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no file or folder nowhere"),
        ([str(Path(__file__))], "must end with .keras or .onnx"),
        ([str(Path(__file__).parent)], "holds neither model.keras nor model.onnx"),
    ],
)
def test_a_path_without_a_model_is_a_clear_error(run, capsys, arguments, message):
    assert evaluate.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("evaluate.py: ")
    assert message in captured.err
    assert captured.out == ""


def test_a_model_of_other_classes_is_a_clear_error(run, tmp_path, capsys):
    backbone = tiny_backbone(16, "keras")
    save_keras(keras.Model(backbone.input, attach_head("linear", backbone.output, 7)), tmp_path / "seven.keras")
    assert evaluate.main([str(tmp_path / "seven.keras")]) == 1
    assert "answers 7 classes, and tiny has 3" in capsys.readouterr().err


def test_data_that_cannot_be_had_is_a_clear_error(run, monkeypatch, capsys):
    def unavailable(data_dir=None):
        raise DataUnavailableError(f"no source had it, nor had {data_dir}")

    monkeypatch.setattr(cifar10, "load_cifar10", unavailable)
    assert evaluate.main([str(run), "--data-dir", "here"]) == 1
    assert "no source had it, nor had here" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--batch-size", "0"], ["--split", "train"], ["--output", "."], ["--seed", "x"]])
def test_a_wrong_option_is_told_at_once(run, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([str(run), *arguments])
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_help_teaches_and_loads_no_tensorflow():
    script = "import sys, evaluate\ntry: evaluate.main(['--help'])\nfinally: print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(evaluate.__file__).parent, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("False")
    for word in ("python evaluate.py", "--split", "--output", "model.onnx", "saved_models"):
        assert word in done.stdout
