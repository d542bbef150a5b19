"""Photographs of CIFAR-10's ten classes as people upload them; authors, licences and sources are in photographs/SOURCES.csv."""

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("photographs")
HALVES = (
    "choice",
    "report",
)  # what is chosen by looking at photographs, and what is reported of it, use different ones


@dataclass(frozen=True)
class Photograph:
    """A photograph of one clear object.

    Attributes:
        path: a JPEG file, at most 512 pixels on its longer side.
        label: the class that it shows, by CIFAR-10's name.
        half: "choice" or "report".
        kind: "scene", or "cutout" where the object stands on white.
        author, licence, source: as the place that it was found at states them.
    """

    path: Path
    label: str
    half: str
    kind: str
    author: str
    licence: str
    source: str


def photographs(half: str | None = None, folder: Path = FOLDER) -> list[Photograph]:
    """Return the photographs of one half, or all of them, in the order of classes and names.

    Raises:
        ValueError: an unknown half.
    """
    if half is not None and half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}, or None. Received: half={half!r}")
    with open(folder / "SOURCES.csv", encoding="utf-8", newline="") as file:
        rows = [
            Photograph(folder / (name := row.pop("file")), Path(name).parent.name, **row)
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if half in (None, row.half)]
