"""evaluate.py: metrics of a run's model in Keras and ONNX; wrong paths, data and options."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny import tiny_backbone
from tiny_models import write_tiny_card

import evaluate
from models.heads import attach_head
from models.saved.calibration import Calibration
from training.data import cifar10
from training.data.dataset import DataUnavailableError
from training.export.onnx_export import export_onnx
from training.export.saved_model import save_keras


@pytest.fixture
def run(tmp_path, dataset, monkeypatch):
    """The folder of a run on the tiny data set, which takes the place of CIFAR-10."""
    monkeypatch.setattr(cifar10, "load_cifar10", lambda data_dir=None: dataset)
    backbone = tiny_backbone(16, "keras")
    model = keras.Model(backbone.input, attach_head("linear", backbone.output, 3), name="tiny")
    folder = tmp_path / "run"
    save_keras(model, folder / "model.keras")
    export_onnx(model, folder / "model.onnx", dataset.x_test[:4])
    facts = {"labels": dataset.class_names, "resize_mode": "bilinear", "test_accuracy": 0.3, "seed": 0}
    write_tiny_card(folder, model, calibration=Calibration(1.5), **facts)
    return folder


def test_keras_and_onnx_agree(run, dataset, tmp_path, capsys):
    reports = []
    for name in ("model.keras", "model.onnx"):
        assert evaluate.main([str(run / name), "--output", str(tmp_path / f"{name}.json")]) == 0
        printed = capsys.readouterr().out
        for word in (str(run / name), *dataset.class_names, "accuracy", f"{len(dataset.x_test)}"):
            assert word in printed
        reports.append(json.loads((tmp_path / f"{name}.json").read_text()))
    assert reports[0]["confusion_matrix"] == reports[1]["confusion_matrix"]
    assert reports[0]["loss"] == pytest.approx(reports[1]["loss"], abs=1e-4)


def test_metrics_and_confusion_matrix_of_the_validation_split_are_written(run, tmp_path, capsys):
    output = tmp_path / "new" / "metrics.json"
    assert evaluate.main([str(run), "--split", "validation", "--batch-size", "7", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert report["split"] == "validation"
    assert report["images"] == np.sum(report["confusion_matrix"]) == 24
    picture = output.with_name("metrics_confusion_matrix.png")
    assert Image.open(picture).format == "PNG"
    assert str(picture) in capsys.readouterr().out


@pytest.mark.parametrize("path", ["nowhere", __file__, str(Path(__file__).parent)])
def test_a_path_without_a_model_is_an_error(run, capsys, path):
    assert evaluate.main([path]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("evaluate.py: ") and path in captured.err
    assert captured.out == ""


def test_a_model_of_other_classes_is_an_error(run, tmp_path, capsys):
    backbone = tiny_backbone(16, "keras")
    save_keras(keras.Model(backbone.input, attach_head("linear", backbone.output, 7)), tmp_path / "seven.keras")
    assert evaluate.main([str(tmp_path / "seven.keras")]) == 1
    assert "7 classes" in capsys.readouterr().err


def test_unavailable_data_is_an_error(run, monkeypatch, capsys):
    def unavailable(data_dir=None):
        raise DataUnavailableError(f"not in {data_dir}")

    monkeypatch.setattr(cifar10, "load_cifar10", unavailable)
    assert evaluate.main([str(run), "--data-dir", "here"]) == 1
    assert "not in here" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--batch-size", "0"], ["--split", "train"], ["--output", "."]])
def test_a_wrong_option_is_an_error(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["run", *arguments])
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_help_does_not_import_tensorflow():
    script = "import sys, evaluate\ntry: evaluate.main(['--help'])\nfinally: print('tensorflow' in sys.modules)"
    root = Path(evaluate.__file__).parent
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    assert "--split" in done.stdout and done.stdout.endswith("False\n")
