"""Single files that others keep on the web, taken by their checksum and only once."""

from dataclasses import dataclass
from pathlib import Path

from runtime.files import cache_folder, download, locked, sha256_of


class FileUnavailableError(RuntimeError):
    """A file that cannot be had from where it is kept; the message says where to put it by hand."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address, which is not handed on with the project.

    Attributes:
        address: its URL; of a repository, at a fixed commit.
        sha256: its checksum, 64 hexadecimal digits.
        name: its path inside the cache, such as "photographs/cat/kitten.jpg".
    """

    address: str
    sha256: str
    name: str

    @property
    def cached(self) -> Path:
        """Where it lies in the cache, or will."""
        return cache_folder() / self.name

    @property
    def is_cached(self) -> bool:
        """Whether it is there, whole."""
        return self.cached.is_file() and sha256_of(self.cached) == self.sha256

    def fetch(self) -> Path:
        """Return the path of the file: from the cache, else downloaded.

        Raises:
            FileUnavailableError: if the host is out of reach, or has another file there.
        """
        target = self.cached
        with locked(target):
            if not self.is_cached:
                what = "another file is there, or a damaged one" if target.exists() else "nothing is there"
                try:
                    download(self.address, target, self.sha256)
                except Exception as error:
                    raise FileUnavailableError(
                        f"{self.address} cannot be had: {error}. By hand: get it where there is a network, and put it at "
                        f"{target} ({what}; its sha256 must be {self.sha256})."
                    ) from error
        return target
