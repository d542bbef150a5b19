"""Grad-CAM heat maps: scale, colours, and position in the image."""

import base64
import io

import keras
import numpy as np
import pytest
from image_files import encoded, photograph
from PIL import Image

from inference.classifier import Classifier
from inference.explain import COLOURS, OPACITY, heat_map, overlay, png_data_uri
from models.grad_cam import with_grad_cam
from models.saved.card import Card

CORNERS = {"top left": (0, 0), "top right": (0, 1), "bottom left": (1, 0), "bottom right": (1, 1)}  # row, column


def test_a_heat_map_is_the_weighted_sum_of_channels_scaled_to_1():
    features = np.array([[[1, 0], [0, 1]], [[2, 1], [4, 0]]], np.float32)
    heat = heat_map(features, np.array([0.5, -0.5], np.float32))
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, [[0.25, 0], [0.25, 1]])
    np.testing.assert_array_equal(heat_map(features, np.zeros(2, np.float32)), np.zeros((2, 2)))


@pytest.mark.parametrize(("side", "expected"), [(None, 32), (320, 320), (8, 8)])
def test_an_overlay_has_the_requested_size(side, expected):
    picture = overlay(np.asarray(photograph(32, 32)), np.ones((5, 5), np.float32), side)
    assert (picture.size, picture.mode) == ((expected, expected), "RGB")


def test_a_heat_map_of_zeros_leaves_the_image_unchanged():
    image = np.asarray(photograph(32, 32))
    np.testing.assert_array_equal(np.asarray(overlay(image, np.zeros((4, 4), np.float32))), image)


@pytest.mark.parametrize("step", range(len(COLOURS)))
def test_each_step_of_heat_has_its_colour(step):
    image, heat = np.full((16, 16, 3), 100, np.uint8), np.full((4, 4), step / (len(COLOURS) - 1), np.float32)
    opacity = OPACITY * np.sqrt(heat[0, 0])
    expected = (1 - opacity) * 100 + opacity * COLOURS[step]
    np.testing.assert_allclose(np.asarray(overlay(image, heat)), np.broadcast_to(expected, image.shape), atol=1)


def test_a_data_uri_holds_the_image():
    picture = photograph(20, 30)
    kind, _, text = png_data_uri(picture).partition(",")
    assert kind == "data:image/png;base64"
    again = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    assert again.format == "PNG"
    np.testing.assert_array_equal(np.asarray(again), np.asarray(picture))


class RednessEngine:
    """A network with known weights: class "red" is the mean of red minus green, on a feature map of 8 × 8."""

    name, explains = "known weights", True

    def __init__(self):
        image = keras.Input((64, 64, 3))
        convolution = keras.layers.Conv2D(1, 1, activation="relu", name="redness")
        x = keras.layers.AveragePooling2D(8)(convolution(image))
        x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
        last = keras.layers.Dense(2, activation="softmax", name="head_probabilities")
        self._model = with_grad_cam(keras.Model(image, last(x)))
        convolution.set_weights([np.array([1, -1, 0]).reshape(1, 1, 3, 1) / 255, np.zeros(1)])
        last.set_weights([np.array([[4.0, -4.0]]), np.zeros(2)])

    def outputs(self, images):
        return [np.asarray(output) for output in self._model.predict_on_batch(images)]


@pytest.fixture(scope="module")
def classifier():
    texts = dict.fromkeys(("version", "command", "recipe", "weights", "data", "hardware", "date"), "")
    numbers = {"temperature": 1, "test_accuracy": 1, "val_accuracy": 1, "seed": 0, "seconds": 0}
    model = {"name": "redness", "labels": ("red", "other"), "input_size": 64, "resize_mode": "bilinear"}
    return Classifier(Card(**model, **numbers, **texts, parameters={}, sha256={}), RednessEngine())


def with_patch(side: int, row: int, column: int) -> np.ndarray:
    """Return a grey image with a red quarter of its side in one corner."""
    image, patch = np.full((side, side, 3), 90, np.uint8), side // 4
    rows, columns = (slice(at * (side - patch), at * (side - patch) + patch) for at in (row, column))
    image[rows, columns] = (255, 0, 0)
    return image


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("side", [64, 500], ids=["at its own size", "shrunk"])
def test_heat_map_and_overlay_mark_the_class(classifier, corner, side):
    row, column = CORNERS[corner]
    explanation = classifier.explain(classifier.preprocess(with_patch(side, row, column)))
    assert explanation.label == "red"
    hot = [[6 * row + i, 6 * column + j] for i in range(2) for j in range(2)]
    assert np.argwhere(explanation.heat > 0.5).tolist() == hot
    picture = np.asarray(overlay(explanation.image, explanation.heat)).astype(int)
    change = np.abs(picture - explanation.image).max(axis=2)
    quarters = change.reshape(2, 32, 2, 32).max(axis=(1, 3))
    assert quarters[row, column] > 50
    assert quarters.sum() == quarters[row, column], "only the hot area is coloured"


def test_the_heat_map_follows_the_exif_orientation(classifier):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored at the top left, to be shown at the top right
    data = encoded(Image.fromarray(with_patch(64, 0, 0)), "PNG", exif=exif)
    heat = classifier.explain(classifier.preprocess(data)).heat
    assert np.argwhere(heat > 0.5).tolist() == [[0, 6], [0, 7], [1, 6], [1, 7]]


def test_evidence_against_a_class_is_not_marked(classifier):
    assert classifier.explain(classifier.preprocess(with_patch(64, 0, 0)), "other").heat.max() == 0
