"""Every ported network answers as its original does, has its parameters, and comes back from it bit by bit.

`python benchmark.py --parity` runs these tests and writes what they record to results/parity.json.
"""

import hashlib
import math

import keras
import numpy as np
import pytest
from weight_files import write_legacy

from models.pretrained.checkpoints import read_state_dict
from models.pretrained.mapping import choose_mapping, load_pytorch, to_pytorch
from models.registry import build_model, create_model, list_models, model_spec, pytorch_parameters

torch = pytest.importorskip("torch")
from originals import ORIGINALS, arrays, original  # noqa: E402  (it imports torch)

MAPPINGS = [
    pytest.param(name, mapping, id=f"{name}-{mapping.naming}")
    for name in list_models()
    for mapping in model_spec(name).pretrained.mappings
]
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALINGS = {  # written again, from the originals' own documentation
    "efficientnet_lite0": lambda x: (x - 127) / 128,
    "symmetric": lambda x: x / 127.5 - 1,
    "pytorch": lambda x: (x / 255 - MEAN) / DEVIATION,
}


@pytest.fixture
def float64():
    """Build layers in float64. Random weights amplify float32's rounding so much that PyTorch's own features are 3e-4
    away from its float64 ones; without rounding, 1e-9 tells a right port from one that is nearly right.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(policy)


def test_every_mapping_has_an_original():
    assert {(parameter.values[0], parameter.values[1].naming) for parameter in MAPPINGS} == set(ORIGINALS)


def largest_differences(model, network, scaling, with_classifier):
    """Return the largest differences of features and of probabilities, on random images that go in raw on our side."""
    size = model.input_shape[1]
    at_head = next(layer for layer in model.layers if layer.name.startswith("head_"))
    outputs = keras.Model(model.input, [model.get_layer("preprocess_rescaling").output, at_head.input, model.output])
    images = np.random.default_rng(size).integers(0, 256, (2, size, size, 3)).astype("float64")
    rescaled, *ours = [keras.ops.convert_to_numpy(output) for output in outputs(images, training=False)]
    # Keras holds the scaling's constants in float32 all the same, so the original gets what they make of the image.
    np.testing.assert_allclose(rescaled, scaling(images), atol=1e-5)
    scaled = torch.from_numpy(rescaled.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        features = network.features(scaled).numpy()
        theirs = [features.transpose(0, 2, 3, 1) if features.ndim == 4 else features]
        theirs += [network(scaled).softmax(-1).numpy()] if with_classifier else []
    return [float(np.abs(our - their).max()) for our, their in zip(ours, theirs, strict=False)]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="other backends compute parts of float64 in float32"
)
@pytest.mark.parametrize(("name", "mapping"), MAPPINGS)
def test_a_port_equals_its_original(name, mapping, float64, record_property):
    spec, features, probabilities = model_spec(name), [], []
    even = 2 * math.ceil(spec.minimum_size / 2)
    # Both kinds of size in the original's own naming, without its classifier at first: VGG16's has 120 million weights.
    for size in (even, even + 17) if mapping is spec.pretrained.mappings[0] else (even + 17,):
        with_classifier = bool(mapping.classifier) and size % 2 == 1
        network = original(name, mapping.naming, size=size)
        state_dict = arrays(network)
        assert choose_mapping(state_dict, spec.pretrained.mappings) is mapping
        ours = spec.pretrained.classifier_head
        head = ours if with_classifier else next(other for other in spec.heads if other != ours)
        model = build_model(spec, classes=10, head=head, image_size=size, convention=mapping.convention)
        assert load_pytorch(model, state_dict, mapping) == with_classifier
        scaling = SCALINGS.get(name, SCALINGS[mapping.convention])
        found = largest_differences(model, network.double(), scaling, with_classifier)
        features.append(found[0])
        probabilities += found[1:]

    theirs = sum(parameter.numel() for parameter in network.parameters())
    head = [layer.count_params() for layer in model.layers if layer.name.startswith("head_")]
    ours = pytorch_parameters(model) - (0 if with_classifier else sum(head))
    for key, value in {
        "model": name,
        "naming": mapping.naming,
        "original": "plain PyTorch",
        "parameters_theirs": theirs,
        "parameters_ours": ours,
        "max_abs_difference": max(features + probabilities),
        "round_trip": "bit-exact",
    }.items():
        record_property(key, value)
    # Hugging Face's LayerNorm adds 1e-12 where ours adds 1e-6. Our softmax is single precision under any policy.
    assert max(features) < (1e-5 if mapping.naming == "huggingface" else 1e-9), features
    assert max(probabilities, default=0) < 1e-5, probabilities
    assert ours == theirs
    assert_comes_back(model, network, mapping)


def assert_comes_back(model, network, mapping):
    """Keras → PyTorch, strictly, → Keras: the same bits at every stop."""
    state_dict, expected = to_pytorch(model, mapping), network.state_dict()
    assert state_dict.keys() == expected.keys()
    for key, array in state_dict.items():
        np.testing.assert_array_equal(array, expected[key].numpy(), err_msg=key)
    network.load_state_dict({key: torch.from_numpy(array) for key, array in state_dict.items()}, strict=True)

    head = ("head_",) if not mapping.classifier else ()
    carried = [weight for layer in model.layers if not layer.name.startswith(head) for weight in layer.weights]
    before = [digest(weight) for weight in carried]
    for weight in carried:
        weight.assign(keras.ops.zeros_like(weight))
    load_pytorch(model, state_dict, mapping)
    assert [digest(weight) for weight in carried] == before


def digest(weight):
    """Return a hash of a weight's bits: copies of VGG16 would not fit beside one another in a laptop's memory."""
    return hashlib.sha256(np.ascontiguousarray(keras.ops.convert_to_numpy(weight))).hexdigest()


@pytest.mark.network
@pytest.mark.parametrize("name", ["alexnet", "efficientnet_lite0", "vgg16"])  # of mobilenet_v2 see test_mapping
def test_real_weights_give_the_originals_features_in_single_precision(name):
    spec = model_spec(name)
    state_dict = read_state_dict(spec.pretrained.imagenet.fetch())
    mapping = choose_mapping(state_dict, spec.pretrained.mappings)
    network = original(name, mapping.naming, classes=1000)
    kept = {key: array for key, array in state_dict.items() if not key.startswith(mapping.ignored or ("none",))}
    network.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in kept.items()}, strict=True)
    model = create_model(name, weights="imagenet", image_size=96)
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype("float32")
    at_head = next(layer for layer in model.layers if layer.name.startswith("head_"))
    ours = keras.ops.convert_to_numpy(keras.Model(model.input, at_head.input)(images, training=False))
    scaled = SCALINGS.get(name, SCALINGS["pytorch"])(images).astype("float32")
    with torch.no_grad():
        theirs = network.features(torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(ours, theirs.transpose(0, 2, 3, 1), atol=1e-4)


APPLICATIONS = {  # what weights="keras" imitates: the network of Keras Applications and its own scaling
    "efficientnet_b0": (keras.applications.EfficientNetB0, None),
    "mobilenet_v2": (keras.applications.MobileNetV2, keras.applications.mobilenet_v2.preprocess_input),
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet.preprocess_input),
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input),
}


def test_every_network_with_keras_weights_has_an_original():
    assert {name for name in list_models() if model_spec(name).pretrained.keras} == set(APPLICATIONS)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_weights_of_keras_applications_give_its_features(name, float64, tmp_path, record_property):
    build, scale = APPLICATIONS[name]
    differences = []
    for size in (32, 49):
        network = build(include_top=False, weights=None, input_shape=(size, size, 3))
        randomise(network)
        write_legacy(network, tmp_path / "weights.h5")
        model = create_model(name, weights=tmp_path / "weights.h5", image_size=size)
        images = np.random.default_rng(size).integers(0, 256, (2, size, size, 3)).astype("float64")
        at_head = next(layer for layer in model.layers if layer.name.startswith("head_"))
        ours = keras.Model(model.input, at_head.input)(images, training=False)
        theirs = network(scale(images.copy()) if scale else images, training=False)
        differences.append(np.abs(keras.ops.convert_to_numpy(ours - theirs)).max())

    backbone = sum(layer.count_params() for layer in model.layers if not layer.name.startswith("head_"))
    constants = sum(layer.count_params() for layer in network.layers if layer.name.startswith("normalization"))
    for key, value in {
        "model": name,
        "naming": "keras",
        "original": "Keras Applications",
        "parameters_theirs": network.count_params(),
        "parameters_ours": backbone,
        "max_abs_difference": float(max(differences)),
        "round_trip": "",
    }.items():
        record_property(key, value)
    assert max(differences) < 1e-4, differences
    assert backbone == network.count_params() - constants  # the scaling, which is no weight here


def randomise(network):
    """Give a Keras network BN statistics that are not 0 and 1, and EfficientNet the scaling (x - mean) / deviation, which the
    two layers of its published graph come to together.
    """
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
        elif isinstance(layer, keras.layers.Normalization):
            layer.set_weights([MEAN, DEVIATION**2, np.array(0)])
            layer.finalize_state()
