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
    """Return `hardware`, `git_commit` and `date` (ISO 8601, UTC) of a measurement that is made now."""
    today = datetime.datetime.now(datetime.UTC).date()
    return dict(zip(ORIGIN, (describe_hardware(), git_commit(), today.isoformat()), strict=True))


def record(path: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write a result with its origin as JSON, atomically, and return it."""
    result = {**origin(), **result}
    write_json(path, result)
    return result


def read(path: Path, setting: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of a result file, so that new rows can be merged into it; empty if there is no such file.

    Args:
        path: of the JSON file.
        setting: entries that the stored result must share with the new measurement.

    Raises:
        ValueError: if an entry of `setting` differs: rows of two settings do not belong into one file.
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
    """Return the rows with `row` in the place of the one that has the same values under `key`, at the end if there is none."""
    rows = list(rows)
    for place, other in enumerate(rows):
        if all(other[name] == row[name] for name in key):
            return [*rows[:place], row, *rows[place + 1 :]]
    return [*rows, row]


def read_all(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results in a folder by the names of their files, without `.json`. `tables.json` is rendered, not measured."""
    files = sorted(path for path in folder.glob("*.json") if path.stem != "tables")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
