"""A mapping carries tensors to where they belong, and refuses what does not belong there; real weights of MobileNetV2."""

import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from weight_files import load_weights

from models.architectures.mobilenet_v2 import mobilenet_v2_backbone
from models.pretrained.architectures import MOBILENET_V2, mobilenet_v2_names
from models.pretrained.checkpoints import read_state_dict
from models.pretrained.mapping import PytorchMapping, choose_mapping, load_pytorch, to_pytorch
from models.pretrained.mismatch import WeightsMismatchError

TORCHVISION, FLAT = MOBILENET_V2.mappings
TOLERANCE = 1e-4
OFFLINE = os.environ.get("THAW_OFFLINE") == "1"


@pytest.fixture(scope="module")
def backbone():
    return mobilenet_v2_backbone(96, "pytorch")


def pytorch_network(naming="flat", classes=0):
    pytest.importorskip("torch")
    from originals import randomised
    from pytorch_mobilenet_v2 import MobileNetV2

    return randomised(MobileNetV2(naming, classes))


def arrays(network):
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def snapshot(model):
    return [np.array(weight) for weight in model.get_weights()]


def assert_unchanged(model, before):
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def largest_difference(model, network, size):
    """Return the largest difference over all 19 block outputs, on random images that go in raw on the Keras side."""
    import torch

    layers = {layer.name: layer for layer in model.layers}
    names = ["Conv1_relu", "expanded_conv_project_BN"]
    names += [f"block_{i}_add" if f"block_{i}_add" in layers else f"block_{i}_project_BN" for i in range(1, 17)]
    blocks = keras.Model(model.input, [layers[name].output for name in [*names, "out_relu"]])

    images = np.random.default_rng(size).integers(0, 256, (2, size, size, 3)).astype("float32")
    ours = [keras.ops.convert_to_numpy(output) for output in blocks([images], training=False)]
    scaled = ((images / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).astype("float32")
    with torch.no_grad():
        theirs = network.block_outputs(torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy()))
    assert len(ours) == len(theirs) == 19
    return max(np.abs(our - their.numpy().transpose(0, 2, 3, 1)).max() for our, their in zip(ours, theirs, strict=True))


@pytest.mark.network
@pytest.mark.skipif(OFFLINE, reason="THAW_OFFLINE=1: the real weights are not fetched")
@pytest.mark.parametrize("size", [160, 96])
def test_the_real_weights_give_the_pytorch_networks_block_outputs(size):
    torch = pytest.importorskip("torch")

    original = pytorch_network()
    path = MOBILENET_V2.imagenet.fetch()
    original.load_state_dict(torch.load(path, weights_only=True), strict=True)
    model = mobilenet_v2_backbone(size, "pytorch")
    record = load_weights(model, "imagenet", MOBILENET_V2)
    assert record["sha256"] == MOBILENET_V2.imagenet.sha256
    assert largest_difference(model, original, size) < TOLERANCE
    for name, array in to_pytorch(model, FLAT).items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(array, read_state_dict(path)[name], err_msg=name)


def test_the_classifier_of_the_original_is_ignored_and_half_precision_is_widened(backbone):
    state_dict = {name: array.astype("float16") for name, array in arrays(pytorch_network("torchvision", 1000)).items()}
    assert "classifier.1.weight" in state_dict
    load_pytorch(backbone, state_dict, TORCHVISION)
    kernel = backbone.get_layer("Conv1").kernel
    np.testing.assert_array_equal(kernel, state_dict["features.0.0.weight"].transpose(2, 3, 1, 0).astype("float32"))


def test_every_layer_with_weights_is_named_once(backbone):
    for naming in ("flat", "torchvision"):
        modules, layers = zip(*mobilenet_v2_names(naming), strict=True)
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
        backbone,
        state_dict | {name: np.zeros((48, 1, 3, 3), "float32")},
        rf"{name} must have the shape \(96, 1, 3, 3\)\. Received: \(48, 1, 3, 3\)",
    )


def test_missing_and_unknown_tensors_are_listed(backbone):
    state_dict = state_dict_of(backbone)
    moved = state_dict.pop("features.0.1.bias")
    refused(backbone, state_dict, r"features\.0\.1\.bias must have the shape \(32,\)\. Received: nothing\. .*1 missing")
    state_dict |= {"features.0.1.bias": moved, "fc.weight": np.zeros((10, 4))}
    refused(backbone, state_dict, r"fc\.weight must have the shape nothing\. Received: \(10, 4\)\. .*1 unknown")


def test_another_networks_checkpoint_is_refused_with_the_first_name_and_shape(backbone):
    resnet = {"conv1.weight": np.zeros((64, 3, 7, 7)), "bn1.weight": np.zeros(64), "fc.weight": np.zeros((1000, 512))}
    mapping = choose_mapping(resnet, MOBILENET_V2.mappings)
    refused(backbone, resnet, r"features\.0\.0\.weight must have the shape \(32, 3, 3, 3\)\. .*conv1\.weight", mapping)


def test_weights_of_another_convention_are_refused_though_they_fit(backbone):
    keras_graph = mobilenet_v2_backbone(96, "keras")
    refused(keras_graph, state_dict_of(backbone), "epsilon|pads the bottom and the right")
    refused(backbone, state_dict_of(backbone), "epsilon=1e-05", replace(FLAT, epsilon=1e-3))


def test_a_strided_convolution_that_pads_keras_way_is_refused():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, strides=2, padding="same", name="conv")(image))
    state_dict = {"conv.weight": np.zeros((2, 3, 3, 3)), "conv.bias": np.zeros(2)}
    mapping = PytorchMapping("tiny", (("conv", "conv"),))
    refused(model, state_dict, "pads the bottom and the right", mapping)
    load_pytorch(model, state_dict, replace(mapping, symmetric_padding=False))


def test_a_mapping_that_leaves_a_layer_out_or_invents_one_is_refused(backbone):
    state_dict = state_dict_of(backbone)
    refused(backbone, state_dict, "no PyTorch module for the layer Conv1", replace(FLAT, layers=FLAT.layers[1:]))
    refused(backbone, state_dict, "no layer nowhere", replace(FLAT, layers=(*FLAT.layers, ("x", "nowhere"))))


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
    with pytest.raises(TypeError, match="slope of kind PReLU"):
        to_pytorch(model, PytorchMapping("tiny", (("slope", "slope"),)))
