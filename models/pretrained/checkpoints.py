"""Reads PyTorch, safetensors and Flax checkpoints from untrusted sources, without torch and without executing their code.

A `.pt` file is a pickle: a program that may call any function it can import. The unpickler here allows five functions and
the names of the storage types. It leaves tensors as descriptions (storage, offset, shape, strides), which are then checked
against the bytes of the file and become views of them.
"""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors

from models.pretrained.flax_files import read_flax
from models.pretrained.unpickling import CheckpointError, RestrictedUnpickler

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_BFLOAT16 = "bfloat16"  # the upper half of a float32; NumPy has no such type
_DTYPES = {  # by safetensors's name and torch's name
    ("F64", "DoubleStorage"): "<f8",
    ("F32", "FloatStorage"): "<f4",
    ("F16", "HalfStorage"): "<f2",
    ("BF16", "BFloat16Storage"): _BFLOAT16,
    ("I64", "LongStorage"): "<i8",
    ("I32", "IntStorage"): "<i4",
    ("I16", "ShortStorage"): "<i2",
    ("I8", "CharStorage"): "|i1",
    ("U8", "ByteStorage"): "|u1",
    ("BOOL", "BoolStorage"): "|b1",
}
_SAFETENSORS_DTYPES = {name: dtype for (name, _), dtype in _DTYPES.items()}
_STORAGE_DTYPES = {name: dtype for (_, name), dtype in _DTYPES.items()}
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_BIG_ENDIAN = "it was written on a big-endian machine; save it on a little-endian one."


class _StorageType(NamedTuple):
    dtype: str


class _Storage(NamedTuple):
    key: str
    dtype: str
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a `.pt` or `.pth` file (zip format or the older one), of `.safetensors`, or of Flax's `.ckpt`.

    A dict around the state dict (`{"state_dict": ...}`, `{"model": ...}`) and DataParallel's prefix `module.` are removed.

    Returns:
        The tensors by name, in the file's order and dtypes (bfloat16 as float32), as read-only arrays.

    Raises:
        UnsafeCheckpointError: if the file refers to a class or function that a state dict does not need.
        CheckpointError: if it is truncated, damaged, of another format, or contains something other than tensors by name.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        if path.suffix == ".safetensors":
            tensors = _read_safetensors(content)
        elif content.startswith(b"PK\x03\x04"):
            tensors = _read_zip(content)
        elif path.suffix == ".ckpt":
            tensors = read_flax(content)
        else:
            tensors = _read_legacy(content)
    except CheckpointError as error:
        raise type(error)(f"{path} cannot be read as a checkpoint: {error}") from error
    except Exception as error:  # a malicious file can make the readers below raise any error
        reason = f"it is truncated or damaged ({type(error).__name__}: {error})."
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    tensors = {}
    for name, entry in safetensors.deserialize(content):
        if entry["dtype"] not in _SAFETENSORS_DTYPES:
            known = ", ".join(_SAFETENSORS_DTYPES)
            raise CheckpointError(f"dtypes must be among {known}. Received: {name} of dtype {entry['dtype']}.")
        dtype = _SAFETENSORS_DTYPES[entry["dtype"]]
        tensors[name] = _decoded(bytes(entry["data"]), dtype).reshape(entry["shape"])
    return tensors


def _read_zip(content: bytes) -> dict[str, np.ndarray]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    # torch.save never compresses; members that add up to more than the file are a decompression bomb.
    if sum(member.file_size for member in archive.infolist()) > len(content):
        raise CheckpointError("it is a decompression bomb: its members claim more bytes than the file has.")
    programs = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(programs) != 1:
        raise CheckpointError("it is a zip archive, but not one that torch.save wrote (it has no data.pkl).")
    root = programs[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise CheckpointError(_BIG_ENDIAN)
    unpickler = _StateDictUnpickler(archive.read(programs[0]))
    described = unpickler.load()
    storages = {key: _stored(archive.read(f"{root}data/{key}"), storage) for key, storage in unpickler.storages.items()}
    return _materialised(described, storages)


def _read_legacy(content: bytes) -> dict[str, np.ndarray]:
    """Read the format of torch.save before version 1.6: five pickles, then each storage as its length and its bytes."""
    stream = io.BytesIO(content)
    if _StateDictUnpickler(stream).load() != _LEGACY_MAGIC:
        raise CheckpointError("it does not begin like a file of torch.save.")
    _StateDictUnpickler(stream).load()  # protocol version
    if _StateDictUnpickler(stream).load().get("little_endian") is not True:
        raise CheckpointError(_BIG_ENDIAN)
    unpickler = _StateDictUnpickler(stream)
    described = unpickler.load()
    keys = _StateDictUnpickler(stream).load()
    if sorted(keys) != sorted(unpickler.storages):
        raise CheckpointError("it is damaged: its list of storages differs from those that its tensors refer to.")
    storages = {}
    for key in keys:
        storage = unpickler.storages[key]
        if int.from_bytes(stream.read(8), "little") != storage.count:
            raise CheckpointError(f"it is truncated or damaged at storage {key}.")
        storages[key] = _stored(stream.read(storage.count * _itemsize(storage.dtype)), storage)
    return _materialised(described, storages)


class _StateDictUnpickler(RestrictedUnpickler):
    """Turns the tensors of a pickle into descriptions, and collects the storages that they refer to."""

    def __init__(self, program: bytes | io.BytesIO):
        super().__init__(program, _ALLOWED)
        self.storages: dict[str, _Storage] = {}

    def persistent_load(self, identity) -> _Storage:
        match identity:
            case ("storage", _StorageType(dtype), str(key), _, int(count), *view) if count >= 0 and not any(view):
                storage = _Storage(key, dtype, count)
            case _:
                raise CheckpointError("it is damaged: a tensor refers to something that is not a storage.")
        if self.storages.setdefault(key, storage) != storage:
            raise CheckpointError(f"it is damaged: storage {key} is described in two ways.")
        return storage


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(number) is int and number >= 0 for number in numbers):
        raise CheckpointError("it is damaged: a tensor has no storage, or its shape or strides are not numbers.")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


_ALLOWED = {
    ("collections", "OrderedDict"): dict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGE_DTYPES.items()},
}


def _itemsize(dtype: str) -> int:
    return 2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize


def _stored(content: bytes, storage: _Storage) -> np.ndarray:
    expected = storage.count * _itemsize(storage.dtype)
    if len(content) != expected:
        raise CheckpointError(f"it is truncated: storage {storage.key} needs {expected} bytes and has {len(content)}.")
    return _decoded(content, storage.dtype)


def _decoded(content: bytes, dtype: str) -> np.ndarray:
    """Return the bytes as a read-only 1-D array; bfloat16 widened to float32, which is exact."""
    if dtype != _BFLOAT16:
        return np.frombuffer(content, dtype)
    widened = (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4")
    widened.flags.writeable = False
    return widened


def _materialised(described, storages: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Find the state dict in the unpickled object, and turn its descriptions into arrays."""
    state_dict = described
    for _ in range(len(_WRAPPERS)):  # bounded, because a pickle can build a dict that contains itself
        wrapped = [state_dict[name] for name in _WRAPPERS if isinstance(state_dict, dict) and name in state_dict]
        state_dict = next((inner for inner in wrapped if isinstance(inner, dict)), state_dict)
    if not isinstance(state_dict, dict) or not state_dict:
        raise CheckpointError(f"a state dict was expected. Received: {type(state_dict).__name__}.")
    for name, tensor in state_dict.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise CheckpointError(f"tensors by name were expected. Received: {name!r:.80}: {type(tensor).__name__}.")
    return {name: _view(name, tensor, storages[tensor.storage.key]) for name, tensor in state_dict.items()}


def _view(name: str, tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    if 0 in tensor.shape:
        return np.empty(tensor.shape, storage.dtype)
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= len(storage):
        raise CheckpointError(f"it is damaged: {name} reaches element {last} of a storage of {len(storage)}.")
    byte_strides = [stride * storage.itemsize for stride in tensor.strides]
    # A view, not a copy: any number of tensors, and strides of 0, cost no memory beyond the storage.
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, byte_strides, writeable=False)
