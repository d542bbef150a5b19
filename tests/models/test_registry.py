"""One contract for every registered model; registering one is enough to have it tested."""

import keras
import numpy as np
import pytest

from models.registry import create_model, list_models, model_spec, register_model

PARAMETERS = {"custom_cnn": 620_362, "mobilenet_v2": 2_423_242}


@pytest.fixture(scope="module", params=list_models())
def spec(request):
    return model_spec(request.param)


@pytest.fixture(scope="module")
def model(spec):
    return create_model(spec.name, weights=None)


@pytest.fixture(scope="module")
def images(spec):
    return np.random.default_rng(0).uniform(0, 255, (2, spec.image_size, spec.image_size, 3)).astype("float32")


def test_is_flat_and_takes_raw_pixels_to_probabilities(spec, model, images):
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.input_shape == (None, spec.image_size, spec.image_size, 3)
    probabilities = np.asarray(model(images, training=False))
    assert probabilities.shape == (2, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_scaling_is_inside(model):
    names = [layer.name for layer in model.layers]
    assert names[1].startswith("preprocess_")
    assert names[-1] == "head_probabilities"


def test_parameters_are_as_recorded(spec, model):
    assert model.count_params() == PARAMETERS[spec.name]


def test_is_the_same_after_saving(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(images, training=False), model(images, training=False), atol=1e-6)


def test_builds_at_another_size_with_another_number_of_classes_and_every_head(spec):
    size = spec.minimum_size * 2
    for head in spec.heads:
        other = create_model(spec.name, weights=None, image_size=size, classes=3, head=head)
        assert other.input_shape[1] == size
        assert other.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 4}, "image_size must be at least .*Received: image_size=4"),
        ({"head": "nonsense"}, "head must be one of .*Received: head='nonsense'"),
        ({"classes": 1}, "classes must be at least 2. Received: classes=1"),
        ({"weights": "nonsense"}, "weights must be .*Received: weights='nonsense'"),
    ],
)
def test_a_wrong_argument_is_told(spec, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(spec.name, **{"weights": None, **options})


def test_an_unknown_name_lists_the_models():
    with pytest.raises(ValueError, match="custom_cnn.*mobilenet_v2.*Received: model='nonsense'"):
        create_model("nonsense")


def test_a_name_is_registered_once(spec):
    with pytest.raises(ValueError, match="registered already"):
        register_model(spec)


def test_the_linear_head_of_mobilenet_v2_has_12810_parameters():
    model = create_model("mobilenet_v2", weights=None, head="linear", image_size=32)
    assert sum(layer.count_params() for layer in model.layers if layer.name.startswith("head_")) == 12_810
    assert model.count_params() == 2_270_794, "2,236,682 and the moving statistics of 52 BNs"
