"""Reads a Flax checkpoint that is a pickle (protocol 3 or 4) of nested dicts of NumPy arrays, as a PyTorch state dict.

NumPy's unpickling is not used: arrays are built after their shapes and dtypes are checked against their bytes.
"""

import math
from collections.abc import Iterator

import numpy as np

from models.pretrained.unpickling import CheckpointError, RestrictedUnpickler

_FLOATS = {"f2": "<f2", "f4": "<f4", "f8": "<f8"}
# (height, width, in, out) → (out, in, height, width); (in, out) → (out, in)
_KERNEL_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}


class _Dtype:
    def __init__(self, code, *_):
        self.code = code
        self.byte_order = "<"


class _Array:
    def __init__(self, *_):
        self.state = None


class _FlaxUnpickler(RestrictedUnpickler):
    def __init__(self, program: bytes):
        reconstruct = {(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")}
        super().__init__(program, {**reconstruct, ("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): _Dtype})

    def build(self, instance, state) -> None:
        if isinstance(instance, _Array):
            instance.state = state
        elif isinstance(instance, _Dtype):
            instance.byte_order = state[1]


def read_flax(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in a Flax checkpoint under PyTorch's names and in its layout.

    `{"Conv_0": {"kernel": (height, width, in, out)}}` becomes `{"Conv_0.weight": (out, in, height, width)}`.

    Raises:
        UnsafeCheckpointError: if the file refers to more than NumPy arrays need.
        CheckpointError: if it contains something other than nested dicts of float arrays.
    """
    tensors = {}
    for (*module, name), array in _leaves(_FlaxUnpickler(content).load(), (), set()):
        if name == "kernel" and array.ndim in _KERNEL_AXES:
            name, array = "weight", array.transpose(_KERNEL_AXES[array.ndim])
        tensors[".".join([*module, name])] = array
    if not tensors:
        raise CheckpointError("it contains no arrays.")
    return tensors


def _leaves(tree, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    if id(tree) in seen:  # a pickle can build a dict that contains itself, or one that occurs in a million places
        raise CheckpointError(f"{'.'.join(path)} occurs in it twice.")
    if isinstance(tree, _Array):
        yield path, _array(".".join(path), tree)
    elif isinstance(tree, dict) and all(isinstance(name, str) for name in tree):
        seen.add(id(tree))
        for name, inner in tree.items():
            yield from _leaves(inner, (*path, name), seen)
    else:
        raise CheckpointError(f"dicts of arrays were expected. Received: {'.'.join(path)}: {type(tree).__name__}.")


def _array(name: str, described: _Array) -> np.ndarray:
    match described.state:
        case (int(), tuple(shape), _Dtype(code=code, byte_order="<"), bool(fortran), bytes(content)) if code in _FLOATS:
            dtype = np.dtype(_FLOATS[code])
        case _:
            raise CheckpointError(f"{name} is not an array of little-endian floats.")
    if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(content):
        raise CheckpointError(f"it is damaged: {name} of shape {shape} and dtype {code} has {len(content)} bytes.")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
