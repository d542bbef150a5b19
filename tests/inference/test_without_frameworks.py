"""Inference needs onnxruntime alone, or Keras with any one of its backends."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import photograph

from inference.classifier import load_classifier

ROOT = Path(__file__).parent.parent.parent
BACKENDS = ("tensorflow", "jax", "torch", "openvino")
SCRIPT = """
import json
import pkgutil
import sys

_, folder, *blocked = sys.argv


class Blocked:  # wraps an import finder: the blocked packages look as if they were not installed
    def __init__(self, finder):
        self.find = finder.find_spec

    def find_spec(self, name, *arguments):
        return None if name.partition(".")[0] in blocked else self.find(name, *arguments)


sys.meta_path[:] = [Blocked(finder) for finder in sys.meta_path]

import numpy as np

import inference
from inference.classifier import load_classifier

for module in pkgutil.iter_modules(inference.__path__):
    __import__(f"inference.{module.name}")
images = np.load(f"{folder}/images.npy")
classifier = load_classifier(f"{folder}/model")
explanation = classifier.explain(classifier.preprocess(images[0]), "cat")
rows = [list(prediction.probabilities.values()) for prediction in classifier.classify(list(images))]
print(json.dumps([classifier.engine.name, rows, explanation.heat.tolist()]))
"""


@pytest.fixture(scope="module")
def folder(saved_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("without_frameworks")
    (folder / "model").symlink_to(saved_models / "tiny_a")
    np.save(folder / "images.npy", [np.asarray(photograph(24, 24, seed)) for seed in range(12)])
    return folder


def run_without(folder, *blocked) -> subprocess.CompletedProcess:
    """Classify and explain in a process where the packages `blocked` cannot be imported."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), *blocked], env=environment, capture_output=True, text=True
    )


def check(folder, run, engine) -> None:
    assert run.returncode == 0, run.stderr[-3000:]
    name, rows, heat = json.loads(run.stdout.splitlines()[-1])
    assert name == engine
    expected = load_classifier(folder / "model", "onnxruntime")
    images = list(np.load(folder / "images.npy"))
    predictions = expected.classify(images)
    np.testing.assert_allclose(rows, [list(each.probabilities.values()) for each in predictions], atol=1e-4)
    np.testing.assert_allclose(heat, expected.explain(expected.preprocess(images[0]), "cat").heat, atol=1e-3)


def test_onnxruntime_needs_no_framework(folder):
    others = ("keras", "sklearn", "scipy", "matplotlib", "h5py", "onnx", "flask", "gradio", "training", "deploy")
    check(folder, run_without(folder, *BACKENDS, *others), "onnxruntime")


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_without_onnxruntime_keras_runs_on_any_backend(folder, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    others = [name for name in BACKENDS if name != backend]
    check(folder, run_without(folder, "onnxruntime", *others), f"keras ({backend})")


def test_without_any_engine_the_error_says_what_to_install(folder):
    run = run_without(folder, "onnxruntime", *BACKENDS)
    assert run.returncode == 1
    assert "onnxruntime is not installed" in run.stderr and "tensorflow, jax, torch" in run.stderr
