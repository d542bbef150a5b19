"""Photographs of CIFAR-10's ten classes as people upload them; authors, licences and sources are in photographs/SOURCES.csv.

A sixth of them comes with the project, the others stay with those who keep them: fetched once (40 MB), checked by their sums.

python -m benchmarks.data.photographs     fetch them now
"""

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.data.remote_files import FileUnavailableError, RemoteFile

FOLDER = Path(__file__).with_name("photographs")
HALVES = (
    "choice",
    "report",
)  # what is chosen by looking at photographs, and what is reported of it, use different ones


@dataclass(frozen=True)
class Photograph:
    """A photograph of one clear object.

    Attributes:
        file: the class that it shows and a file name, such as "cat/kitten.jpg".
        half: "choice" or "report".
        author, licence, source: as the place that it was found at states them.
        address: of its original; empty where it comes with the project.
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
        """The original that stays elsewhere; None where the photograph comes with the project."""
        return RemoteFile(self.address, self.sha256, f"photographs/{self.file}") if self.address else None

    @property
    def path(self) -> Path:
        """The picture's file, once it is fetched."""
        return self.remote.cached if self.remote else FOLDER / self.file


def listed_photographs() -> list[Photograph]:
    """Return what is known of every photograph, in the order of classes and names, fetched or not."""
    with open(FOLDER / "SOURCES.csv", encoding="utf-8", newline="") as file:
        return [Photograph(**row) for row in csv.DictReader(file)]


def photographs(half: str | None = None) -> list[Photograph]:
    """Return the photographs of one half, or all of them, each with its file there.

    Raises:
        ValueError: an unknown half.
        FileUnavailableError: one can neither be found in the cache nor downloaded.
    """
    if half is not None and half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}, or None. Received: half={half!r}")
    found = [each for each in listed_photographs() if half in (None, each.half)]
    for each in tqdm(
        [each for each in found if each.remote], desc="photographs", unit=" files", disable=None, leave=False
    ):
        each.remote.fetch()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Fetch all photographs, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    try:
        found = photographs()
    except FileUnavailableError as error:
        print(f"photographs: {error}", file=sys.stderr)
        return 1
    print(f"{len(found)} photographs are there, {sum(each.remote is None for each in found)} of them with the project.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
