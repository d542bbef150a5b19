"""Files that are downloaded once and verified by SHA-256."""

from dataclasses import dataclass
from pathlib import Path

from runtime.files import cache_folder, download, locked, sha256_of


class FileUnavailableError(RuntimeError):
    """A file that could not be fetched; the message says where to put it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web.

    Attributes:
        address: URL; in a repository, at a fixed commit.
        sha256: 64 hexadecimal digits.
        name: path inside the cache, such as "photographs/cat/kitten.jpg".
    """

    address: str
    sha256: str
    name: str

    @property
    def cached(self) -> Path:
        """Its path in the cache, downloaded or not."""
        return cache_folder() / self.name

    @property
    def is_cached(self) -> bool:
        """Whether the cache has it with the right SHA-256."""
        return self.cached.is_file() and sha256_of(self.cached) == self.sha256

    def fetch(self) -> Path:
        """Return the path of the file in the cache, and download it if it is not there.

        Raises:
            FileUnavailableError: the download failed, or the file has another SHA-256.
        """
        with locked(target := self.cached):
            if not self.is_cached:
                found = "another or damaged file" if target.exists() else "nothing"
                try:
                    download(self.address, target, self.sha256)
                except Exception as error:
                    raise FileUnavailableError(
                        f"Could not fetch {self.address}: {error}. Download it elsewhere and put it at {target}, with sha256 "
                        f"{self.sha256}. Found there: {found}."
                    ) from error
        return target
