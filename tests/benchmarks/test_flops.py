"""Operations counted in ONNX files, against sums written out."""

import keras
import numpy as np

from benchmarks.measures.flops import count_flops
from models.grad_cam import with_grad_cam
from models.layers import SelfAttention
from training.export.onnx_export import export_onnx


def test_convolutions_and_products_count_and_grad_cam_does_not(tmp_path):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    network = keras.Model(image, keras.layers.Dense(5, activation="softmax", name="head_probabilities")(x))
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")
    expected = 2 * (4 * 4 * 6 * 27 + 4 * 4 * 6 * 9 + 6 * 5)
    export_onnx(network, tmp_path / "plain.onnx", images)
    export_onnx(with_grad_cam(network), tmp_path / "explained.onnx", images)
    assert count_flops(tmp_path / "plain.onnx") == expected
    assert count_flops(tmp_path / "explained.onnx") == expected


def test_attention_counts(tmp_path):
    image = keras.Input((4, 4, 3))
    tokens = keras.layers.Dense(24)(keras.layers.Reshape((16, 3))(image))
    mixed = SelfAttention(2)(tokens)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(mixed)))
    images = np.random.default_rng(0).uniform(0, 1, (4, 4, 4, 3)).astype("float32")
    export_onnx(model, tmp_path / "model.onnx", images)
    assert count_flops(tmp_path / "model.onnx") == 2 * (16 * 3 * 24 + 2 * (2 * 16 * 16 * 4) + 16 * 8 * 2)
