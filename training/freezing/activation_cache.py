"""The activation cache on disk: activations at the freeze boundary, computed once per image and view.

A cache is a folder of NumPy files, one for each view and tensor, with a manifest of checksums. Its name is the hash of
all that the values depend on: weights, cut, size, views and images. An interrupted build is resumed; a finished cache is
verified before each use.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from runtime.files import cache_folder, free_bytes, locked, sha256_of
from runtime.progress import ProgressBar
from training.data.image_batches import resize
from training.data.transforms import apply_view
from training.freezing.boundary import Cut, prefix_model
from training.freezing.frozen_forward import CHUNK, FrozenForward

log = logging.getLogger(__name__)


class CacheSpaceError(OSError):
    """The disk, or the cache's own limit, has no room for the activations."""


@dataclass(frozen=True)
class Activations:
    """The activations at one cut, of all images.

    Attributes:
        views: `views[v][t]` is a memory-mapped array (images, ...) of view v and tensor t, float16 or float32.
        megabytes: on disk.
        seconds: to compute them; 0.0 if they were cached.
    """

    views: list[list[np.ndarray]]
    megabytes: float
    seconds: float


def boundary_activations(
    model: keras.Model,
    chosen: Sequence[Cut],
    images: np.ndarray,
    *,
    views: Sequence[str] = ("identity",),
    dtype: str = "float16",
) -> list[Activations]:
    """Return the activations at each cut, cached or computed now in one pass over the images for all cuts.

    Args:
        model: a flat model, with the layers before every cut frozen.
        chosen: cuts of `model`.
        images: uint8 (n, H, W, 3); resized to the model's input.
        views: names of views, see `training.data.transforms`.
        dtype: "float16" (loss within 1e-4 of the uncached one) or "float32" (the same to rounding, twice the disk).

    Raises:
        CacheSpaceError: the disk, or the limit `THAW_CACHE_GB` (default 20), has no room; nothing is left behind.
    """
    root = cache_folder("boundary")
    caches = [_Cache.describe(root, model, cut, images, views, dtype) for cut in chosen]
    with locked(root / "build"):  # wait for another process that may compute the same
        # By folder, because two phases may have the same cut.
        missing = {cache.folder: cache for cache in caches if not cache.is_sound()}
        seconds = 0.0
        if missing:
            needed = sum(cache.bytes_needed for cache in missing.values())
            _make_room(root, needed, keep=[cache.folder for cache in caches])
            started = time.perf_counter()
            _build(model, list(missing.values()), images, views)
            seconds = (time.perf_counter() - started) / len(missing)
        return [cache.open(seconds if cache.folder in missing else 0.0) for cache in caches]


def _make_room(root: Path, needed: int, *, keep: Sequence[Path]) -> None:
    """Evict the least recently used caches but those in `keep` until `needed` bytes fit under the limit and on the disk."""
    limit = _limit_bytes()
    folders = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
    # An interrupted build has some of it on the disk.
    needed -= sum(size for folder, size in sizes.items() if folder.suffix and folder.with_suffix("") in keep)
    evictable = [folder for folder in folders if folder.with_suffix("") not in keep]
    held, freeable = sum(sizes.values()), sum(sizes[folder] for folder in evictable)
    if held - freeable + needed > limit or needed > free_bytes(root) + freeable:
        raise CacheSpaceError(
            errno.ENOSPC,
            f"The activation cache needs {needed / 1e9:.2f} GB: its limit is {limit / 1e9:.2f} GB (set THAW_CACHE_GB) and "
            f"its disk has {free_bytes(root) / 1e9:.2f} GB free (move it with THAW_CACHE)",
            str(root),
        )
    for folder in evictable:
        if held + needed <= limit and needed <= free_bytes(root):
            return
        log.info("Evicting %s (%.2f GB) from the activation cache.", folder.name, sizes[folder] / 1e9)
        shutil.rmtree(folder)
        held -= sizes[folder]


def _limit_bytes() -> int:
    text = os.environ.get("THAW_CACHE_GB") or "20"
    try:
        return int(float(text) * 1e9)
    except ValueError:
        raise ValueError(f"THAW_CACHE_GB must be a number of gigabytes. Received: THAW_CACHE_GB={text!r}") from None


@dataclass(frozen=True)
class _Cache:
    """The folder of one cut's cache and the files in it."""

    folder: Path
    cut: Cut
    files: tuple[tuple[str, ...], ...]  # files[v][t]
    shapes: tuple[tuple[int, ...], ...]  # shapes[t] = (images, ...)
    dtype: np.dtype

    @classmethod
    def describe(cls, root, model, cut, images, views, dtype) -> "_Cache":
        frozen = prefix_model(model, [cut])
        # Phases that share a cache may differ in which layers are trainable, not in what the frozen layers compute.
        digest = hashlib.sha256(re.sub(r'"trainable": \w+', "", frozen.to_json()).encode())
        for weight in frozen.weights:
            digest.update(np.ascontiguousarray(weight.numpy() if hasattr(weight, "numpy") else weight))
        digest.update(np.ascontiguousarray(images))
        digest.update(json.dumps([list(views), dtype, images.shape]).encode())
        files = tuple(tuple(f"{view}-{t}.npy" for t in range(len(cut.tensors))) for view in views)
        shapes = tuple((len(images), *tensor.shape[1:]) for tensor in cut.tensors)
        return cls(root / digest.hexdigest()[:24], cut, files, shapes, np.dtype(dtype))

    @property
    def bytes_needed(self) -> int:
        values = sum(int(np.prod(shape)) for shape in self.shapes)
        return len(self.files) * (values * self.dtype.itemsize + 4096)

    @property
    def partial(self) -> Path:
        return self.folder.with_suffix(".partial")

    def is_sound(self) -> bool:
        """Return whether all files have their checksums; remove a damaged cache."""
        manifest = self.folder / "manifest.json"
        if not manifest.exists():
            shutil.rmtree(self.folder, ignore_errors=True)  # the rest of an interrupted removal
            return False
        try:
            sums = json.loads(manifest.read_text())["sha256"]
            damaged = [name for row in self.files for name in row if sha256_of(self.folder / name) != sums[name]]
        except (OSError, ValueError, KeyError) as error:
            damaged = [str(error)]
        if damaged:
            log.warning("The activation cache %s is damaged (%s): computing it again.", self.folder.name, damaged[0])
            shutil.rmtree(self.folder)
        return not damaged

    def open(self, seconds: float) -> Activations:
        os.utime(self.folder)  # the time of last use, for eviction
        arrays = [[np.load(self.folder / name, mmap_mode="r") for name in row] for row in self.files]
        megabytes = sum(array.nbytes for row in arrays for array in row) / 1e6
        return Activations(arrays, megabytes, seconds)

    def finish(self) -> None:
        sums = {name: sha256_of(self.partial / name) for row in self.files for name in row}
        manifest = {"cut": self.cut.name, "shapes": self.shapes, "dtype": self.dtype.name, "sha256": sums}
        (self.partial / "manifest.json").write_text(json.dumps(manifest, indent=2))
        os.replace(self.partial, self.folder)


class _Appender:
    """A .npy file that grows by rows; an existing file is resumed after its last complete row."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype):
        self.shape, self.dtype = shape, dtype
        self.row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        # A plain file, not a memory map: a full disk raises OSError here instead of SIGBUS later.
        self.file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)
        self.header_bytes = self.file.tell()
        self.rows = max(0, self.file.seek(0, os.SEEK_END) - self.header_bytes) // self.row_bytes

    def go_to(self, row: int) -> None:
        self.file.truncate(self.header_bytes + row * self.row_bytes)
        self.file.seek(0, os.SEEK_END)

    def append(self, values: np.ndarray) -> None:
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(values, dtype=self.dtype)
        if not np.isfinite(stored).all():
            raise FloatingPointError(
                f"An activation at the freeze boundary is not finite in {self.dtype} (largest magnitude "
                f"{np.abs(values).max():.3g}). Use --cache-dtype float32 or --no-cache."
            )
        self.file.write(stored)

    def close(self) -> None:
        self.file.close()


def _build(model: keras.Model, caches: list[_Cache], images: np.ndarray, views: Sequence[str]) -> None:
    """Compute the caches in one pass per view. A killed build can be resumed; a failed one is removed."""
    forward = FrozenForward(prefix_model(model, [cache.cut for cache in caches]))
    log.info("Computing the frozen layers once, for %d images in %d views.", len(images), len(views))
    try:
        for cache in caches:
            cache.partial.mkdir(exist_ok=True)
        with ProgressBar(total=len(images) * len(views), desc="Frozen layers, once", unit=" images") as bar:
            for v, view in enumerate(views):
                _append_view(forward, caches, v, view, images, model.input_shape[1], bar)
        for cache in caches:
            cache.finish()
    except Exception as error:
        for cache in caches:
            shutil.rmtree(cache.partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CacheSpaceError(
                errno.ENOSPC, "The disk of the activation cache is full (move it with THAW_CACHE)", str(cache.folder)
            ) from error
        raise


def _append_view(
    forward: FrozenForward, caches: list[_Cache], v: int, view: str, images: np.ndarray, side: int, bar: ProgressBar
) -> None:
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(contextlib.closing(_Appender(cache.partial / name, shape, cache.dtype)))
            for cache in caches
            for name, shape in zip(cache.files[v], cache.shapes, strict=True)
        ]
        done = min(file.rows for file in files)
        for file in files:
            file.go_to(done)
        bar.update(done)
        for start in range(done, len(images), CHUNK):
            batch = resize(apply_view(images[start : start + CHUNK], view), side)  # (b, S, S, 3)
            for file, activations in zip(files, forward(np.asarray(batch)), strict=True):
                file.append(activations)
            bar.update(len(batch))
