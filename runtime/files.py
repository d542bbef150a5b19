"""The local cache: where it lies, and how files get into it whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs


def cache_folder(*parts: str) -> Path:
    """Return the folder `parts` inside Thaw's cache, created if missing.

    The cache is `$THAW_CACHE` where that is set, else the platform's user cache folder (`~/.cache/thaw` on Linux).
    """
    root = os.environ.get("THAW_CACHE") or platformdirs.user_cache_dir("thaw")
    folder = Path(root).expanduser().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` when the block ends well, remove it otherwise.

    A reader therefore sees the old file or the new one, never a part, whatever kills the writer. The temporary name keeps
    `target`'s suffixes, because Keras chooses the file format by them.
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
    """Download a file by Keras, whole or not at all.

    Args:
        address: its URL.
        target: where it goes.
        checksum: its SHA-256 or MD5 as hexadecimal digits; None takes what comes.

    Raises:
        Exception: the host is out of reach, or has another file there. Keras has no class of its own for it.
    """
    import keras  # here, because it takes seconds and only a download needs it

    with atomic_write(target) as partial:
        keras.utils.get_file(partial.name, address, cache_dir=str(target.parent), cache_subdir="", file_hash=checksum)


@contextmanager
def locked(target: str | Path) -> Iterator[None]:
    """Hold the lock that belongs to `target`, so that one process at a time makes it and the others wait."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target.with_name(f".{target.name}.lock")):
        yield


def free_bytes(folder: str | Path) -> int:
    """Return the bytes free on the disk that holds `folder`."""
    return shutil.disk_usage(folder).free
