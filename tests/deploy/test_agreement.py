"""The API, the demo, predict.py and model.keras under TensorFlow give the same predictions."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from benchmarks.server.server_process import ServerProcess
from deploy.demo_predictions import LOW_CONFIDENCE
from inference.classifier import load_classifier
from inference.model_store import SAVED_MODELS, ModelStore
from training.data.cifar10 import load_cifar10
from training.data.image_batches import resize
from training.export.saved_model import load_saved

ROOT = Path(__file__).parent.parent.parent
IMAGES = 200


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The first test images as PNG files, and as an array."""
    folder = tmp_path_factory.mktemp("pictures")
    images = load_cifar10().x_test[:IMAGES]
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return folder, images


@pytest.fixture(scope="module")
def by_keras(pictures):
    """The calibrated probabilities of the shipped model.keras under TensorFlow: (IMAGES, 10)."""
    saved = load_saved(SAVED_MODELS / ModelStore().default)
    images = np.asarray(resize(pictures[1], saved.image_size))
    return saved.card.calibration(saved.model.predict(images, verbose=0))


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    """A photograph and an image that is too small, and their predictions."""
    folder = tmp_path_factory.mktemp("uploads")
    shutil.copy(ROOT / "deploy" / "examples" / "cat.jpg", folder / "photograph.jpg")
    with Image.open(folder / "photograph.jpg") as image:
        assert min(image.size) > 200, "a size at which the ways to fit an image differ"
        image.resize((20, 20)).save(folder / "small.png")
    files = sorted(folder.iterdir())
    classifier = load_classifier(SAVED_MODELS / ModelStore().default)
    return files, [classifier.classify(file.read_bytes()).as_dict() for file in files]


def same_documents(documents, expected):
    """Compare probabilities, OOD scores and warnings."""
    for document, known in zip(documents, expected, strict=True):
        assert document["probabilities"] == pytest.approx(known["probabilities"], abs=1e-6)
        assert document.get("in_distribution") == pytest.approx(known.get("in_distribution"), abs=1e-6)
        assert document.get("warning") == known.get("warning")


def agree(rows, by_keras):
    np.testing.assert_allclose(np.array([list(row.values()) for row in rows]), by_keras, atol=1e-4)


@pytest.mark.network
def test_over_http(pictures, by_keras, uploads):
    with ServerProcess(environment={"WEB_CONCURRENCY": "1"}) as server, requests.Session() as session:
        files = [path.read_bytes() for path in sorted(pictures[0].iterdir())]
        predictions = [session.post(f"{server.url}/predict", files={"file": file}).json() for file in files]
        photographs = [
            session.post(f"{server.url}/predict", files={"file": path.read_bytes()}).json() for path in uploads[0]
        ]
    same_documents(photographs, uploads[1])
    agree([prediction["probabilities"] for prediction in predictions], by_keras)


@pytest.mark.network
def test_by_predict(pictures, by_keras, uploads):
    command = [sys.executable, "predict.py", str(pictures[0]), *map(str, uploads[0]), "--format", "jsonl"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    predictions = [json.loads(line) for line in run.stdout.splitlines()]
    same_documents(predictions[IMAGES:], uploads[1])
    agree([prediction["probabilities"] for prediction in predictions[:IMAGES]], by_keras)


@pytest.mark.network
def test_by_the_keras_engine(pictures, by_keras):
    classifier = load_classifier(SAVED_MODELS / ModelStore().default, engine="keras")
    predictions = classifier.classify([np.asarray(image) for image in pictures[1]], 10)
    agree([prediction.probabilities for prediction in predictions], by_keras)


@pytest.mark.slow
@pytest.mark.network
def test_by_the_demo(pictures, by_keras, uploads):
    gradio_client = pytest.importorskip("gradio_client")
    from deploy import demo

    store = ModelStore()
    page = demo.build(store)
    try:
        client = gradio_client.Client(demo.launch(page, prevent_thread_lock=True, quiet=True), verbose=False)

        files = [*sorted(pictures[0].iterdir()), *uploads[0]]
        predictions = []
        for start in range(0, len(files), 8):  # as many at a time as the demo lets wait
            jobs = [
                client.submit(gradio_client.handle_file(path), store.default, api_name="/classify")
                for path in files[start : start + 8]
            ]
            predictions += [job.result() for job in jobs]
    finally:
        page.close()
    labels = store.cards[store.default].labels
    known = [*by_keras, *([document["probabilities"][label] for label in labels] for document in uploads[1])]
    for (prediction, *_), expected in zip(predictions, known, strict=True):  # the top 3
        named = {each["label"]: each["confidence"] for each in prediction["confidences"]}
        assert named == pytest.approx({label: expected[labels.index(label)] for label in named}, abs=1e-4)
        assert len(named) == 3
    for (_, warning, *_), document in zip(predictions[IMAGES:], uploads[1], strict=True):
        assert warning["visible"] == ("warning" in document or document["predictions"][0]["score"] < LOW_CONFIDENCE)
        assert document.get("warning", "") in warning["value"]
    assert any("warning" in document for document in uploads[1])
