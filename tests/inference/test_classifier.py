"""A saved model answers images: in any form, alone and in batches, on either engine, calibrated, from many threads."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from image_files import encoded, photograph
from scipy.special import softmax
from tiny import tiny_dataset

from inference.classifier import BATCH, Classifier, load_classifier
from inference.images import ImageError, TooManyPixelsError
from models.saved.card import ModelFileError, NotExplainableError
from models.saved.ood import OOD_THRESHOLD
from training.data.cifar10 import CLASS_NAMES

MODELS = ("tiny_a", "tiny_b")


@pytest.fixture(scope="module", params=["onnxruntime", "keras"])
def classifier(request, saved_models) -> Classifier:
    return load_classifier(saved_models / "tiny_a", request.param)


@pytest.fixture
def folder(saved_models, tmp_path):
    """A copy of a saved model, to be spoilt."""
    return shutil.copytree(saved_models / "tiny_a", tmp_path / "model")


def pictures(n: int, side: int = 24) -> list[np.ndarray]:
    return [np.asarray(photograph(side, side, seed)) for seed in range(n)]


def table(predictions) -> np.ndarray:
    return np.array([list(prediction.probabilities.values()) for prediction in predictions])


def rewrite_card(folder, **changes) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def test_an_image_is_answered_alike_in_every_form(classifier, tmp_path):
    image = photograph()
    path = tmp_path / "image.png"
    path.write_bytes(encoded(image, "PNG"))
    array = np.asarray(image)
    forms = [
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        memoryview(path.read_bytes()),
        image,
        image.convert("RGBA"),
        array,
        array.astype(np.float64),
        np.dstack([array, np.full(array.shape[:2], 255, np.uint8)]),
    ]
    expected = classifier.classify(image)
    for answer in (*classifier.classify(forms), *(classifier.classify(form) for form in forms)):
        np.testing.assert_allclose(table([answer]), table([expected]), atol=1e-6)
        assert [label for label, _ in answer.top] == [label for label, _ in expected.top]
    assert classifier.classify(tuple(forms[:2])) == classifier.classify(forms[:2])
    assert classifier.classify([]) == []


def test_a_prediction_names_every_class_in_order_and_the_best_first(classifier):
    answers = classifier.classify(pictures(12), top_k=10)
    assert len({answer.top[0][0] for answer in answers}) > 2, "the model tells the images apart"
    for answer in answers:
        assert tuple(answer.probabilities) == CLASS_NAMES
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert dict(answer.top) == answer.probabilities
        scores = [score for _, score in answer.top]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("top_k", range(1, 11))
def test_as_many_classes_are_named_as_asked_for(classifier, top_k):
    assert len(classifier.classify(pictures(1)[0], top_k).top) == top_k


@pytest.mark.parametrize("top_k", [0, -1, 11])
def test_top_k_has_a_range(classifier, top_k):
    with pytest.raises(ValueError, match=f"top_k must be from 1 to 10. Received: top_k={top_k}"):
        classifier.classify(pictures(1)[0], top_k)


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_calibrated_as_the_card_says(saved_models, name):
    classifier = load_classifier(saved_models / name)
    views = [classifier.preprocess(image) for image in pictures(20)]
    raw = classifier.engine.outputs(np.stack([view.pixels for view in views]))[0]
    temperature, exponent = {"tiny_a": (1.5, 1), "tiny_b": (0.8, 1.4)}[name]
    logarithms = np.log(raw.astype(np.float64))
    below = logarithms.max(axis=1, keepdims=True) - logarithms
    expected = softmax(-((below / temperature) ** exponent), axis=1)
    np.testing.assert_allclose(classifier.probabilities(views), expected, atol=1e-6)
    np.testing.assert_allclose(table(classifier.classify(pictures(20))), expected, atol=1e-6)
    assert np.abs(expected - raw).max() > 0.05


@pytest.mark.parametrize("name", MODELS)
def test_both_engines_answer_alike(saved_models, name):
    onnx, keras = (load_classifier(saved_models / name, engine) for engine in ("onnxruntime", "keras"))
    assert (onnx.engine.name, keras.engine.name) == ("onnxruntime", "keras (tensorflow)")
    images = pictures(40)
    np.testing.assert_allclose(table(onnx.classify(images)), table(keras.classify(images)), atol=1e-4)
    view = onnx.preprocess(images[0])
    for label in (None, "cat"):
        one, other = onnx.explain(view, label), keras.explain(view, label)
        assert one.label == other.label
        np.testing.assert_allclose(one.heat, other.heat, atol=1e-4)


def test_more_images_than_a_batch_holds(saved_models):
    classifier = load_classifier(saved_models / "tiny_a")
    sizes, outputs = [], classifier.engine.outputs
    classifier.engine.outputs = lambda images: sizes.append(len(images)) or outputs(images)
    images = pictures(2 * BATCH + 3)
    together = classifier.classify(images)
    assert sizes == [BATCH, BATCH, 3]
    np.testing.assert_allclose(table(together), table([classifier.classify(image) for image in images]), atol=1e-6)


def test_threads_share_a_classifier(saved_models):
    images = pictures(24)
    for engine in ("onnxruntime", "keras"):
        expected = table(load_classifier(saved_models / "tiny_a", engine).classify(images))
        shared = load_classifier(saved_models / "tiny_a", engine, threads=1)  # that has not answered yet
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(shared.classify, images * 4))
        np.testing.assert_allclose(table(answers), np.tile(expected, (4, 1)), atol=1e-6)


def test_what_is_no_image_is_refused(classifier, tmp_path):
    with pytest.raises(ImageError):
        classifier.classify(b"no image")
    with pytest.raises(ImageError):
        classifier.classify(np.zeros((4, 4, 2)))
    with pytest.raises(TooManyPixelsError):
        classifier.classify(encoded(photograph(), "PNG"), max_pixels=100)
    with pytest.raises(FileNotFoundError):
        classifier.classify(tmp_path / "nothing.png")
    with pytest.raises(TypeError, match="bytes, a path, a PIL image or an array. Received: int"):
        classifier.classify(7)


def test_an_explanation_is_of_the_best_class_or_of_the_one_asked_for(classifier):
    view = classifier.preprocess(photograph())
    best = classifier.explain(view)
    assert best.label == classifier.classify(photograph()).top[0][0]
    assert best.heat.shape == (8, 8) and best.heat.dtype == np.float32
    assert best.heat.min() >= 0 and best.heat.max() == 1
    np.testing.assert_array_equal(best.view, view.pixels.round())
    assert classifier.explain(view, "truck").label == "truck"
    with pytest.raises(ValueError, match="label must be one of airplane, .*Received: label='lorry'"):
        classifier.explain(view, "lorry")


def test_a_picture_unlike_what_was_learned_is_answered_with_a_warning(classifier):
    known = classifier.classify(list(tiny_dataset(classes=10).x_train[160:]))
    shares = np.array([answer.in_distribution for answer in known])
    assert np.abs(np.sort(shares) - np.linspace(0, 1, len(shares))).max() < 0.05, (
        "of held-back images all shares are alike often"
    )
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[::3] = 255
    answer = classifier.classify(stripes)
    assert answer.in_distribution < OOD_THRESHOLD
    assert (
        answer.warning
        == "This picture is unlike the ones that the model learned from: it may show none of its classes."
    )
    assert answer.as_dict()["warning"] == answer.warning
    liked = max(known, key=lambda each: each.in_distribution)
    assert liked.warning == "" and "warning" not in liked.as_dict()


def test_a_picture_smaller_than_what_was_learned_is_answered_with_a_warning(saved_models):
    classifier = load_classifier(saved_models / "tiny_b")
    small, enough = classifier.classify([photograph(9, 7), photograph(9, 8)])
    assert small.warning == "This picture has 9×7 pixels; the model learned from 8×8."
    assert enough.warning == ""
    assert small.in_distribution is None and "in_distribution" not in small.as_dict()


def test_without_a_feature_map_nothing_is_told_of_novelty(saved_models):
    one = load_classifier(saved_models / "tiny_a")
    one.engine.explains = False
    assert Classifier(one.card, one.engine, one.ood_detector).classify(photograph()).in_distribution is None


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_bytes(b"nonsense")])
def test_an_ood_file_that_is_not_the_cards_is_an_error(folder, spoil):
    spoil(folder / "ood.npz")
    with pytest.raises(ModelFileError, match=r"ood\.npz"):
        load_classifier(folder)


def test_a_model_without_grad_cam_says_so(saved_models):
    classifier = load_classifier(saved_models / "tiny_a")
    classifier.engine.explains = False
    with pytest.raises(NotExplainableError, match="tiny cannot show where it looked"):
        classifier.explain(classifier.preprocess(photograph()))


def test_a_first_answer_to_warm_up(classifier):
    assert 0 < classifier.warm_up() < 30


def test_a_file_that_is_not_the_cards_is_not_run(folder, caplog):
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    classifier = load_classifier(folder)
    assert classifier.engine.name == "keras (tensorflow)"
    assert "model.onnx is not the file that card.json describes" in caplog.text
    assert "Falling back to Keras" in caplog.text
    with pytest.raises(ModelFileError, match="model.onnx is not the file that card.json describes"):
        load_classifier(folder, "onnxruntime")


def test_no_file_that_is_the_cards_is_an_error(folder):
    for name in ("model.onnx", "model.keras"):
        (folder / name).write_bytes(b"another")
    with pytest.raises(
        ModelFileError, match=r"cannot be run.*model\.onnx is not the file.*model\.keras is not the file"
    ):
        load_classifier(folder)


def test_a_folder_with_one_of_the_two_files(folder, saved_models, caplog):
    (folder / "model.onnx").unlink()
    assert load_classifier(folder).engine.name == "keras (tensorflow)"
    assert "There is no model.onnx. Falling back to Keras." in caplog.text
    shutil.copy(saved_models / "tiny_a" / "model.onnx", folder)
    (folder / "model.keras").unlink()
    assert load_classifier(folder).engine.name == "onnxruntime"
    with pytest.raises(ModelFileError, match="There is no model.keras"):
        load_classifier(folder, "keras")


def test_a_folder_without_a_model(folder):
    for name in ("model.onnx", "model.keras"):
        (folder / name).unlink()
    with pytest.raises(ModelFileError, match=r"There is no model\.onnx\. There is no model\.keras\."):
        load_classifier(folder)
    (folder / "card.json").unlink()
    with pytest.raises(ModelFileError, match=r"holds no card\.json"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resize_mode": "stretch"}, "resize_mode must be one of thumbnail, bilinear. Received: 'stretch'"),
        ({"resize_mode": "thumbnail", "resolution": None}, "resize_mode 'thumbnail' needs a resolution"),
        ({"resolution": 0}, "resolution"),
        ({"temperature": 0}, "temperature"),
        ({"exponent": 0}, "exponent"),
        ({"labels": ["cat"]}, "labels"),
        ({"colour": "red"}, "colour"),
        ({"input_size": 0}, "input_size"),
    ],
)
def test_a_wrong_card_is_an_error(folder, changes, words):
    rewrite_card(folder, **changes)
    with pytest.raises(ModelFileError, match=words):
        load_classifier(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "tiny"}'])
def test_what_is_no_card_is_an_error(folder, text):
    (folder / "card.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"card\.json is not a model card"):
        load_classifier(folder)


@pytest.mark.parametrize("engine", ["onnxruntime", "keras"])
def test_a_file_that_cannot_be_read_is_an_error(folder, engine):
    from runtime.files import sha256_of

    for name in ("model.onnx", "model.keras"):
        (folder / name).write_bytes(b"nonsense")
    rewrite_card(folder, sha256={name: sha256_of(folder / name) for name in ("model.onnx", "model.keras")})
    with pytest.raises(ModelFileError, match="cannot be read|cannot read"):
        load_classifier(folder, engine)


def test_an_unknown_engine_names_the_known_ones(folder):
    with pytest.raises(ValueError, match="engine must be one of auto, onnxruntime, keras. Received: engine='tpu'"):
        load_classifier(folder, "tpu")


def test_onnxruntime_reports_to_nobody(saved_models, tmp_path):
    code = "import sys; from inference.classifier import load_classifier; load_classifier(sys.argv[1]).warm_up()"
    # Its telemetry, where it is on, keeps a database in the user's cache.
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code, saved_models / "tiny_a"], env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
