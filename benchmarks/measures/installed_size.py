"""The size of an installed environment."""

from pathlib import Path


def installed_mb(folder: Path) -> float:
    """Return the size of all files below a folder in MB (10^6 bytes)."""
    return round(sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6, 1)
