"""The layers that Keras lacks, beyond what the parity tests cover."""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
import pytest

from models.architectures.vit import pytorch_names
from models.layers import SequencePooling, StochasticDepth, resampled_positions
from models.pretrained.keras_files import load_keras_file
from models.pretrained.mapping import load_pytorch, to_pytorch
from models.registry import build_model, model_spec

RECORDED = Path(__file__).parents[1] / "data" / "parity"  # by tests/models/pretrained/record_parity.py


def test_stochastic_depth_drops_whole_branches_and_keeps_the_mean():
    branch = np.ones((4000, 2, 3), "float32")
    layer = StochasticDepth(0.25)
    dropped = np.asarray(layer(branch, training=True))
    assert {tuple(np.unique(image)) for image in dropped} == {(0.0,), (np.float32(1 / 0.75),)}
    assert dropped.mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(layer(branch), branch)
    assert StochasticDepth.from_config(layer.get_config()).rate == 0.25


def test_sequence_pooling_averages_by_its_weights():
    tokens = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    layer = SequencePooling()
    layer.build(tokens.shape)
    layer.kernel.assign(np.array([[100.0], [0], [0], [0]]))  # so sharp that it picks one token
    np.testing.assert_allclose(layer(tokens), tokens[[0, 1], tokens[:, :, 0].argmax(axis=1)], atol=1e-3)
    layer.kernel.assign(np.zeros((4, 1)))
    np.testing.assert_allclose(layer(tokens), tokens.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("had", "wanted"), [(14, 10), (14, 4), (4, 7)])
def test_positions_are_resampled_as_pytorch_resizes_images(had, wanted):
    grid = np.random.default_rng(0).normal(size=(1, had**2, 6)).astype("float32")
    found = resampled_positions(np.concatenate([np.full((1, 1, 6), 7, "float32"), grid], axis=1), 1 + wanted**2)
    np.testing.assert_array_equal(found[:, 0], 7)
    with np.load(RECORDED / "position_embeddings.npz") as recorded:
        np.testing.assert_allclose(found[0, 1:], recorded[f"{had}_to_{wanted}"], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "tokens"),
    [((1, 17, 2), 17), ((1, 17, 2), 16), ((1, 9, 2), 10), ((197,), 37), ((2, 17, 4), 37), ((1, 1, 4), 37)],
)
def test_positions_that_are_no_other_grid_are_left_alone(shape, tokens):
    embedding = np.ones(shape, "float32")
    assert resampled_positions(embedding, tokens) is embedding


def test_a_vision_transformer_takes_weights_of_another_image_size(tmp_path):
    spec = model_spec("vit_b16")
    shallow = dataclasses.replace(spec, backbone=functools.partial(spec.backbone, depth=1))
    torchvision = spec.pretrained.mappings[0]
    mapping = dataclasses.replace(torchvision, layers=pytorch_names("torchvision", depth=1))
    trained, other = (build_model(shallow, classes=3, image_size=size) for size in (64, 96))
    assert load_pytorch(other, to_pytorch(trained, mapping), mapping)
    expected = resampled_positions(keras.ops.convert_to_numpy(trained.get_layer("position_embedding").embedding), 37)
    np.testing.assert_allclose(other.get_layer("position_embedding").embedding, expected, atol=1e-6)
    again = build_model(shallow, classes=3, image_size=96)
    trained.save(tmp_path / "vit.keras")
    assert load_keras_file(again, tmp_path / "vit.keras")
    np.testing.assert_allclose(again.get_layer("position_embedding").embedding, expected, atol=1e-6)
