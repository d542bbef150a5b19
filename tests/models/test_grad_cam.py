"""Grad-CAM in closed form equals TensorFlow's gradient, and is the same in an ONNX file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import tiny_backbone, tiny_dataset

from models.grad_cam import with_grad_cam
from models.heads import attach_head
from models.registry import build_model, model_spec
from models.saved.card import NotExplainableError
from models.saved.onnx_model import OnnxModel
from training.data.image_batches import resize
from training.export.onnx_export import export_onnx

CLASSES = 7


def three_layers(features, classes):
    """BN before, between and behind Dense layers, with and without scale and centre."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(features)
    x = keras.layers.BatchNormalization(scale=False, name="head_BN_1")(x)
    x = keras.layers.Dense(20, activation="relu", name="head_dense_1")(x)
    x = keras.layers.BatchNormalization(center=False, name="head_BN_2")(x)
    x = keras.layers.Dense(16, activation="relu", name="head_dense_2")(x)
    x = keras.layers.Dropout(0.5, name="head_dropout")(x)
    x = keras.layers.BatchNormalization(name="head_BN_3")(x)
    return keras.layers.Dense(classes, activation="softmax", name="head_probabilities")(x)


def one_maximum(features, classes):
    """The speedrun network's head on a map that its pooling reduces to one value."""
    features = keras.layers.AveragePooling2D(2, name="before")(features[:, :6, :6])
    return attach_head("max_pool", features, classes)


def network(head) -> keras.Model:
    """Build the tiny network; every BatchNormalization has statistics, scale and offset as after training."""
    keras.utils.set_random_seed(1)
    backbone = tiny_backbone(16, "keras")
    output = head(backbone.output, CLASSES) if callable(head) else attach_head(head, backbone.output, CLASSES)
    model = keras.Model(backbone.input, output, name="tiny")
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                centre = 0 if weight.name in ("beta", "moving_mean") else 1
                weight.assign(centre + random.uniform(-0.5, 0.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def images():
    return np.asarray(resize(tiny_dataset().x_test[:6], 16))


def by_gradient(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the mean over the feature map of each logit's gradient, (b, classes, C), by automatic differentiation."""
    head = [layer for layer in model.layers if layer.name.startswith("head_")]
    features = keras.Model(model.input, head[0].input)(images)
    before_last = keras.Model(head[0].input, head[-1].input)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = before_last(features)  # behind a Dense layer with softmax, only its input
        if isinstance(head[-1], keras.layers.Dense):
            logits = logits @ head[-1].kernel + head[-1].bias
    return tape.batch_jacobian(logits, features).numpy().mean(axis=(2, 3))


@pytest.mark.parametrize("head", ["linear", "dense", "flatten", "flatten_bn", three_layers, one_maximum])
def test_the_closed_form_is_the_gradient(head, images):
    model = network(head)
    probabilities, _, weights = with_grad_cam(model).predict_on_batch(images)
    expected = by_gradient(model, images)
    assert weights.shape == expected.shape == (6, CLASSES, 12)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(probabilities, model.predict_on_batch(images), atol=1e-6)
    if head not in ("linear", one_maximum):
        assert np.ptp(weights, axis=0).max() > 1e-4, "the ReLUs make the gradient differ from image to image"


@pytest.mark.parametrize("head", ["flatten_bn", three_layers, one_maximum])
def test_the_onnx_file_computes_the_same(head, images, tmp_path):
    model = with_grad_cam(network(head))
    assert export_onnx(model, tmp_path / "model.onnx", images) < 1e-5
    served = OnnxModel(tmp_path / "model.onnx")
    assert served.output_count == 3 and served.output_shape == (None, CLASSES)
    for batch in (1, 5):
        found, expected = served.outputs(images[:batch]), model.predict_on_batch(images[:batch])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["alexnet_classifier", "vgg_classifier"])
def test_heads_that_rearrange_the_map_have_no_grad_cam(head):
    features = keras.Input((4, 4, 2))
    model = keras.Model(features, attach_head(head, features, CLASSES), name="plain")
    with pytest.raises(NotExplainableError, match="plain.*Permute, Flatten"):
        with_grad_cam(model)


def test_a_transformer_has_no_feature_map():
    spec = model_spec("vit_tiny")
    model = build_model(spec, classes=CLASSES, image_size=spec.minimum_size)
    with pytest.raises(NotExplainableError):
        with_grad_cam(model)


def test_a_model_without_a_head_or_with_another_activation_has_no_grad_cam():
    backbone = tiny_backbone(16, "keras")
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)
    x = keras.layers.Dense(8, activation="gelu", name="head_dense")(x)
    x = keras.layers.Dense(CLASSES, activation="softmax", name="head_probabilities")(x)
    for model in (backbone, keras.Model(backbone.input, x)):
        with pytest.raises(NotExplainableError):
            with_grad_cam(model)
