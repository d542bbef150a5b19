"""The speedrun network is the paper's: it computes the same as its PyTorch form, and its first layer whitens."""

import keras
import numpy as np
import pytest
from pytorch_speedrun_cnn import VARIANTS, probabilities_of, speedrun_weights
from recordings import random_images, read

from models.layers import DiracUniform, adapt
from models.registry import create_model


@pytest.fixture(scope="module")
def images():
    """Forty images with similar neighbouring pixels, as in photographs."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 255, (40, 9, 9, 3)).astype("float32")
    return np.asarray(keras.ops.image.resize(coarse, (32, 32), interpolation="bicubic")).clip(0, 255)


def test_the_adapted_first_layer_whitens_patches(images):
    model = create_model("speedrun_cnn")
    adapt(model, images)
    whitening = model.get_layer("whitening")
    whitened = np.asarray(keras.Model(model.input, whitening.output)(images)).reshape(-1, 24)
    np.testing.assert_allclose(whitened[:, 12:], -whitened[:, :12], atol=1e-4)
    covariance = whitened[:, :12].T @ whitened[:, :12] / len(whitened)
    eigenvalues = np.diag(covariance)  # each is λ / (λ + 5e-4): 1 but for directions in which patches hardly vary
    np.testing.assert_allclose(covariance - np.diag(eigenvalues), 0, atol=1e-2)
    assert np.all(eigenvalues < 1.001)
    np.testing.assert_allclose(eigenvalues[:3], 1, atol=2e-3)
    assert [weight.name for weight in whitening.trainable_weights] == ["bias"]


def test_a_dirac_start_passes_the_input_on():
    kernel = np.asarray(DiracUniform()((3, 3, 4, 7)))
    image = np.random.default_rng(0).normal(size=(1, 5, 5, 4)).astype("float32")
    passed = np.asarray(keras.ops.conv(image, kernel, padding="same"))
    np.testing.assert_allclose(passed[..., :4], image, atol=1e-6)
    assert 0 < np.abs(kernel[..., 4:]).max() <= 36**-0.5
    np.testing.assert_array_equal(np.asarray(DiracUniform()((3, 3, 4, 2)))[1, 1], np.eye(4)[:, :2])


@pytest.mark.parametrize("name", VARIANTS)
def test_computes_the_same_as_the_papers_network_in_pytorch(name):
    model, weights = create_model(name), speedrun_weights(name)
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(weights.pop(f"{layer.name}/{variable.name}"))
    assert not weights
    found = keras.ops.convert_to_numpy(model(random_images(32, count=4)))
    expected = read(name)[1]["probabilities"]
    assert np.ptp(expected, axis=0).max() > 0.05, "the probabilities depend on the image"
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_the_recording_is_what_pytorch_computes(name):
    pytest.importorskip("torch")
    np.testing.assert_allclose(
        read(name)[1]["probabilities"], probabilities_of(name, speedrun_weights(name)), atol=1e-9
    )
