"""The freeze boundary: what N means, what stays still, and that a split model is the same function."""

import keras
import numpy as np
import pytest

from models.registry import create_model
from training.freezing.boundary import (
    backbone_layers,
    choose_cut,
    cuts,
    freeze,
    prefix_model,
    resolve_unfreeze,
    suffix_model,
)


@pytest.fixture(scope="module")
def mobilenet_v2():
    return create_model("mobilenet_v2", weights=None, image_size=160)


def test_n_counts_backbone_layers_from_the_end(mobilenet_v2):
    assert len(backbone_layers(mobilenet_v2)) == 154
    freeze(mobilenet_v2, 50)
    learning = [layer for layer in backbone_layers(mobilenet_v2) if layer.trainable]
    assert {layer.name for layer in learning} <= {layer.name for layer in backbone_layers(mobilenet_v2)[-50:]}
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in learning)
    assert sum(bool(layer.trainable_weights) for layer in learning) == sum(
        "BN" not in layer.name and "bn" not in layer.name and bool(layer.weights)
        for layer in backbone_layers(mobilenet_v2)[-50:]
    )


@pytest.mark.parametrize(
    ("unfreeze", "cut", "values"),
    [
        (0, "head_pool", 1280),
        (20, "block_14_add", 5 * 5 * 160),
        (50, "block_10_project_BN", 10 * 10 * 96),
        (56, "block_10_project_BN", 10 * 10 * 96),
        (91, "block_6_project_BN", 10 * 10 * 64),
    ],
)
def test_the_cut_stands_where_the_cache_is_small(mobilenet_v2, unfreeze, cut, values):
    freeze(mobilenet_v2, unfreeze)
    chosen = choose_cut(mobilenet_v2)
    assert chosen.name == cut
    assert chosen.values_per_image == values


@pytest.mark.parametrize(
    ("said", "meant"), [(0, 0), ("50", 50), (154, 154), ("all", 154), ("block_13", 38), ("block_11_expand", 56)]
)
def test_unfreeze_is_a_number_a_layer_a_block_or_all(mobilenet_v2, said, meant):
    assert resolve_unfreeze(mobilenet_v2, said) == meant


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (500, "between 0 and 154.*Received: unfreeze=500"),
        (-1, "between 0 and 154.*Received: unfreeze=-1"),
        ("blok_13", "near: block_13.*Received: unfreeze='blok_13'"),
    ],
)
def test_a_wrong_unfreeze_is_told(mobilenet_v2, said, message):
    with pytest.raises(ValueError, match=message):
        resolve_unfreeze(mobilenet_v2, said)


def test_split_works_at_every_n():
    size = 32
    model = create_model("mobilenet_v2", weights=None, image_size=size)
    _give_life(model)
    images = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")
    expected = model(images, training=False)
    seen = set()
    for n in range(len(backbone_layers(model)) + 1):
        freeze(model, n)
        cut = choose_cut(model)
        suffix = suffix_model(model, cut)
        learning = {weight.path for weight in model.trainable_weights}
        assert {weight.path for weight in suffix.trainable_weights} == learning
        if cut.position not in seen:
            seen.add(cut.position)
            prefix = prefix_model(model, [cut])
            crossing = prefix(images, training=False)
            np.testing.assert_allclose(suffix(crossing, training=False), expected, atol=1e-6)
            assert not {weight.path for weight in prefix.weights} & learning
    assert len(seen) > 2


def test_every_cut_of_a_skip_connection_carries_all_that_crosses(tiny_network):
    model = create_model(tiny_network, weights=None)
    crossing = {cut.position: cut.name for cut in cuts(model)}
    names = [layer.name for layer in model.layers]
    assert crossing[names.index("block_2_BN")] == "block_1_relu+block_2_conv"
    assert crossing[names.index("block_2_add") + 1] == "block_2_add"


def _give_life(model):
    """Give BatchNormalization statistics that differ, so that no layer is the identity by chance."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
