"""A mapping assigns tensors to the right layers, and refuses tensors that do not fit."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from recordings import random_tensors
from weight_files import MAPPING, assert_same, tiny_model

from models.pretrained.mapping import PytorchMapping, choose_mapping, load_pytorch, to_pytorch
from models.pretrained.mismatch import WeightsMismatchError


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def state_dict(model):
    return to_pytorch(model, MAPPING)


def refused(model, state_dict, match, mapping=MAPPING):
    before = model.get_weights()
    with pytest.raises(WeightsMismatchError, match=match):
        load_pytorch(model, state_dict, mapping)
    assert_same(model.get_weights(), before)


def test_the_originals_classifier_is_ignored_and_half_precision_is_widened(model, state_dict):
    tensors = random_tensors({name: array.shape for name, array in state_dict.items()} | {"fc.weight": (1000, 4)})
    halves = {name: array.astype("float16") for name, array in tensors.items()}
    load_pytorch(model, halves, MAPPING)
    expected = halves["conv.weight"].transpose(2, 3, 1, 0).astype("float32")
    np.testing.assert_array_equal(model.get_layer("conv").kernel, expected)


def test_a_misshapen_tensor_is_refused_with_both_shapes(model, state_dict):
    wrong = {"conv.weight": np.zeros((8, 3, 3, 3), "float32")}
    refused(model, state_dict | wrong, r"conv\.weight .*\(4, 3, 3, 3\).*\(8, 3, 3, 3\)")


def test_missing_and_unknown_tensors_are_listed(model, state_dict):
    moved = state_dict.pop("norm.bias")
    refused(model, state_dict, r"norm\.bias .*\(4,\).*nothing.*1 missing")
    state_dict |= {"norm.bias": moved, "dense.weight": np.zeros((10, 4))}
    refused(model, state_dict, r"dense\.weight .*nothing.*\(10, 4\).*1 unknown")


def test_another_networks_checkpoint_is_refused_with_the_first_name_and_shape(model):
    resnet = {"conv1.weight": np.zeros((64, 3, 7, 7)), "bn1.weight": np.zeros(64), "fc.weight": np.zeros((1000, 512))}
    other = PytorchMapping("other", (("features.0", "conv"), ("features.1", "norm")))
    refused(model, resnet, r"features\.0\.weight .*conv1\.weight", choose_mapping(resnet, [other, MAPPING]))


def test_a_batch_norm_of_another_epsilon_is_refused_though_its_weights_fit(model, state_dict):
    refused(model, state_dict, "epsilon=1e-05", replace(MAPPING, epsilon=1e-3))


def test_a_strided_convolution_that_pads_keras_way_is_refused():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, strides=2, padding="same", name="conv")(image))
    state_dict = {"conv.weight": np.zeros((2, 3, 3, 3)), "conv.bias": np.zeros(2)}
    mapping = PytorchMapping("tiny", (("conv", "conv"),))
    refused(model, state_dict, "pads", mapping)
    load_pytorch(model, state_dict, replace(mapping, symmetric_padding=False))


def test_a_mapping_that_leaves_a_layer_out_or_invents_one_is_refused(model, state_dict):
    refused(model, state_dict, "conv", replace(MAPPING, layers=MAPPING.layers[1:]))
    refused(model, state_dict, "nowhere", replace(MAPPING, layers=(*MAPPING.layers, ("x", "nowhere"))))
