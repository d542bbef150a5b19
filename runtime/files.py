"""The local cache, and atomic writes of files."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs


def cache_folder(*parts: str) -> Path:
    """Return and create the folder `parts` in Thaw's cache: `$THAW_CACHE`, by default `~/.cache/thaw` on Linux."""
    root = os.environ.get("THAW_CACHE") or platformdirs.user_cache_dir("thaw")
    folder = Path(root).expanduser().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`, renamed to `target` if the block succeeds and removed if it fails.

    It keeps `target`'s suffixes, because Keras chooses the file format by them.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".partial-{os.getpid()}-{target.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def download(address: str, target: Path, checksum: str | None) -> None:
    """Download a URL to `target` with Keras, atomically; `checksum` is SHA-256 or MD5 in hexadecimal, None for no check.

    Raises:
        Exception: the download failed or the checksum differs; Keras raises no more specific class.
    """
    import keras  # takes seconds

    with atomic_write(target) as partial:
        keras.utils.get_file(partial.name, address, cache_dir=str(target.parent), cache_subdir="", file_hash=checksum)


@contextmanager
def locked(target: str | Path) -> Iterator[None]:
    """Hold the lock of `target`, so that one process at a time writes it."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target.with_name(f".{target.name}.lock")):
        yield


def free_bytes(folder: str | Path) -> int:
    """Return the bytes free on the disk that holds `folder`."""
    return shutil.disk_usage(folder).free
