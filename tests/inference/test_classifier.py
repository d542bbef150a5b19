"""A saved model classifies images: in any form, alone and in batches, on both engines, from many threads."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, photograph
from scipy.special import softmax
from tiny import tiny_dataset

from inference.classifier import BATCH_SIZE, Classifier, load_classifier
from inference.decode import ImageError, TooManyPixelsError
from models.saved.card import ModelFileError, NotExplainableError
from models.saved.ood import OOD_THRESHOLD
from runtime.files import sha256_of
from training.data.cifar10 import CLASS_NAMES

MODELS = ("tiny_a", "tiny_b")
FILES = ("model.onnx", "model.keras")


@pytest.fixture(scope="module", params=["onnxruntime", "keras"])
def classifier(request, saved_models) -> Classifier:
    return load_classifier(saved_models / "tiny_a", request.param)


@pytest.fixture
def folder(saved_models, tmp_path):
    """A copy of a saved model that a test may damage."""
    return shutil.copytree(saved_models / "tiny_a", tmp_path / "model")


def pictures(n: int, side: int = 24) -> list[np.ndarray]:
    return [np.asarray(photograph(side, side, seed)) for seed in range(n)]


def table(predictions) -> np.ndarray:
    return np.array([list(prediction.probabilities.values()) for prediction in predictions])


def rewrite_card(folder, **changes) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def test_every_form_of_an_image_gives_the_same_prediction(classifier, tmp_path):
    image = photograph()
    path = tmp_path / "image.png"
    path.write_bytes(encoded(image, "PNG"))
    array, data = np.asarray(image), path.read_bytes()
    forms = [
        *(path, str(path), data, bytearray(data), memoryview(data), image, image.convert("RGBA")),
        *(array, array.astype(np.float64), np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])),
    ]
    expected = classifier.classify(image)
    for prediction in (*classifier.classify(forms), *(classifier.classify(form) for form in forms)):
        np.testing.assert_allclose(table([prediction]), table([expected]), atol=1e-6)
    assert classifier.classify(tuple(forms[:2])) == classifier.classify(forms[:2])
    assert classifier.classify([]) == []


def test_a_prediction_names_every_class_in_order_and_the_best_first(classifier):
    predictions = classifier.classify(pictures(12), top_k=10)
    assert len({prediction.top[0][0] for prediction in predictions}) > 2, "the images differ in their class"
    for prediction in predictions:
        assert tuple(prediction.probabilities) == CLASS_NAMES
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-9)
        ranked = sorted(prediction.probabilities.items(), key=lambda item: item[1], reverse=True)
        assert list(prediction.top) == ranked


def test_top_k_is_the_number_of_named_classes_and_has_a_range(classifier):
    image = photograph()
    assert [len(classifier.classify(image, top_k).top) for top_k in (1, 3, 10)] == [1, 3, 10]
    for top_k in (0, -1, 11):
        with pytest.raises(ValueError, match=f"top_k={top_k}"):
            classifier.classify(image, top_k)


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_calibrated_as_the_card_says(saved_models, name):
    classifier = load_classifier(saved_models / name)
    inputs = [classifier.preprocess(image) for image in pictures(20)]
    raw = classifier.engine.outputs(np.stack([each.pixels for each in inputs]))[0]
    temperature, exponent = {"tiny_a": (1.5, 1), "tiny_b": (0.8, 1.4)}[name]
    logarithms = np.log(raw.astype(np.float64))
    below = logarithms.max(axis=1, keepdims=True) - logarithms
    expected = softmax(-((below / temperature) ** exponent), axis=1)
    np.testing.assert_allclose(table(classifier.predict(inputs)), expected, atol=1e-6)
    assert np.abs(expected - raw).max() > 0.05


@pytest.mark.parametrize("name", MODELS)
def test_both_engines_agree(saved_models, name):
    onnx, keras = (load_classifier(saved_models / name, engine) for engine in ("onnxruntime", "keras"))
    assert (onnx.engine.name, keras.engine.name) == ("onnxruntime", "keras (tensorflow)")
    images = pictures(40)
    np.testing.assert_allclose(table(onnx.classify(images)), table(keras.classify(images)), atol=1e-4)
    one, other = (each.explain(each.preprocess(images[0]), "cat") for each in (onnx, keras))
    np.testing.assert_allclose(one.heat, other.heat, atol=1e-4)


def test_a_long_list_is_split_into_batches(saved_models):
    classifier = load_classifier(saved_models / "tiny_a")
    sizes, outputs = [], classifier.engine.outputs
    classifier.engine.outputs = lambda images: sizes.append(len(images)) or outputs(images)
    images = pictures(2 * BATCH_SIZE + 3)
    together = classifier.classify(images)
    assert sizes == [BATCH_SIZE, BATCH_SIZE, 3]
    np.testing.assert_allclose(table(together), table([classifier.classify(image) for image in images]), atol=1e-6)


@pytest.mark.parametrize("engine", ["onnxruntime", "keras"])
def test_threads_share_a_classifier(saved_models, engine):
    images = pictures(24)
    expected = table(load_classifier(saved_models / "tiny_a", engine).classify(images))
    shared = load_classifier(saved_models / "tiny_a", engine, threads=1)  # has classified nothing yet
    with ThreadPoolExecutor(8) as pool:
        predictions = list(pool.map(shared.classify, images * 4))
    np.testing.assert_allclose(table(predictions), np.tile(expected, (4, 1)), atol=1e-6)


def test_what_is_no_image_is_an_error(classifier, tmp_path):
    with pytest.raises(ImageError):
        classifier.classify(b"no image")
    with pytest.raises(ImageError):
        classifier.classify(np.zeros((4, 4, 2)))
    with pytest.raises(TooManyPixelsError):
        classifier.classify(encoded(photograph(), "PNG"), max_pixels=100)
    with pytest.raises(FileNotFoundError):
        classifier.classify(tmp_path / "nothing.png")
    with pytest.raises(TypeError, match="int"):
        classifier.classify(7)


def test_an_explanation_is_of_the_best_class_or_the_named_one(classifier):
    image = classifier.preprocess(photograph())
    best = classifier.explain(image)
    assert best.label == classifier.classify(photograph()).top[0][0]
    assert best.heat.shape == (8, 8) and best.heat.dtype == np.float32
    assert best.heat.min() >= 0 and best.heat.max() == 1
    np.testing.assert_array_equal(best.image, image.pixels.round())
    assert classifier.explain(image, "truck").label == "truck"
    with pytest.raises(ValueError, match="label='lorry'"):
        classifier.explain(image, "lorry")


def test_out_of_distribution_images_get_a_warning(classifier):
    held_out = classifier.classify(list(tiny_dataset(classes=10).x_train[160:]))
    shares = np.array([prediction.in_distribution for prediction in held_out])
    assert np.abs(np.sort(shares) - np.linspace(0, 1, len(shares))).max() < 0.05, "the shares are uniform"
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[::3] = 255
    prediction = classifier.classify(stripes)
    assert prediction.in_distribution < OOD_THRESHOLD
    assert prediction.as_dict()["warning"] == prediction.warning != ""
    typical = max(held_out, key=lambda each: each.in_distribution)
    assert typical.warning == "" and "warning" not in typical.as_dict()


def test_an_image_smaller_than_the_training_images_gets_a_warning(saved_models):
    small, enough = load_classifier(saved_models / "tiny_b").classify([photograph(9, 7), photograph(9, 8)])
    assert "9×7" in small.warning and "8×8" in small.warning
    assert enough.warning == ""
    assert small.in_distribution is None and "in_distribution" not in small.as_dict()


def test_without_grad_cam_outputs_there_is_neither_ood_detection_nor_explanation(saved_models):
    one = load_classifier(saved_models / "tiny_a")
    one.engine.explains = False
    classifier = Classifier(one.card, one.engine, one.ood_detector)
    assert classifier.classify(photograph()).in_distribution is None
    with pytest.raises(NotExplainableError, match="tiny"):
        classifier.explain(classifier.preprocess(photograph()))


def test_warm_up_runs_the_model(saved_models, monkeypatch):
    classifier = load_classifier(saved_models / "tiny_a")
    shapes, outputs = [], classifier.engine.outputs
    monkeypatch.setattr(classifier.engine, "outputs", lambda images: shapes.append(images.shape) or outputs(images))
    assert classifier.warm_up() > 0
    assert shapes == [(1, 16, 16, 3)]


def test_a_file_with_another_checksum_is_not_run(folder, caplog):
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    assert load_classifier(folder).engine.name == "keras (tensorflow)"
    assert "model.onnx" in caplog.text
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        load_classifier(folder, "onnxruntime")
    (folder / "model.keras").write_bytes(b"another")
    with pytest.raises(ModelFileError, match=r"model\.onnx.*model\.keras"):
        load_classifier(folder)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"nonsense")])
def test_an_ood_file_with_another_checksum_is_an_error(folder, damage):
    damage(folder / "ood.npz")
    with pytest.raises(ModelFileError, match=r"ood\.npz"):
        load_classifier(folder)


def test_one_of_the_two_model_files_is_enough(folder, saved_models):
    (folder / "model.onnx").unlink()
    assert load_classifier(folder).engine.name == "keras (tensorflow)"
    shutil.copy(saved_models / "tiny_a" / "model.onnx", folder)
    (folder / "model.keras").unlink()
    assert load_classifier(folder).engine.name == "onnxruntime"
    with pytest.raises(ModelFileError, match=r"model\.keras"):
        load_classifier(folder, "keras")
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelFileError, match=r"model\.onnx.*model\.keras"):
        load_classifier(folder)
    (folder / "card.json").unlink()
    with pytest.raises(ModelFileError, match=r"card\.json"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"resize_mode": "stretch"}, "stretch"),
        ({"resize_mode": "thumbnail", "resolution": None}, "resolution"),
        ({"temperature": 0}, "temperature"),
    ],
)
def test_a_card_with_a_wrong_value_is_an_error(folder, changes, word):
    rewrite_card(folder, **changes)
    with pytest.raises(ModelFileError, match=word):
        load_classifier(folder)


@pytest.mark.parametrize("engine", ["onnxruntime", "keras"])
def test_an_unreadable_model_file_is_an_error(folder, engine):
    for name in FILES:
        (folder / name).write_bytes(b"nonsense")
    rewrite_card(folder, sha256={name: sha256_of(folder / name) for name in FILES})
    with pytest.raises(ModelFileError, match=r"model\.(onnx|keras)"):
        load_classifier(folder, engine)


def test_an_unknown_engine_is_an_error(folder):
    with pytest.raises(ValueError, match="engine='tpu'"):
        load_classifier(folder, "tpu")


def test_onnxruntime_sends_no_telemetry(saved_models, tmp_path):
    code = "import sys; from inference.classifier import load_classifier; load_classifier(sys.argv[1]).warm_up()"
    # With telemetry on, it keeps a database in the user's cache.
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code, saved_models / "tiny_a"], env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
