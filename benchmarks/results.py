"""Read and write `results/*.json`. Every result names the hardware, the commit and the date of its measurement."""

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.export.saved_model import write_json
from training.provenance import describe_hardware, git_commit

ORIGIN = ("hardware", "git_commit", "date")


def origin() -> dict[str, str | None]:
    """Return `hardware`, `git_commit` and `date` (today in UTC, ISO 8601)."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return dict(zip(ORIGIN, (describe_hardware(), git_commit(), today), strict=True))


def record(path: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write a result with its origin as JSON, atomically, and return it."""
    result = {**origin(), **result}
    write_json(path, result)
    return result


def read(path: Path, setting: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of a result file to merge new rows into; empty if there is no file.

    Raises:
        ValueError: an entry of `setting` differs from the stored one; rows of two settings are not mixed in one file.
    """
    if not path.exists():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    for name, value in (setting or {}).items():
        if stored.get(name) != value:
            raise ValueError(
                f"{path} holds rows of another setting: {name}={stored.get(name)!r}. Move the file away first. "
                f"Received: {name}={value!r}"
            )
    return stored


def merge(rows: Iterable[Mapping], row: Mapping, *key: str) -> list[Mapping]:
    """Return the rows with `row` in place of the one with the same values under the keys, or at the end."""
    rows = list(rows)
    for place, other in enumerate(rows):
        if all(other[name] == row[name] for name in key):
            return [*rows[:place], row, *rows[place + 1 :]]
    return [*rows, row]


def read_all(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results in a folder by file name without `.json`. `tables.json` is rendered, not measured."""
    files = sorted(path for path in folder.glob("*.json") if path.stem != "tables")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
