"""A mapping assigns tensors to the right layers, and refuses tensors that do not fit."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from recordings import random_tensors

from models.architectures.mobilenet_v2 import PRETRAINED, mobilenet_v2_backbone, pytorch_names
from models.pretrained.mapping import PytorchMapping, choose_mapping, load_pytorch, to_pytorch
from models.pretrained.mismatch import WeightsMismatchError

TORCHVISION, FLAT = PRETRAINED.mappings


@pytest.fixture(scope="module")
def backbone():
    return mobilenet_v2_backbone(96, "pytorch")


def snapshot(model):
    return [np.array(weight) for weight in model.get_weights()]


def assert_unchanged(model, before):
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_the_originals_classifier_is_ignored_and_half_precision_is_widened(backbone):
    shapes = {name: array.shape for name, array in to_pytorch(backbone, TORCHVISION).items()}
    tensors = random_tensors(shapes | {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)})
    state_dict = {name: array.astype("float16") for name, array in tensors.items()}
    load_pytorch(backbone, state_dict, TORCHVISION)
    kernel = backbone.get_layer("Conv1").kernel
    np.testing.assert_array_equal(kernel, state_dict["features.0.0.weight"].transpose(2, 3, 1, 0).astype("float32"))


def test_every_layer_with_weights_is_named_once(backbone):
    for naming in ("flat", "torchvision"):
        modules, layers = zip(*pytorch_names(naming), strict=True)
        assert len(set(modules)) == len(set(layers)) == 104
        assert set(layers) == {layer.name for layer in backbone.layers if layer.weights}


def state_dict_of(model):
    return to_pytorch(model, FLAT)


def refused(model, state_dict, match, mapping=FLAT):
    before = snapshot(model)
    with pytest.raises(WeightsMismatchError, match=match):
        load_pytorch(model, state_dict, mapping)
    assert_unchanged(model, before)


def test_a_misshapen_tensor_is_refused_with_both_shapes(backbone):
    state_dict = state_dict_of(backbone)
    name = "features.2.conv.3.weight"
    refused(
        backbone, state_dict | {name: np.zeros((48, 1, 3, 3), "float32")}, rf"{name} .*\(96, 1, 3, 3\).*\(48, 1, 3, 3\)"
    )


def test_missing_and_unknown_tensors_are_listed(backbone):
    state_dict = state_dict_of(backbone)
    moved = state_dict.pop("features.0.1.bias")
    refused(backbone, state_dict, r"features\.0\.1\.bias .*\(32,\).*nothing.*1 missing")
    state_dict |= {"features.0.1.bias": moved, "fc.weight": np.zeros((10, 4))}
    refused(backbone, state_dict, r"fc\.weight .*nothing.*\(10, 4\).*1 unknown")


def test_another_networks_checkpoint_is_refused_with_the_first_name_and_shape(backbone):
    resnet = {"conv1.weight": np.zeros((64, 3, 7, 7)), "bn1.weight": np.zeros(64), "fc.weight": np.zeros((1000, 512))}
    mapping = choose_mapping(resnet, PRETRAINED.mappings)
    refused(backbone, resnet, r"features\.0\.0\.weight .*conv1\.weight", mapping)


def test_weights_of_another_convention_are_refused_though_they_fit(backbone):
    keras_graph = mobilenet_v2_backbone(96, "keras")
    refused(keras_graph, state_dict_of(backbone), "epsilon|pads")
    refused(backbone, state_dict_of(backbone), "epsilon=1e-05", replace(FLAT, epsilon=1e-3))


def test_a_strided_convolution_that_pads_keras_way_is_refused():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, strides=2, padding="same", name="conv")(image))
    state_dict = {"conv.weight": np.zeros((2, 3, 3, 3)), "conv.bias": np.zeros(2)}
    mapping = PytorchMapping("tiny", (("conv", "conv"),))
    refused(model, state_dict, "pads", mapping)
    load_pytorch(model, state_dict, replace(mapping, symmetric_padding=False))


def test_a_mapping_that_leaves_a_layer_out_or_invents_one_is_refused(backbone):
    state_dict = state_dict_of(backbone)
    refused(backbone, state_dict, "Conv1", replace(FLAT, layers=FLAT.layers[1:]))
    refused(backbone, state_dict, "nowhere", replace(FLAT, layers=(*FLAT.layers, ("x", "nowhere"))))


def test_each_kind_of_layer_equals_its_pytorch_counterpart():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 6, (3, 5), groups=2),
        torch.nn.Conv2d(6, 6, 3, groups=6),
        torch.nn.BatchNorm2d(6, affine=False),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 3),
    ).eval()
    network[2].running_mean.normal_()
    image = keras.Input((9, 9, 4))
    x = keras.layers.Conv2D(6, (3, 5), groups=2, name="convolution")(image)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-5, center=False, scale=False, name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, name="dense")(x))
    mapping = PytorchMapping("tiny", (("0", "convolution"), ("1", "depthwise"), ("2", "norm"), ("5", "dense")))
    load_pytorch(model, {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}, mapping)
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 4)).astype("float32")
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, atol=1e-5)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in to_pytorch(model, mapping).items()})


def test_a_layer_of_an_unknown_kind_is_named():
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.PReLU(name="slope")(image))
    with pytest.raises(TypeError, match="slope"):
        to_pytorch(model, PytorchMapping("tiny", (("slope", "slope"),)))
