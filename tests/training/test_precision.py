"""A copy in another precision has the same weights, computes under the policy, and keeps the delicate parts exact."""

import numpy as np
import pytest

from models.layers import adapt
from models.registry import create_model
from training import precision
from training.precision import in_precision


def test_there_and_back():
    model = create_model("speedrun_cnn")
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32")
    adapt(model, images)
    model.compile("sgd", "mse")
    mixed = in_precision(model, "mixed_bfloat16")
    assert mixed.get_layer("block_2_conv_1").compute_dtype == "bfloat16"
    for exact in ("preprocess_rescaling", "whitening", "head_probabilities"):
        assert mixed.get_layer(exact).compute_dtype == "float32"
    back = in_precision(mixed, "float32")
    assert {layer.compute_dtype for layer in back.layers} == {"float32"}
    for weight, same in zip(model.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
    np.testing.assert_array_equal(np.asarray(back(images)), np.asarray(model(images)))
    np.testing.assert_allclose(np.asarray(mixed(images)), np.asarray(model(images)), atol=0.02)


@pytest.mark.parametrize(
    ("gpus", "vectors", "fast"),
    [([], "AVX2", False), ([], None, False), ([], "AVX-512", True), (["NVIDIA L4"], "AVX2", True)],
)
def test_bfloat16_is_for_gpus_and_avx512(gpus, vectors, fast, monkeypatch):
    monkeypatch.setattr(precision, "gpus", lambda: gpus)
    monkeypatch.setattr(precision, "vector_instructions", lambda: vectors)
    assert precision.computes_bfloat16() is fast
