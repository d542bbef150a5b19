"""One contract for every registered model; registering one is enough to have it tested.

Whatever computes runs at the smallest size that the model takes, and most of it on one build that the tests share.
"""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from models.pretrained.mismatch import WeightsMismatchError
from models.registry import build_model, create_model, list_models, model_spec, pytorch_parameters, register_model
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
PYTORCH_PARAMETERS = {"efficientnet_b0": 4_020_358, "mobilenet_v2": 2_236_682, "resnet18": 11_181_642}  # linear head


@pytest.fixture(scope="module", params=list_models())
def spec(request):
    return model_spec(request.param)


@pytest.fixture(scope="module")
def images(spec):
    """Four images that differ from one another in colour too, not in noise alone."""
    generator, size = np.random.default_rng(0), spec.minimum_size
    colours = generator.uniform(0, 255, (4, 1, 1, 3))
    return np.clip(colours + generator.normal(0, 60, (4, size, size, 3)), 0, 255).astype("float32")


@pytest.fixture(scope="module")
def model(spec, images):
    """A small build that the tests share; those that train it put its weights back."""
    return lively(build_model(spec, classes=10, image_size=spec.minimum_size), images)


def lively(model, images):
    """Give a network weights under which its answer depends on the image; untrained deep ones answer 0.1 to everything."""
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
    return answer(model, images)


def answer(model, inputs):
    """Call a model eagerly: on images this small, `predict` would spend its time on tracing."""
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def test_is_flat_with_scaling_inside_and_its_parameters_are_as_recorded(spec):
    with keras.StatelessScope():  # no weight is made
        model = create_model(spec.name, weights=None)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.input_shape == (None, spec.image_size, spec.image_size, 3)
    assert model.output_shape == (None, 10)
    names = [layer.name for layer in model.layers]
    assert names[1].startswith("preprocess_")
    assert names[-1] == "head_probabilities"
    assert model.count_params() == PARAMETERS[spec.name]


def test_answers_probabilities_for_raw_pixels(model, probabilities):
    assert probabilities.shape == (4, 10)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 0.01, "the answer depends on the image"


def test_is_the_same_after_saving(model, images, probabilities, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answer(again, images), probabilities, atol=1e-6)


# The converter copies the weights at each of its forty passes: 90 s for the whole of ViT-B/16. More blocks are more of the
# same operations.
SHALLOW = {"resnet50_v1_5": {"blocks": (1, 1, 1, 1)}, "vit_b16": {"depth": 1}}


def test_onnx_answers_alike(spec, model, images, tmp_path):
    if spec.name in SHALLOW:
        backbone = functools.partial(spec.backbone, **SHALLOW[spec.name])
        shallow = dataclasses.replace(spec, backbone=backbone)
        model = lively(build_model(shallow, classes=10, image_size=spec.minimum_size), images)
    assert export_onnx(model, tmp_path / "model.onnx", images) <= 1e-4
    assert OnnxModel(tmp_path / "model.onnx").output_shape == (None, 10)


def test_splits_at_several_n_without_changing_the_answer(model, images, probabilities):
    layers = len(backbone_layers(model))
    for unfreeze in (0, 1, layers // 3, layers - 2):
        freeze(model, unfreeze)
        cut = choose_cut(model)
        crossing = keras.tree.flatten(prefix_model(model, [cut])(images, training=False))
        answers = answer(suffix_model(model, cut), crossing if len(crossing) > 1 else crossing[0])
        np.testing.assert_allclose(answers, probabilities, atol=1e-5, err_msg=f"N={unfreeze}, cut at {cut.name}")
    freeze(model, layers, train_batch_norm=True)


def test_a_training_step_lowers_the_loss(model, images):
    """In inference mode afterwards, on the same images: Dropout and BN's batch statistics would blur it."""
    before = model.get_weights()
    labels = np.eye(10, dtype="float32")[:4]
    freeze(model, len(backbone_layers(model)))
    model.compile(keras.optimizers.SGD(1e-3, global_clipnorm=1.0), "categorical_crossentropy", run_eagerly=True)
    first = model.test_on_batch(images, labels)
    model.train_on_batch(images, labels)
    assert model.test_on_batch(images, labels) < first
    kernels = [index for index, weight in enumerate(model.weights) if weight.name == "kernel" and weight.trainable]
    assert not np.array_equal(model.get_weights()[kernels[0]], before[kernels[0]]), (
        "the gradient reaches the first layer"
    )
    model.set_weights(before)


def test_mixed_precision_answers_nearly_alike(spec, model, images, probabilities):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_model(spec, classes=10, image_size=spec.minimum_size)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(model.get_weights())
    answers = answer(mixed, images)
    assert answers.dtype == np.float32
    assert mixed.layers[-2].compute_dtype == "bfloat16"
    np.testing.assert_allclose(answers, probabilities, atol=0.1)


def test_builds_at_another_size_with_another_number_of_classes_and_every_head(spec):
    size = spec.minimum_size + 9
    for head in spec.heads:
        other = build_model(spec, image_size=size, classes=3, head=head)
        assert other.input_shape[1] == size
        assert other.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "nonsense"}, "head must be one of .*Received: head='nonsense'"),
        ({"classes": 1}, "classes must be at least 2. Received: classes=1"),
        ({"weights": "nonsense"}, "weights must be .*Received: weights='nonsense'"),
    ],
)
def test_a_wrong_argument_is_told(spec, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(spec.name, **{"weights": None, "image_size": spec.minimum_size, **options})


def test_one_pixel_too_few_is_told(spec):
    message = (
        f"image_size must be at least {spec.minimum_size} for {spec.name}. Received: image_size={spec.minimum_size - 1}"
    )
    with pytest.raises(ValueError, match=message):
        build_model(spec, classes=10, image_size=spec.minimum_size - 1)


def test_an_unknown_name_lists_the_models():
    with pytest.raises(ValueError, match="custom_cnn.*mobilenet_v2.*Received: model='nonsense'"):
        create_model("nonsense")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="registered already"):
        register_model(model_spec("custom_cnn"))


@pytest.mark.parametrize("name", PYTORCH_PARAMETERS)
def test_parameters_are_the_published_ones_in_pytorchs_count(name):
    model = create_model(name, weights=None, head="linear", image_size=32)
    assert pytorch_parameters(model) == PYTORCH_PARAMETERS[name]


def test_the_linear_head_of_resnet18_has_5130_parameters():
    model = create_model("resnet18", weights=None, head="linear", image_size=32)
    assert sum(layer.count_params() for layer in model.layers if layer.name.startswith("head_")) == 5_130


def test_a_keras_file_is_loaded_into_the_graph_that_it_was_saved_from(tmp_path):
    spec = model_spec("mobilenet_v2")
    for convention in spec.conventions:
        saved = build_model(spec, classes=10, image_size=32, convention=convention)
        saved.save(tmp_path / "a.keras")
        model = create_model("mobilenet_v2", weights=tmp_path / "a.keras", image_size=32)
        for layer in ("preprocess_rescaling", "Conv1", "bn_Conv1"):
            assert model.get_layer(layer).get_config() == saved.get_layer(layer).get_config()


def test_a_keras_file_is_loaded_at_another_image_size(tmp_path):
    build_model(model_spec("efficientnet_lite0"), classes=10, image_size=32).save(tmp_path / "a.keras")
    create_model(
        "efficientnet_lite0", weights=tmp_path / "a.keras", image_size=40
    )  # 40, 20, 10, 5: padded in another way


def test_bare_weights_that_fit_several_graphs_are_refused_with_advice(tmp_path):
    build_model(model_spec("mobilenet_v2"), classes=10, image_size=32).save_weights(tmp_path / "a.weights.h5")
    options = {"weights": tmp_path / "a.weights.h5", "image_size": 32}
    with pytest.raises(WeightsMismatchError, match=r"does not say which graph .*\(pytorch, keras\).*\.keras"):
        create_model("mobilenet_v2", **options)
    create_model("mobilenet_v2", convention="pytorch", **options)


def test_a_pytorch_checkpoint_for_kerass_resnet50_is_sent_to_the_right_network(tmp_path):
    (tmp_path / "a.pth").touch()
    with pytest.raises(ValueError, match="resnet50_v1_5"):
        create_model("resnet50", weights=tmp_path / "a.pth", image_size=32)
