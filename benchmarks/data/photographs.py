"""Photographs of CIFAR-10's ten classes; authors, licences and sources are in photographs/SOURCES.csv.

A sixth of them is in the repository. The others are downloaded once (40 MB) and verified by SHA-256.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data.remote_files import RemoteFile
from runtime.progress import ProgressBar

FOLDER = Path(__file__).with_name("photographs")
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "cat.jpg"  # the image of load tests
HALVES = ("choice", "report")  # thresholds and resize modes are tuned on one half, results reported on the other


@dataclass(frozen=True)
class Photograph:
    """A photograph of one object.

    Attributes:
        file: class and file name, such as "cat/kitten.jpg".
        half: "choice" or "report".
        author, licence, source: as published with the photograph.
        address: URL of the original; empty if the photograph is in the repository.
        sha256: of the original.
    """

    file: str
    half: str
    author: str
    licence: str
    source: str
    address: str = ""
    sha256: str = ""

    @property
    def label(self) -> str:
        return Path(self.file).parent.name

    @property
    def remote(self) -> RemoteFile | None:
        """The original; None if the photograph is in the repository."""
        return RemoteFile(self.address, self.sha256, f"photographs/{self.file}") if self.address else None

    @property
    def path(self) -> Path:
        """The file in the repository or in the cache."""
        return self.remote.cached if self.remote else FOLDER / self.file


def listed_photographs() -> list[Photograph]:
    """Return all photographs without downloading any."""
    with open(FOLDER / "SOURCES.csv", encoding="utf-8", newline="") as file:
        return [Photograph(**row) for row in csv.DictReader(file)]


def photographs(half: str | None = None) -> list[Photograph]:
    """Return the photographs of one half (None: of both), and download those that are not in the cache.

    Raises:
        ValueError: an unknown half.
        FileUnavailableError: a download failed.
    """
    if half is not None and half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}, or None. Received: half={half!r}")
    found = [each for each in listed_photographs() if half in (None, each.half)]
    downloads = [each.remote for each in found if each.remote]
    for each in ProgressBar(downloads, desc="photographs", unit=" files", leave=False):
        each.fetch()
    return found
