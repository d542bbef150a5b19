"""A tiny network, what is declared of its weights, and its weights in files of every format."""

import hashlib
import os
import pickle
import zipfile

import h5py
import keras
import numpy as np
from safetensors.numpy import save_file

from models.pretrained.downloads import KerasDownload, PackageFile
from models.pretrained.mapping import PytorchMapping, to_pytorch
from models.pretrained.sources import Pretrained, open_weights

CONTENT = np.random.default_rng(0).bytes(50_000)
MEMBER = "tiny_weights/weights.pt"
TINY = PackageFile("tiny-weights", "1.0", MEMBER, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "MIT")
DOWNLOAD = KerasDownload("https://weights.invalid/folder/tiny_no_top.h5")
MAPPING = PytorchMapping("tiny", (("conv", "conv"), ("norm", "norm")), ignored=("fc.",))
DECLARED = Pretrained(imagenet=TINY, keras=DOWNLOAD, mappings=(MAPPING,))


def tiny_model(classes=3, filters=4, epsilon=1e-5, scale=1 / 255, name="tiny"):
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Rescaling(scale, name="preprocess_rescaling")(image)
    x = keras.layers.Conv2D(filters, 3, name="conv")(x)
    x = keras.layers.BatchNormalization(epsilon=epsilon, name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = keras.layers.Dropout(0.5, name="head_dropout")(x)
    model = keras.Model(image, keras.layers.Dense(classes, name="head_probabilities")(x), name=name)
    generator = np.random.default_rng(classes * filters)
    model.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    return model


def zeroed(model):
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    return model


def weights_of(model, *layers):
    return [weight for layer in layers for weight in model.get_layer(layer).get_weights()]


def assert_same(left, right):
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


def save(model, path):
    if path.suffix == ".keras":
        model.save(path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".safetensors":
        save_file(to_pytorch(model, MAPPING), path)
    else:
        save_pt(to_pytorch(model, MAPPING), path)
    return path


class Evil:
    """Pickles into a call of os.system that leaves a file behind."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def pickled(tensors: dict[str, dict]) -> bytes:
    """Return the pickle that torch.save writes for tensors by name, opcode by opcode, so that it can be wrong in any way."""

    def opcodes(value):
        return pickle.dumps(value, protocol=2)[2:-1]  # without the frame

    program = b"\x80\x02}"
    for key, (name, tensor) in enumerate(tensors.items()):
        kind = tensor.get("kind", "FloatStorage")
        storage = b"(" + opcodes("storage") + f"ctorch\n{kind}\n".encode() + opcodes(str(key)) + opcodes("cpu")
        storage += opcodes(tensor["count"]) + b"tQ"
        place = b"".join(opcodes(tensor[part]) for part in ("offset", "shape", "strides"))
        rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + place + b"\x89ccollections\nOrderedDict\n)RtR"
        program += opcodes(name) + rebuilt + b"s"
    return program + b"."


def zipped(path, program: bytes, storages: dict[str, bytes] | None = None, compression=zipfile.ZIP_STORED):
    """Write the zip format of torch.save."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def save_pt(tensors: dict[str, np.ndarray], path):
    """Write arrays as torch.save writes tensors."""
    described = {
        name: {
            "kind": {"f": "FloatStorage", "i": "LongStorage"}[array.dtype.kind],
            "count": array.size,
            "offset": 0,
            "shape": array.shape,
            "strides": tuple(stride // array.itemsize for stride in array.copy(order="C").strides),
        }
        for name, array in tensors.items()
    }
    contents = {str(key): array.tobytes() for key, array in enumerate(tensors.values())}
    return zipped(path, pickled(described), contents)


NOTHING = Pretrained()


def load_weights(model, weights, pretrained=NOTHING):
    """Open weights and put them into a model; return what they are."""
    opened = open_weights(model.name, weights, pretrained)
    opened.load(model)
    return opened.record


def write_legacy(model, path, layers=None):
    """Write the HDF5 format of Keras Applications' files."""
    layers = [layer.name for layer in model.layers if layer.weights] if layers is None else layers
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in ("image", *layers)]
        file.create_group("image").attrs["weight_names"] = []
        for layer in layers:
            group = file.create_group(layer)
            variables = model.get_layer(layer).weights
            group.attrs["weight_names"] = [f"{layer}/{variable.name}:0".encode() for variable in variables]
            for variable in variables:
                group[f"{layer}/{variable.name}:0"] = np.array(variable)
