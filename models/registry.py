"""The registry of networks: how to build each one and where its weights come from."""

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras

import models.architectures
from models.heads import attach_head
from models.pretrained.mismatch import WeightsMismatchError
from models.pretrained.sources import OpenedWeights, Pretrained, open_weights
from runtime.validation import require

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSpec:
    """How to build and train a network.

    `backbone` is `(image_size, convention) -> keras.Model`, from raw RGB (batch, S, S, 3) in 0..255 to a feature map. Its
    scaling layers are named `preprocess_*`. The conventions are variants of the graph (padding, BN epsilon, scaling) that
    weights from different sources expect.
    """

    name: str
    backbone: Callable[[int, str], keras.Model]
    image_size: int = 160  # S, the default side of the input in pixels
    minimum_size: int = 32  # the smallest S at which the backbone still has a feature map
    heads: tuple[str, ...] = ("linear", "dense")  # that fit the backbone, the default first
    conventions: tuple[str, ...] = ("pytorch",)  # the default first
    pretrained: Pretrained = field(default_factory=Pretrained)  # without any source, training starts from scratch
    unfreeze: int = 0  # default number of layers, from the backbone's end, that phase "finetune" trains

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of its pretrained weights, the default first."""
        return tuple(name for name in ("imagenet", "keras") if getattr(self.pretrained, name))

    @property
    def phases(self) -> tuple[str, ...]:
        """The training phases: "head" and "finetune" with pretrained weights, else "scratch"."""
        return ("head", "finetune") if self.weights else ("scratch",)


_SPECS: dict[str, ModelSpec] = {}


def register_model(**attributes) -> None:
    """Add a network to the registry; the arguments are those of `ModelSpec`."""
    spec = ModelSpec(**attributes)
    require(spec.name not in _SPECS, "name must not be registered twice", name=spec.name)
    _SPECS[spec.name] = spec


def list_models() -> list[str]:
    """Import the modules in `models/architectures/`, and return the names of all registered models, sorted."""
    for module in pkgutil.iter_modules(models.architectures.__path__):
        importlib.import_module(f"models.architectures.{module.name}")
    return sorted(_SPECS)


def model_spec(name: str) -> ModelSpec:
    """Return the spec of a registered model. Raises a ValueError, which suggests the closest name, for an unknown one."""
    names = list_models()
    if name not in _SPECS:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f". Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"model must be one of {', '.join(names)}. Received: model={name!r}{hint}")
    return _SPECS[name]


def create_model(
    name: str,
    *,
    classes: int = 10,
    weights: str | Path | None = "default",
    head: str | None = None,
    image_size: int | None = None,
    convention: str | None = None,
    require_head: bool = False,
) -> keras.Model:
    """Build a model as one flat functional graph: scaling, backbone, head.

    Args:
        name: a name from `list_models()`.
        classes: the number of classes.
        weights: "imagenet", "keras", the path of a weight file, None for random ones, or "default" for the spec's first.
        head: a name from the spec's `heads`; None takes the first.
        image_size: the side of the square input in pixels; None takes the spec's.
        convention: one of the spec's `conventions`; None infers it from the weights.
        require_head: whether the weights must contain a head with as many classes.

    Returns:
        A model from raw RGB (batch, S, S, 3), 0..255, to softmax probabilities (batch, classes), float32.

    Raises:
        ValueError: if an argument is out of its range.
        WeightsUnavailableError, WeightsMismatchError: if the weights could not be fetched, or do not fit the network.
    """
    spec = model_spec(name)
    if weights == "default":
        weights = spec.weights[0] if spec.weights else None
    options = {"classes": classes, "head": head, "image_size": image_size}
    built = convention or spec.conventions[0]
    model = build_model(spec, **options, convention=built)  # first, so that an invalid argument fails at once
    opened = open_weights(name, weights, spec.pretrained)
    candidates = _conventions(spec, opened, convention)
    for candidate in candidates:
        if candidate != built:
            model = build_model(spec, **options, convention=candidate)
        try:
            with_head = opened.load(model)
            break
        except WeightsMismatchError:
            if candidate == candidates[-1]:
                raise
    if require_head and not with_head:
        raise WeightsMismatchError(
            f"{opened.record.get('file', 'Random weights')} must contain a classifier of {classes} classes that fits the head "
            f"of {name}. Pass the number of classes that the classifier has, or leave the classifier out."
        )
    if weights is not None:
        variant = f", convention {candidate!r}" if len(spec.conventions) > 1 else ""
        kept = "head included" if with_head else "new head"
        logger.info("%s: weights of %s%s, %s", name, opened.record["file"], variant, kept)
    return model


def _conventions(spec: ModelSpec, opened: OpenedWeights, convention: str | None) -> tuple[str, ...]:
    """Return the conventions that the weights may belong to, the likeliest first."""
    if known := convention or opened.convention:
        return (known,)
    if not opened.states_convention and len(spec.conventions) > 1:
        raise WeightsMismatchError(
            f"{opened.record['file']} does not show which variant of {spec.name} its weights belong to "
            f"({', '.join(spec.conventions)}), and they work in only one. Save the model as a .keras file, which does."
        )
    return spec.conventions


def build_model(
    spec: ModelSpec,
    *,
    classes: int,
    head: str | None = None,
    image_size: int | None = None,
    convention: str | None = None,
) -> keras.Model:
    """Build a model with random weights; arguments and errors as in `create_model`."""
    size = spec.image_size if image_size is None else image_size
    require(
        size >= spec.minimum_size, f"image_size must be at least {spec.minimum_size} for {spec.name}", image_size=size
    )
    head, convention = head or spec.heads[0], convention or spec.conventions[0]
    for name, value in {"head": head, "convention": convention}.items():
        known = getattr(spec, f"{name}s")
        require(value in known, f"{name} must be one of {', '.join(known)} for {spec.name}", **{name: value})
    backbone = spec.backbone(size, convention)
    return keras.Model(backbone.inputs[0], attach_head(head, backbone.output, classes), name=spec.name)
