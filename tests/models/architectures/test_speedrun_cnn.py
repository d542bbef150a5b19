"""The speedrun network is the paper's: same answers as its PyTorch form on the same weights, and a first layer that whitens."""

import keras
import numpy as np
import pytest

from models.layers import DiracUniform, adapt
from models.registry import create_model


@pytest.fixture(scope="module")
def images():
    """Forty images whose neighbouring pixels are alike, as in photographs."""
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


@pytest.mark.parametrize(
    ("name", "convolutions", "momentum", "spread"), [("speedrun_cnn", 2, 0.6, 1.0), ("speedrun_cnn_96", 3, 0.9, 0.1)]
)
def test_answers_as_the_papers_network_in_pytorch(images, name, convolutions, momentum, spread):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model = create_model(name)
    adapt(model, images)
    generator = np.random.default_rng(1)
    kernel = model.get_layer("head_logits").kernel
    kernel.assign(generator.normal(0, spread, kernel.shape))  # as it starts, every answer is close to 0.1
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.momentum == momentum
            layer.beta.assign(generator.normal(size=layer.beta.shape))
            layer.moving_mean.assign(generator.normal(size=layer.beta.shape))
            layer.moving_variance.assign(generator.uniform(0.5, 2, layer.beta.shape))

    def tensor(array):
        return torch.from_numpy(np.asarray(array).copy())

    def convolved(x, name, bias=None, padding="same"):
        return functional.conv2d(x, tensor(model.get_layer(name).kernel).permute(3, 2, 0, 1), bias, padding=padding)

    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
    x = (tensor(images).permute(0, 3, 1, 2) / 255 - mean) / deviation
    x = functional.gelu(convolved(x, "whitening", tensor(model.get_layer("whitening").bias), "valid"))
    for block in (1, 2, 3):
        shortcut = None
        for number in range(1, convolutions + 1):
            x = convolved(x, f"block_{block}_conv_{number}")
            x = functional.max_pool2d(x, 2) if number == 1 else x
            norm = model.get_layer(f"block_{block}_conv_{number}_BN")
            statistics = tensor(norm.moving_mean), tensor(norm.moving_variance)
            x = functional.batch_norm(x, *statistics, None, tensor(norm.beta), eps=1e-12)
            x = functional.gelu(x + shortcut if number == 3 else x)
            shortcut = x if number == 1 else shortcut
    logits = functional.max_pool2d(x, 3).flatten(1) @ tensor(model.get_layer("head_logits").kernel) / 9
    expected = functional.softmax(logits, dim=1).numpy()
    assert np.ptp(expected, axis=0).max() > 0.05
    np.testing.assert_allclose(np.asarray(model(images)), expected, atol=1e-5)
