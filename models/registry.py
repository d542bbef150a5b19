"""The registry: models by name, each a spec that says how to build it and where its weights come from."""

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
from models.pretrained.sources import Pretrained, open_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSpec:
    """What the registry knows of a model before it is built.

    Attributes:
        name: the name that `create_model` and `--model` take.
        backbone: `(image_size, convention) -> keras.Model`, from raw RGB (batch, S, S, 3) in 0..255 to a feature map; its
            scaling layers are named `preprocess_*`.
        image_size: S, the default side of the input in pixels.
        minimum_size: the smallest S at which the backbone still has a feature map.
        normalisation: the scaling inside the model, in words.
        heads: the heads that fit, by name; the first is the default.
        conventions: what `backbone` takes as `convention`, the default first: the variants of the graph (padding, BN epsilon,
            scaling) that weights from different places expect.
        pretrained: where its pretrained weights come from; by default nowhere, and the model is trained from scratch.
        unfreeze: default N, the number of backbone layers that phase "finetune" trains, counted from the backbone's end.
    """

    name: str
    backbone: Callable[[int, str], keras.Model]
    image_size: int
    minimum_size: int
    normalisation: str
    heads: tuple[str, ...]
    conventions: tuple[str, ...] = ("pytorch",)
    pretrained: Pretrained = field(default_factory=Pretrained)
    unfreeze: int = 0

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of its pretrained weights, the default first: of "imagenet" and "keras" those that it declares."""
        return tuple(name for name in ("imagenet", "keras") if getattr(self.pretrained, name))

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that the model can be trained in: two with pretrained weights, one without."""
        return ("head", "finetune") if self.weights else ("scratch",)


_SPECS: dict[str, ModelSpec] = {}


def register_model(spec: ModelSpec) -> None:
    """Add a spec to the registry; its module is found by standing in `models/architectures/`."""
    if spec.name in _SPECS:
        raise ValueError(f"A model of this name is registered already. Received: name={spec.name!r}")
    _SPECS[spec.name] = spec


def list_models() -> list[str]:
    """Return the names of all registered models, sorted."""
    for module in pkgutil.iter_modules(models.architectures.__path__):
        importlib.import_module(f"models.architectures.{module.name}")
    return sorted(_SPECS)


def model_spec(name: str) -> ModelSpec:
    """Return the spec of a registered model.

    Raises:
        ValueError: if there is none of that name; the message lists the names and the nearest one.
    """
    names = list_models()
    if name not in _SPECS:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"model must be one of {', '.join(names)}. Received: model={name!r}.{hint}")
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
        convention: one of the spec's `conventions`; None takes what the weights say of themselves.
        require_head: whether the weights must bring the head too, with as many classes.

    Returns:
        A model from raw RGB (batch, S, S, 3), 0..255, to softmax probabilities (batch, classes), float32.

    Raises:
        ValueError: if an argument is out of its range; the message says what is allowed.
        WeightsUnavailableError, WeightsMismatchError: if the weights cannot be had, or belong to another network.
    """
    spec = model_spec(name)
    if weights == "default":
        weights = spec.weights[0] if spec.weights else None
    # Before the weights are fetched, so that a wrong argument is told at once.
    built = convention or spec.conventions[0]
    model = build_model(spec, classes=classes, head=head, image_size=image_size, convention=built)
    opened = open_weights(name, weights, spec.pretrained)
    told = convention or opened.convention
    if told is None and not opened.tells and len(spec.conventions) > 1:
        raise WeightsMismatchError(
            f"{opened.record['file']} does not say which graph of {name} its weights belong to "
            f"({', '.join(spec.conventions)}), and they answer wrongly in another. Save the model as a .keras file, which does."
        )
    candidates = (told,) if told else spec.conventions
    for candidate in candidates:
        if candidate != built:
            model = build_model(spec, classes=classes, head=head, image_size=image_size, convention=candidate)
        try:
            with_head = opened.load(model)
            break
        except WeightsMismatchError:
            if candidate == candidates[-1]:
                raise
    if require_head and not with_head:
        raise WeightsMismatchError(
            f"{opened.record.get('file', 'Random weights')} must hold a classifier of {classes} classes that fits the head of "
            f"{name}, and does not. Leave the classifier out, or name the number of classes that it has."
        )
    if weights is not None:
        scaling = f", scaled as in {candidate!r}" if len(spec.conventions) > 1 else ""
        kept = "head included" if with_head else "new head"
        logger.info("%s: weights of %s%s, %s", name, opened.record["file"], scaling, kept)
    return model


def build_model(
    spec: ModelSpec,
    *,
    classes: int,
    head: str | None = None,
    image_size: int | None = None,
    convention: str | None = None,
) -> keras.Model:
    """Build a model with random weights; arguments and errors as in `create_model`, `convention` as in the spec."""
    size = spec.image_size if image_size is None else image_size
    if size < spec.minimum_size:
        raise ValueError(
            f"image_size must be at least {spec.minimum_size} for {spec.name}. Received: image_size={size}"
        )
    if convention not in (None, *spec.conventions):
        raise ValueError(
            f"convention must be one of {', '.join(spec.conventions)} for {spec.name}. Received: convention={convention!r}"
        )
    head = spec.heads[0] if head is None else head
    if head not in spec.heads:
        raise ValueError(f"head must be one of {', '.join(spec.heads)} for {spec.name}. Received: head={head!r}")
    backbone = spec.backbone(size, convention or spec.conventions[0])
    return keras.Model(backbone.inputs[0], attach_head(head, backbone.output, classes), name=spec.name)


def pytorch_parameters(model: keras.Model) -> int:
    """Return the number of a model's parameters as PyTorch counts them: without BN's moving statistics, its buffers."""
    statistics = sum(
        layer.moving_mean.shape[0] + layer.moving_variance.shape[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    return model.count_params() - statistics
