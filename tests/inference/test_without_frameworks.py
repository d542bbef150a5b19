"""What answering needs installed: onnxruntime alone, or Keras with any one of its backends."""

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

_, engine, folder, *blocked = sys.argv


class Blocked:  # in front of all that finds modules: as if the packages were not installed
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
classifier = load_classifier(f"{folder}/model", engine)
view = classifier.preprocess(images[0])
explanation = classifier.explain(view, "cat")
rows = [list(prediction.probabilities.values()) for prediction in classifier.classify(list(images))]
print(json.dumps([classifier.engine.name, rows, explanation.heat.tolist()]))
"""


@pytest.fixture(scope="module")
def folder(saved_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    (folder / "model").symlink_to(saved_models / "tiny_a")
    np.save(folder / "images.npy", [np.asarray(photograph(24, 24, seed)) for seed in range(12)])
    return folder


def answer(folder, engine, blocked):
    """Return an engine's name, probabilities and heat map from a process in which the packages `blocked` are not there."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    command = [sys.executable, "-c", SCRIPT, engine, str(folder), *blocked]
    result = subprocess.run(
        command, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def check(folder, found, name):
    expected = load_classifier(folder / "model", "onnxruntime")
    images = list(np.load(folder / "images.npy"))
    rows = [list(prediction.probabilities.values()) for prediction in expected.classify(images)]
    assert found[0] == name
    np.testing.assert_allclose(found[1], rows, atol=1e-4)
    np.testing.assert_allclose(found[2], expected.explain(expected.preprocess(images[0]), "cat").heat, atol=1e-3)


@pytest.mark.parametrize("engine", ["onnxruntime", "auto"])
def test_onnxruntime_needs_no_framework(folder, engine):
    blocked = [
        *BACKENDS,
        "keras",
        "sklearn",
        "scipy",
        "matplotlib",
        "h5py",
        "onnx",
        "flask",
        "gradio",
        "training",
        "deploy",
    ]
    check(folder, answer(folder, engine, blocked), "onnxruntime")


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_without_onnxruntime_keras_answers_on_whichever_backend_is_installed(folder, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    others = [name for name in BACKENDS if name != backend]
    check(folder, answer(folder, "auto", [*others, "onnxruntime"]), f"keras ({backend})")


def test_without_anything_to_run_it_the_error_says_what_to_install(folder):
    with pytest.raises(AssertionError, match="onnxruntime is not installed. Keras needs one of tensorflow, jax, torch"):
        answer(folder, "auto", ["onnxruntime", *BACKENDS])
