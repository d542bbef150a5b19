"""One contract for every registered network: registering a network is enough to have it tested.

Computations use the smallest size that the network takes, and one model that the tests of a network share. They are slow
tests for the deep networks, whose graphs the parity tests cover by default.
"""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from models.pretrained.mismatch import WeightsMismatchError
from models.registry import build_model, create_model, list_models, model_spec, register_model
from models.saved.onnx_model import OnnxModel
from training.export.onnx_export import export_onnx
from training.freezing.boundary import backbone_layers, choose_cut, freeze, prefix_model, suffix_model

PARAMETERS = {  # with the default head for 10 classes, BN's moving statistics included
    "alexnet": 2_472_266,
    "custom_cnn": 620_362,
    "custom_cnn_bn": 1_253_674,
    "efficientnet_b0": 4_062_374,
    "efficientnet_lite0": 3_425_834,
    "mobilenet_v2": 2_423_242,
    "resnet18": 11_191_242,
    "resnet50": 24_114_826,
    "resnet50_v1_5": 24_088_266,
    "speedrun_cnn": 1_973_944,
    "speedrun_cnn_95": 4_608_312,
    "speedrun_cnn_96": 9_921_848,
    "vgg16": 14_719_818,
    "vit_b16": 85_806_346,
    "vit_tiny": 763_979,
}
FAST = ("custom_cnn", "custom_cnn_bn", "speedrun_cnn", "vit_tiny")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in list_models()],
)
def spec(request):
    return model_spec(request.param)


@pytest.fixture(scope="module")
def images(spec):
    """Four images of different colours, with noise."""
    generator, size = np.random.default_rng(0), spec.minimum_size
    colours = generator.uniform(0, 255, (4, 1, 1, 3))
    return np.clip(colours + generator.normal(0, 60, (4, size, size, 3)), 0, 255).astype("float32")


@pytest.fixture(scope="module")
def model(spec, images):
    """A small model that the tests share; a test that trains it restores its weights."""
    return lively(build_model(spec, classes=10, image_size=spec.minimum_size), images)


def lively(model, images):
    """Give a network weights under which its probabilities depend on the image; deep untrained ones return 0.1."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name == "kernel":
                inputs = np.prod(weight.shape[:2]) if weight.shape[-1] == 1 else np.prod(weight.shape[:-1])
                values = generator.standard_normal(weight.shape, dtype="float32")
                weight.assign(values / np.sqrt(inputs, dtype="float32"))
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]
    features = keras.Model(model.input, last.input)(images, training=False)
    logits = keras.ops.convert_to_numpy(features) @ keras.ops.convert_to_numpy(last.kernel)
    last.kernel.assign(last.kernel / logits.std())
    return model


@pytest.fixture(scope="module")
def probabilities(model, images):
    return call(model, images)


def call(model, inputs):
    """Call a model eagerly: with images this small, `predict` would spend its time on tracing."""
    return keras.ops.convert_to_numpy(model(inputs, training=False))


@pytest.mark.parametrize("name", list_models())
def test_is_flat_with_scaling_inside_and_the_recorded_number_of_parameters(name):
    spec = model_spec(name)
    with keras.StatelessScope():  # creates no weights
        model = create_model(name, weights=None)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.input_shape == (None, spec.image_size, spec.image_size, 3)
    assert model.output_shape == (None, 10)
    names = [layer.name for layer in model.layers]
    assert names[1].startswith("preprocess_")
    assert names[-1] == "head_probabilities"
    assert model.count_params() == PARAMETERS[name]


@pytest.mark.parametrize("name", list_models())
def test_builds_at_another_size_with_another_number_of_classes_and_every_head(name):
    spec = model_spec(name)
    size = spec.minimum_size + 9
    for head in spec.heads[1:] or spec.heads:  # the first is in the test above
        with keras.StatelessScope():
            other = build_model(spec, image_size=size, classes=3, head=head)
        assert other.input_shape[1] == size
        assert other.output_shape == (None, 3)


def test_returns_probabilities_for_raw_pixels(probabilities):
    assert probabilities.shape == (4, 10)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 0.01, "the probabilities depend on the image"


def test_is_the_same_after_saving(model, images, probabilities, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(again, images), probabilities, atol=1e-6)


# The converter copies the weights in each of its forty passes: 90 s for all of ViT-B/16. More blocks are more of the same.
SHALLOW = {"resnet50_v1_5": {"blocks": (1, 1, 1, 1)}, "vit_b16": {"depth": 1}, "vit_tiny": {"depth": 1}}


def test_onnx_computes_the_same(spec, model, images, tmp_path):
    if spec.name in SHALLOW:
        backbone = functools.partial(spec.backbone, **SHALLOW[spec.name])
        shallow = dataclasses.replace(spec, backbone=backbone)
        model = lively(build_model(shallow, classes=10, image_size=spec.minimum_size), images)
    assert export_onnx(model, tmp_path / "model.onnx", images) <= 1e-4
    assert OnnxModel(tmp_path / "model.onnx").output_shape == (None, 10)


def test_splits_at_several_n_without_changing_the_probabilities(model, images, probabilities):
    layers = len(backbone_layers(model))
    for unfreeze in (0, 1, layers // 3, layers - 2):
        freeze(model, unfreeze)
        cut = choose_cut(model)
        crossing = keras.tree.flatten(prefix_model(model, [cut])(images, training=False))
        found = call(suffix_model(model, cut), crossing if len(crossing) > 1 else crossing[0])
        np.testing.assert_allclose(found, probabilities, atol=1e-5, err_msg=f"N={unfreeze}, cut at {cut.name}")
    freeze(model, layers, train_batch_norm=True)


def test_a_training_step_lowers_the_loss(model, images):
    """In inference mode, on the same images: Dropout and BN's batch statistics would add noise."""
    before = model.get_weights()
    labels = np.eye(10, dtype="float32")[:4]
    freeze(model, len(backbone_layers(model)))
    model.compile(keras.optimizers.SGD(1e-3, global_clipnorm=1.0), "categorical_crossentropy", run_eagerly=True)
    first = model.test_on_batch(images, labels)
    model.train_on_batch(images, labels)
    assert model.test_on_batch(images, labels) < first
    kernels = [index for index, weight in enumerate(model.weights) if weight.name == "kernel" and weight.trainable]
    reached = not np.array_equal(model.get_weights()[kernels[0]], before[kernels[0]])
    assert reached, "the gradient reaches the first layer"
    model.set_weights(before)


def test_mixed_precision_is_close(spec, model, images, probabilities):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_model(spec, classes=10, image_size=spec.minimum_size)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(model.get_weights())
    found = call(mixed, images)
    assert found.dtype == np.float32
    assert mixed.layers[-2].compute_dtype == "bfloat16"
    np.testing.assert_allclose(found, probabilities, atol=0.1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("custom_cnn", {"head": "nonsense"}, "head .*head='nonsense'"),
        ("custom_cnn", {"image_size": 7}, "image_size .*8.*image_size=7"),
        ("custom_cnn", {"classes": 1}, "classes .*classes=1"),
        ("custom_cnn", {"weights": "nonsense"}, "weights .*weights='nonsense'"),
        ("custom_cnn", {"convention": "nonsense"}, "convention .*convention='nonsense'"),
        ("mobilenet", {}, "custom_cnn.*mobilenet_v2.*model='mobilenet'. Did you mean 'mobilenet_v2'"),
    ],
)
def test_an_invalid_argument_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, **{"weights": None, **options})


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="custom_cnn"):
        register_model(**vars(model_spec("custom_cnn")))


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("convention", ["pytorch", "keras"])
def test_a_keras_file_is_loaded_into_its_convention_at_any_image_size(two_conventions, tmp_path, convention, size):
    saved = build_model(model_spec(two_conventions), classes=10, image_size=32, convention=convention)
    saved.save(tmp_path / "a.keras")
    model = create_model(two_conventions, weights=tmp_path / "a.keras", image_size=size)
    assert model.get_layer("preprocess_rescaling").get_config() == saved.get_layer("preprocess_rescaling").get_config()


def test_bare_weights_that_fit_several_conventions_are_refused(two_conventions, tmp_path):
    build_model(model_spec(two_conventions), classes=10).save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(WeightsMismatchError, match=r"\(pytorch, keras\).*\.keras"):
        create_model(two_conventions, weights=tmp_path / "a.weights.h5")
    create_model(two_conventions, weights=tmp_path / "a.weights.h5", convention="pytorch")


def test_a_pytorch_checkpoint_for_keras_resnet50_is_refused_with_the_right_network(tmp_path):
    (tmp_path / "a.pth").touch()
    with pytest.raises(ValueError, match="resnet50_v1_5"):
        create_model("resnet50", weights=tmp_path / "a.pth", image_size=32)
