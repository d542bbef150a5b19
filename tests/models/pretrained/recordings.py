"""PyTorch's outputs on random weights, recorded in tests/data/parity/, and the weights, drawn by NumPy."""

import hashlib
import json
from pathlib import Path

import numpy as np

PARITY = Path(__file__).parents[2] / "data" / "parity"
SEED = 0
CLASSES = 10
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALINGS = {  # of raw pixels, written again from the originals' documentation
    "lite": lambda x: (x - 127) / 128,
    "symmetric": lambda x: x / 127.5 - 1,
    "pytorch": lambda x: (x / 255 - MEAN) / DEVIATION,
}


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int = SEED) -> dict[str, np.ndarray]:
    """Return a PyTorch state dict of random weights, biases and statistics, none of them 0 or 1."""
    generator, tensors = np.random.default_rng(seed), {}
    for name, shape in sorted(shapes.items()):  # so that the order of modules does not matter
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            tensors[name] = np.zeros((), "int64")
        elif kind == "running_var" or (kind == "weight" and len(shape) == 1):  # the scales of normalisations
            tensors[name] = generator.uniform(0.5, 1.5, shape).astype("float32")
        else:  # biases, means and embeddings (1 or 3 axes); kernels of convolutions (4) and linear layers (2)
            deviation = 0.2 if len(shape) in (1, 3) else ((2 if len(shape) == 4 else 1) / np.prod(shape[1:])) ** 0.5
            tensors[name] = generator.standard_normal(shape, "float32") * np.float32(deviation)
    return {name: tensors[name] for name in shapes}


def random_images(size: int, count: int = 1) -> np.ndarray:
    """Return raw pixels (count, size, size, 3), whole numbers in 0..255 as float64."""
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3)).astype("float64")


def digest(tensors: dict[str, np.ndarray]) -> str:
    """Return a checksum of names, shapes and values."""
    total = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        total.update(f"{name}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def write(name: str, about: dict, **arrays: np.ndarray) -> None:
    PARITY.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(PARITY / f"{name}.npz", about=json.dumps(about), **arrays)


def read(name: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what a recording says about itself, and its arrays."""
    with np.load(PARITY / f"{name}.npz") as file:
        arrays = dict(file)
    return json.loads(str(arrays.pop("about"))), arrays


def recorded_tensors(about: dict, size: int) -> dict[str, np.ndarray]:
    """Make the weights of a recorded network again, and check that they are the same."""
    tensors = random_tensors({name: tuple(shape) for name, shape in about["shapes"][str(size)]}, about["seed"])
    assert digest(tensors) == about["sha256"][str(size)], "NumPy draws other numbers: run record_parity.py again"
    return tensors
