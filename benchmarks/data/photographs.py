"""Photographs of CIFAR-10's ten classes; authors, licences and sources are in photographs/SOURCES.csv.

A sixth of them is in the repository. The others are downloaded once (40 MB) and checked by their SHA-256.
The experiment "uploads" downloads them.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data.remote_files import RemoteFile
from runtime.progress import ProgressBar

FOLDER = Path(__file__).with_name("photographs")
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "cat.jpg"  # what servers are loaded with
HALVES = ("choice", "report")  # choices are made on one half, results are reported on the other


@dataclass(frozen=True)
class Photograph:
    """A photograph of one object.

    Attributes:
        file: the class that it shows and a file name, such as "cat/kitten.jpg".
        half: "choice" or "report".
        author, licence, source: as the place where it was found states them.
        address: of the original; empty if the photograph is in the repository.
        sha256: of the file at that address.
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
        """The class that it shows, by CIFAR-10's name."""
        return Path(self.file).parent.name

    @property
    def remote(self) -> RemoteFile | None:
        """The original elsewhere; None if the photograph is in the repository."""
        return RemoteFile(self.address, self.sha256, f"photographs/{self.file}") if self.address else None

    @property
    def path(self) -> Path:
        """The file, once it is downloaded."""
        return self.remote.cached if self.remote else FOLDER / self.file


def listed_photographs() -> list[Photograph]:
    """Return all photographs by class and name, without downloading any."""
    with open(FOLDER / "SOURCES.csv", encoding="utf-8", newline="") as file:
        return [Photograph(**row) for row in csv.DictReader(file)]


def photographs(half: str | None = None) -> list[Photograph]:
    """Return the photographs of one half, or all of them, and download those that are not in the cache.

    Raises:
        ValueError: an unknown half.
        FileUnavailableError: if one is neither in the cache nor can be downloaded.
    """
    if half is not None and half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}, or None. Received: half={half!r}")
    found = [each for each in listed_photographs() if half in (None, each.half)]
    remote = [each.remote for each in found if each.remote]
    for each in ProgressBar(remote, desc="photographs", unit=" files", leave=False):
        each.fetch()
    return found
