"""A stand-in for CIFAR-10: four images a batch, in every format of its sources."""

import io
import json
import pickle
import struct
import sys
import tarfile
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.files import sha256_of
from training.data.cifar10_sources import ARRAYS, BATCHES, Release
from training.data.dataset import array_sha256


class Python2Pickler(pickle._Pickler):
    """Writes byte strings and NumPy's module name as Python 2 did, like the official batches."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes

    def save_global(self, value: object, name: str | None = None) -> None:
        if getattr(value, "__name__", "") != "_reconstruct":
            return super().save_global(value, name)
        self.write(pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n")
        return self.memoize(value)


def write_batches(root: Path, images: list[np.ndarray], labels: list[np.ndarray]) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name, x, y in zip(BATCHES, images, labels, strict=True):
        data = x.transpose(0, 3, 1, 2).reshape(4, 3072)
        batch = {b"batch_label": name.encode(), b"labels": y.tolist(), b"data": data, b"filenames": [b"a.png"] * 4}
        with open(folder / name, "wb") as file:
            Python2Pickler(file, protocol=2).dump(batch)
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in (folder / name).read_bytes()
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)


def write_npm_tarball(path: Path, images: list[np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    files = {f"{part}_lables.json": json.dumps(arrays[f"y_{part}"].tolist()).encode() for part in ("train", "test")}
    for name, x in zip(BATCHES, images, strict=True):
        sheet = io.BytesIO()
        Image.fromarray(x.reshape(len(x), 1024, 3)).save(sheet, "PNG")
        files[f"{name}.png"] = sheet.getvalue()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="session")
def standin(tmp_path_factory) -> types.SimpleNamespace:
    """The folder of the files, the expected arrays, and the release that accepts only these bytes."""
    root = tmp_path_factory.mktemp("standin")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (4, 32, 32, 3), np.uint8) for _ in BATCHES]
    labels = [rng.integers(0, 10, 4).astype(np.uint8) for _ in BATCHES]
    arrays = dict(zip(ARRAYS, map(np.concatenate, (images[:5], labels[:5], images[5:], labels[5:])), strict=True))
    np.savez(root / "arrays.npz", **arrays)
    write_batches(root, images, labels)
    write_npm_tarball(root / "npm.tgz", images, arrays)
    release = Release(
        shapes={name: array.shape for name, array in arrays.items()},
        sha256={name: array_sha256(array) for name, array in arrays.items()},
        npm_sha256=sha256_of(root / "npm.tgz"),
        npm_bytes=(root / "npm.tgz").stat().st_size,
    )
    return types.SimpleNamespace(root=root, arrays=arrays, release=release)


@pytest.fixture
def use_keras(monkeypatch) -> Callable:
    """Replace Keras by a module whose download of CIFAR-10 is the given function."""

    def replace(load_data) -> None:
        datasets = types.SimpleNamespace(cifar10=types.SimpleNamespace(load_data=load_data))
        monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(datasets=datasets))

    return replace
