"""Every ported network computes the same as its original, has as many parameters, and converts back bit by bit.

The outputs of the PyTorch originals are recorded (see record_parity.py). Where torch is installed, they are computed again.
`python benchmark.py parity` runs these tests and writes what they record to results/parity.json.
"""

import keras
import numpy as np
import pytest
from recordings import DEVIATION, MEAN, SCALINGS, random_images, read, recorded_tensors
from weight_files import write_legacy

from models.pretrained.checkpoints import read_state_dict
from models.pretrained.mapping import choose_mapping, load_pytorch, to_pytorch
from models.registry import build_model, create_model, list_models, model_spec

# 138 and 57 million parameters in double precision; other depths and namings of a network that is tested by default.
SLOW = {
    *(("vgg16", "torchvision"), ("alexnet", "torchvision"), ("resnet50_v1_5", "torchvision"), ("mobilenet_v2", "flat")),
    *(("vit_b16", naming) for naming in ("torchvision-2022", "timm", "huggingface")),
}
MAPPINGS = [
    pytest.param(
        name, mapping, id=f"{name}-{mapping.naming}", marks=[pytest.mark.slow] if (name, mapping.naming) in SLOW else []
    )
    for name in list_models()
    for mapping in model_spec(name).pretrained.mappings
]


@pytest.fixture
def float64():
    """Build layers in float64. Random weights amplify float32's rounding: PyTorch's own features in float32 and float64 differ
    by 3e-4. Without rounding, a threshold of 1e-9 distinguishes a correct port from one that is nearly correct.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(policy)


def pytorch_parameters(model):
    """Count a model's parameters as PyTorch does, without BN's moving statistics (buffers there)."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return model.count_params() - sum(2 * layer.moving_mean.shape[0] for layer in norms)


def head_input(model):
    return next(layer for layer in model.layers if layer.name.startswith("head_")).input


def differences(model, scaling, size, recorded):
    """Return the largest absolute difference of each recorded output of one size."""
    images = random_images(size)
    scaled = keras.Model(model.input, model.get_layer("preprocess_rescaling").output)
    np.testing.assert_allclose(scaled(images), SCALINGS[scaling](images), atol=1e-5)
    # Keras stores the scaling's constants in float32, so the comparison begins behind them.
    network = keras.Model(scaled.output, [head_input(model), model.output])
    found = dict(zip(("features", "probabilities"), network(SCALINGS[scaling](images), training=False), strict=True))
    return {
        kind: float(np.abs(keras.ops.convert_to_numpy(output) - recorded[f"{kind}_{size}"]).max())
        for kind, output in found.items()
        if f"{kind}_{size}" in recorded
    }


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="other backends compute parts of float64 in float32"
)
@pytest.mark.parametrize(("name", "mapping"), MAPPINGS)
def test_a_port_equals_its_original(name, mapping, float64, record_property):
    spec, largest = model_spec(name), {"features": 0.0, "probabilities": 0.0}
    about, recorded = read(f"{name}-{mapping.naming}")
    for size in map(int, about["shapes"]):
        tensors = recorded_tensors(about, size)
        assert choose_mapping(tensors, spec.pretrained.mappings) is mapping
        ours = spec.pretrained.classifier_head
        head = ours if mapping.classifier else next(other for other in spec.heads if other != ours)
        model = build_model(spec, classes=10, head=head, image_size=size, convention=mapping.convention)
        assert load_pytorch(model, tensors, mapping) == bool(mapping.classifier)
        for kind, difference in differences(model, about["scaling"], size, recorded).items():
            largest[kind] = max(largest[kind], difference)
    unmapped = [] if mapping.classifier else [layer for layer in model.layers if layer.name.startswith("head_")]
    parameters = pytorch_parameters(model) - sum(layer.count_params() for layer in unmapped)
    sizes = {"parameters_theirs": about["parameters"], "parameters_ours": parameters}
    about_port = {"model": name, "naming": mapping.naming, "original": "plain PyTorch", "round_trip": "bit-exact"}
    for key, value in {**about_port, **sizes, "max_abs_difference": max(largest.values())}.items():
        record_property(key, value)
    # Hugging Face's LayerNorm adds 1e-12 where ours adds 1e-6. Our softmax is single precision under any policy.
    assert largest["features"] < (1e-5 if mapping.naming == "huggingface" else 1e-9), largest
    assert largest["probabilities"] < 1e-5, largest
    assert parameters == about["parameters"]
    back = to_pytorch(model, mapping)
    assert back.keys() == tensors.keys()
    for key, array in back.items():
        np.testing.assert_array_equal(array, tensors[key], err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mapping"), [each.values for each in MAPPINGS])
def test_the_recordings_are_what_pytorch_computes(name, mapping):
    pytest.importorskip("torch")
    from record_parity import recording

    about, recorded = read(f"{name}-{mapping.naming}")
    now, outputs = recording(name, mapping.naming)
    assert now["sha256"] == {int(size): total for size, total in about["sha256"].items()}
    assert now["parameters"] == about["parameters"]
    assert outputs.keys() == recorded.keys()
    for key, array in outputs.items():
        np.testing.assert_allclose(recorded[key], array, atol=1e-9, err_msg=key)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", ["alexnet", "efficientnet_lite0", "mobilenet_v2", "vgg16"])
def test_real_weights_give_the_originals_features_in_single_precision(name):
    torch = pytest.importorskip("torch")
    from originals import original

    spec = model_spec(name)
    state_dict = read_state_dict(spec.pretrained.imagenet.fetch())
    mapping = choose_mapping(state_dict, spec.pretrained.mappings)
    network = original(name, mapping.naming, classes=1000)
    tensors = {key: torch.from_numpy(array.copy()) for key, array in state_dict.items()}
    result = network.load_state_dict(tensors, strict=False)
    assert all(key.startswith(("classifier.", *mapping.ignored)) for keys in result for key in keys), result
    model = create_model(name, weights="imagenet", image_size=96)
    images = random_images(96).astype("float32")
    ours = keras.ops.convert_to_numpy(keras.Model(model.input, head_input(model))(images, training=False))
    scaled = SCALINGS["lite" if name == "efficientnet_lite0" else "pytorch"](images).astype("float32")
    with torch.no_grad():
        theirs = network.features(torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(ours, theirs.transpose(0, 2, 3, 1), atol=1e-4)


APPLICATIONS = {  # what weights="keras" reproduces: a network of Keras Applications and its own scaling
    "efficientnet_b0": (keras.applications.EfficientNetB0, None),
    "mobilenet_v2": (keras.applications.MobileNetV2, keras.applications.mobilenet_v2.preprocess_input),
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet.preprocess_input),
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input),
}


def test_every_network_with_keras_weights_has_an_original():
    assert {name for name in list_models() if model_spec(name).pretrained.keras} == set(APPLICATIONS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "mobilenet_v2" else [pytest.mark.slow]) for name in APPLICATIONS]
)
def test_weights_of_keras_applications_give_its_features(name, float64, tmp_path, record_property):
    build, scale = APPLICATIONS[name]
    differences = []
    for size in (32, 49):
        network = build(include_top=False, weights=None, input_shape=(size, size, 3))
        randomise(network)
        write_legacy(network, tmp_path / "weights.h5")
        # The convention is inferred once: whoever names it builds one model, not two.
        convention = "keras" if size == 32 else None
        model = create_model(name, weights=tmp_path / "weights.h5", image_size=size, convention=convention)
        images = random_images(size)
        ours = keras.Model(model.input, head_input(model))(images, training=False)
        theirs = network(scale(images.copy()) if scale else images, training=False)
        differences.append(float(np.abs(keras.ops.convert_to_numpy(ours - theirs)).max()))
    backbone = sum(layer.count_params() for layer in model.layers if not layer.name.startswith("head_"))
    constants = sum(layer.count_params() for layer in network.layers if layer.name.startswith("normalization"))
    sizes = {"parameters_theirs": network.count_params(), "parameters_ours": backbone}
    about_port = {"model": name, "naming": "keras", "original": "Keras Applications", "round_trip": ""}
    for key, value in {**about_port, **sizes, "max_abs_difference": max(differences)}.items():
        record_property(key, value)
    assert max(differences) < 1e-4, differences
    assert backbone == network.count_params() - constants  # the scaling, which is no weight here


def randomise(network):
    """Give a Keras network random BN statistics, and EfficientNet the scaling of its published graph."""
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
        elif isinstance(layer, keras.layers.Normalization):
            layer.set_weights([MEAN, DEVIATION**2, np.array(0)])
            layer.finalize_state()
