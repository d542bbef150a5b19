import json
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from models.saved.calibration import Calibration
from training.calibration import calibration, expected_calibration_error, fit_calibration
from training.data.image_batches import resize
from training.data.transforms import apply_view
from training.evaluation import evaluate, evaluate_saved, format_metrics, predict_probabilities, predict_views
from training.export.saved_model import SavedModel

NAMES = ("cat", "dog", "frog")


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def predictions():
    random = np.random.default_rng(0)
    return softmax(random.normal(0, 2, (500, 3))).astype(np.float32), random.integers(0, 3, 500)


class ColourModel:
    """Predicts the mean of each colour channel as the probability of a class, and records its inputs."""

    output_shape = (None, 3)

    def __init__(self):
        self.batches = []

    def predict_on_batch(self, x):
        self.batches.append(x)
        means = x.mean(axis=(1, 2)) + 1
        return means / means.sum(axis=1, keepdims=True)


class TestEvaluate:
    @pytest.mark.filterwarnings("error")  # the float32 rounding of a softmax
    def test_agrees_with_the_definitions(self, predictions):
        probabilities, labels = predictions
        found = evaluate(probabilities, labels, NAMES)
        predicted = probabilities.argmax(1)
        assert found["accuracy"] == pytest.approx((predicted == labels).mean())
        assert found["loss"] == pytest.approx(-np.log(probabilities[np.arange(500), labels]).mean(), rel=1e-6)
        for i, name in enumerate(NAMES):
            hits = ((predicted == i) & (labels == i)).sum()
            precision, recall = hits / (predicted == i).sum(), hits / (labels == i).sum()
            row = found["per_class"][name]
            assert row["precision"] == pytest.approx(precision)
            assert row["recall"] == pytest.approx(recall)
            assert row["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
            assert row["support"] == (labels == i).sum()
        for key in ("precision", "recall", "f1"):
            assert found["macro"][key] == pytest.approx(np.mean([found["per_class"][name][key] for name in NAMES]))
        assert json.loads(json.dumps(found)) == found

    def test_rows_of_the_matrix_are_the_true_classes(self):
        always_dog = np.tile(np.array([[0.1, 0.8, 0.1]]), (3, 1))
        found = evaluate(always_dog, np.array([0, 0, 2]), NAMES)
        assert found["confusion_matrix"] == [[0, 2, 0], [0, 0, 0], [0, 1, 0]]
        assert found["per_class"]["frog"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
        assert found["per_class"]["dog"]["support"] == 0

    @pytest.mark.parametrize(
        ("probabilities", "labels", "message"),
        [
            (np.full((2, 4), 0.25), [0, 1], r"Received: \(2, 4\)"),
            (np.full((2, 3), 1 / 3), [0], r"labels.*Received: \(1,\)"),
            (np.full((2, 3), 1 / 3), [0, 3], r"0\.\.2.*Received: 0\.\.3"),
            (np.array([[2.0, -1.0, 0.0]]), [0], "sum to 1"),
            (np.array([[np.nan, 0.5, 0.5]]), [0], "finite"),
            (np.array([[3.0, 1.0, 2.0]]), [0], "sum to 1"),  # logits
            (np.empty((0, 3)), [], "n > 0"),
        ],
    )
    def test_wrong_arrays_are_errors(self, probabilities, labels, message):
        with pytest.raises(ValueError, match=message):
            evaluate(probabilities, np.array(labels), NAMES)


class TestCalibration:
    @pytest.fixture
    def overconfident(self):
        """Labels drawn from softmax(z), probabilities of softmax(2.5 z): the right temperature is 2.5."""
        random = np.random.default_rng(1)
        logits = random.normal(0, 1.5, (20_000, 5))
        honest = softmax(logits)
        labels = (honest.cumsum(axis=1) < random.random((len(honest), 1))).sum(axis=1)
        return softmax(2.5 * logits), labels

    def test_finds_the_temperature_of_overconfident_probabilities(self, overconfident):
        found = fit_calibration(*overconfident)
        assert (found.temperature, found.exponent) == pytest.approx((2.5, 1), rel=0.05)

    def test_finds_the_exponent(self, overconfident):
        bounded = Calibration(0.8, 0.5)(overconfident[0])
        found = fit_calibration(bounded, overconfident[1])
        assert (found.temperature, found.exponent) == pytest.approx(((2.5 / 0.8) ** 0.5, 2), rel=0.05)

    def test_lowers_the_calibration_error_and_changes_no_prediction(self, overconfident):
        probabilities, labels = overconfident
        fitted = fit_calibration(probabilities, labels)
        found = calibration(probabilities, labels, fitted)
        assert (found["temperature"], found["exponent"]) == (fitted.temperature, fitted.exponent)
        assert found["ece_before"] > 0.1
        assert found["ece_after"] < 0.015
        assert found["loss_after"] < found["loss_before"]
        assert (fitted(probabilities).argmax(1) == probabilities.argmax(1)).all()

    def test_warns_at_the_limit_of_the_range(self, overconfident, caplog):
        probabilities, labels = overconfident
        found = fit_calibration(probabilities, np.roll(labels, 1))  # the labels are independent of the images
        assert found.temperature == pytest.approx(20)
        assert "limit of its range" in caplog.text

    def test_survives_a_softmax_that_underflowed(self):
        certain = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
        found = fit_calibration(certain, np.array([0, 1, 2, 1]))
        assert np.isfinite([found.temperature, found.exponent]).all()

    def test_the_expected_calibration_error(self):
        # Confidences 0.9, 0.9 (one right) and 0.6 (right): (2/3)|0.5 - 0.9| + (1/3)|1 - 0.6|.
        probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
        assert expected_calibration_error(probabilities, np.array([0, 1, 0])) == pytest.approx(0.4)
        assert expected_calibration_error(np.eye(3), np.arange(3)) == 0


class TestPredict:
    def test_predicts_every_image_in_order_resized_as_in_training(self):
        images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
        model = ColourModel()
        found = predict_probabilities(model, images, image_size=16, batch_size=3)
        assert [len(batch) for batch in model.batches] == [3, 3, 1]
        np.testing.assert_array_equal(np.concatenate(model.batches), resize(images, 16))
        assert found.shape == (7, 3)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, ColourModel().predict_on_batch(resize(images, 16).numpy()))

    def test_views_are_averaged_as_logits_by_how_often_they_are_named(self):
        images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Rescaling(1 / 255)])
        logits = model.layers[-1].output[:, :3]
        model = keras.Model(model.inputs, keras.layers.Softmax()(logits))
        plain, mirrored = (
            np.log(predict_probabilities(model, apply_view(images, view), 8)) for view in ("identity", "mirror")
        )
        found = predict_views(model, images, 8, ("identity", "mirror", "identity"))
        np.testing.assert_allclose(found, softmax((2 * plain + mirrored) / 3), atol=1e-6)

    def test_no_images_are_an_error(self):
        with pytest.raises(ValueError, match="at least one image"):
            predict_probabilities(ColourModel(), np.zeros((0, 8, 8, 3), np.uint8), 8)


class TestEvaluateSaved:
    def saved(self, model=None, card=None, **facts):
        return SavedModel(model or ColourModel(), Path("model.keras"), 8, card, **facts)

    def card(self, dataset, **facts):
        defaults = {
            "name": "colours",
            "labels": dataset.class_names,
            "seed": 3,
            "calibration": Calibration(1.5, 2.0),
            "validation_images": None,
        }
        return SimpleNamespace(**{**defaults, **facts})

    def test_measures_the_test_split(self, dataset):
        found = evaluate_saved(self.saved(), dataset)
        direct = ColourModel().predict_on_batch(dataset.x_test.astype(np.float32))
        assert found["accuracy"] == (direct.argmax(1) == dataset.y_test).mean()
        assert (found["model"], found["data"], found["split"]) == ("model", "tiny", "test")
        assert found["images"] == len(dataset.x_test)
        assert "calibration" not in found

    def test_reports_the_calibration_of_the_card(self, dataset):
        found = evaluate_saved(self.saved(card=self.card(dataset)), dataset)
        assert (found["calibration"]["temperature"], found["calibration"]["exponent"]) == (1.5, 2)
        assert found["model"] == "colours"

    def test_outputs_are_reordered_by_the_labels_of_the_card(self, dataset):
        class Turned(ColourModel):
            def predict_on_batch(self, x):
                return super().predict_on_batch(x)[:, [2, 0, 1]]

        labels = [dataset.class_names[i] for i in (2, 0, 1)]
        found = evaluate_saved(self.saved(Turned(), self.card(dataset, labels=labels)), dataset)
        assert found["confusion_matrix"] == evaluate_saved(self.saved(), dataset)["confusion_matrix"]

    @pytest.mark.parametrize(
        ("limit", "validation_images", "seed", "expected"),
        [(None, None, None, (3, 24)), (120, None, None, (3, 12)), (None, 12, None, (3, 12)), (None, None, 9, (9, 24))],
    )
    def test_validation_is_the_split_of_the_run(self, dataset, limit, validation_images, seed, expected):
        model = ColourModel()
        saved = self.saved(model, self.card(dataset, validation_images=validation_images), limit=limit)
        found = evaluate_saved(saved, dataset, split="validation", seed=seed)
        _, validation = dataset.limited(limit or 240).split(*expected)
        np.testing.assert_array_equal(np.concatenate(model.batches), dataset.x_train[validation])
        direct = ColourModel().predict_on_batch(dataset.x_train[validation].astype(np.float32))
        assert found["accuracy"] == (direct.argmax(1) == dataset.y_train[validation]).mean()

    def test_what_does_not_fit_the_data_set_is_an_error(self, dataset):
        with pytest.raises(ValueError, match="Give the seed"):
            evaluate_saved(self.saved(), dataset, split="validation")
        with pytest.raises(ValueError, match="a, b, c; tiny has colour 0"):
            evaluate_saved(self.saved(card=self.card(dataset, labels=("a", "b", "c"))), dataset)
        with pytest.raises(ValueError, match="split='train'"):
            evaluate_saved(self.saved(), dataset, split="train")
        model = ColourModel()
        model.output_shape = (None, 1000)
        with pytest.raises(ValueError, match="1000 classes.*tiny has 3"):
            evaluate_saved(self.saved(model), dataset)


def test_the_table_lines_up_and_holds_the_numbers(predictions):
    found = evaluate(*predictions, NAMES)
    table = format_metrics(found | {"calibration": calibration(*predictions, Calibration(2.0, 1.5))})
    lines = table.splitlines()
    rows = [line for line in lines if line.startswith((*NAMES, "macro", " "))]
    assert len({len(line) for line in rows}) == 1
    assert f"{found['per_class']['dog']['f1']:.4f}" in lines[2]
    for number in (f"{found['accuracy']:.4f}", "2.000", "1.500"):
        assert number in table
