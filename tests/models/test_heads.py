"""The classifiers of AlexNet and VGG pool and flatten a map of any size as PyTorch does."""

import keras
import numpy as np
import pytest

from models.heads import attach_head
from models.saved.onnx_model import OnnxModel
from training.export.onnx_export import export_onnx


def flattened(name, side, channels=3):
    """Return the part of a head up to its flatten layer."""
    features = keras.Input((side, side, channels))
    model = keras.Model(features, attach_head(name, features, 2))
    return keras.Model(features, model.get_layer("head_flatten").output)


@pytest.mark.parametrize("side", [4, 7, 9])
@pytest.mark.parametrize(("name", "pooled"), [("alexnet_classifier", 6), ("vgg_classifier", 7)])
def test_maps_are_pooled_and_flattened_as_pytorch_does(name, pooled, side):
    maps = np.random.default_rng(side).normal(size=(2, side, side, 3)).astype("float32")
    bins = [slice(i * side // pooled, -(-(i + 1) * side // pooled)) for i in range(pooled)]  # AdaptiveAvgPool2d's
    expected = np.array([[maps[:, rows, columns].mean(axis=(1, 2)) for columns in bins] for rows in bins])
    expected = expected.transpose(2, 3, 0, 1).reshape(2, -1)  # (rows, columns, b, c) → (b, c · rows · columns)
    np.testing.assert_allclose(flattened(name, side)(maps), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["alexnet_classifier", "vgg_classifier"])
def test_their_pooling_has_a_counterpart_in_onnx(name, tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (3, 9, 9, 3)).astype("float32")
    model = flattened(name, 9)
    assert export_onnx(model, tmp_path / "head.onnx", images) <= 1e-4
    assert OnnxModel(tmp_path / "head.onnx").output_shape == model.output_shape
