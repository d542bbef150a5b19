"""The registry of image operations, shared by augmentation, views and corruptions.

An operation has one or both of two forms:

* fixed: `(images, *parameters) -> images`, on NumPy arrays;
* random: `(images, labels, seed, *options) -> (images, labels)`, on TensorFlow tensors, a function of the seed.

A name carries its parameters, as in `jpeg_30` or `translate_2_-2`. `+` chains fixed forms: `flip+jpeg_10`.
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from training.data import geometric, photometric

MAX_SIDE = 4096  # pixels

USES = {
    "augmentation": lambda operation: operation.random is not None,
    "view": lambda operation: operation.fixed is not None and operation.keeps_size,
    "corruption": lambda operation: operation.fixed is not None,
}

# Old names of fixed forms, which commands, configurations and results may hold.
ALIASES = {"mirror": "flip", "shift": "translate", "pixels": "thumbnail", "crop": "center_crop"}


@dataclass(frozen=True)
class Parameter:
    """A number in the name of an operation, from `least` to `most`."""

    name: str
    least: float
    most: float
    kind: type = float

    def parse(self, text: str) -> float | None:
        """Return the value of `text`; None if it is out of range or is not its shortest spelling.

        Each value has one spelling, because caches are keyed by names: no "+", no leading zeros, no "1.0".
        """
        try:
            value = self.kind(text)
        except ValueError:
            return None
        return value if text == str(value).removesuffix(".0") and self.least <= value <= self.most else None


@dataclass(frozen=True)
class Operation:
    """An entry of the registry.

    Attributes:
        fixed: function of uint8 images (n, H, W, 3) and the values of `parameters`; None if there is only a random form.
        random: function of a `Batch`, a seed (two integers) and the values of `options`; None if there is only a fixed form.
        parameters: of the fixed form, all required.
        options: of the random form; all are given or none.
        keeps_size: whether the fixed form keeps height and width.
    """

    fixed: Callable[..., np.ndarray] | None = None
    random: Callable[..., photometric.Batch] | None = None
    parameters: tuple[Parameter, ...] = ()
    options: tuple[Parameter, ...] = ()
    keeps_size: bool = True


def _pillow(change: Callable[..., Image.Image], *parameters: Parameter, keeps_size: bool = True) -> Operation:
    """Return the operation whose fixed form calls `change` for each image."""

    def fixed(images: np.ndarray, *values: float) -> np.ndarray:
        changed = [np.asarray(change(Image.fromarray(image), *values)) for image in images]
        return np.stack(changed) if changed else images

    return Operation(fixed, parameters=parameters, keeps_size=keeps_size)


def _pixels(name: str, least: int = 1) -> Parameter:
    return Parameter(name, least, MAX_SIDE, int)


_resized = functools.partial(_pillow, keeps_size=False)

OPERATIONS: dict[str, Operation] = {
    "identity": Operation(fixed=lambda images: images),
    "flip": Operation(geometric.flip, geometric.random_flip),
    "translate": Operation(
        geometric.translate,
        geometric.random_translate,
        parameters=(_pixels("down", -MAX_SIDE), _pixels("right", -MAX_SIDE)),
    ),
    "crop": Operation(random=geometric.random_crop),
    "shift": Operation(random=geometric.random_shift),
    "rotate": Operation(random=geometric.random_rotate, options=(Parameter("degrees", 0, 180),)),
    "cutout": Operation(random=photometric.cutout, options=(_pixels("side"),)),
    "mixup": Operation(random=photometric.mixup, options=(Parameter("alpha", 0.01, 100),)),
    "cutmix": Operation(random=photometric.cutmix, options=(Parameter("alpha", 0.01, 100),)),
    "jpeg": _pillow(photometric.jpeg, Parameter("quality", 1, 95, int)),
    "blur": _pillow(photometric.blur, Parameter("deviation", 0.1, 20)),
    "noise": _pillow(photometric.noise, Parameter("deviation", 1, 128)),
    "brightness": _pillow(photometric.brightness, Parameter("factor", 0.01, 10)),
    "contrast": _pillow(photometric.contrast, Parameter("factor", 0.01, 10)),
    "pixelate": _pillow(photometric.pixelate, _pixels("side")),
    "thumbnail": _pillow(photometric.thumbnail, _pixels("side")),
    "center_crop": _resized(geometric.center_crop, Parameter("share", 0.01, 1)),
    "corner": _resized(geometric.corner, Parameter("share", 0.01, 1)),
    "stretch": _resized(geometric.stretch, Parameter("ratio", 0.1, 10)),
    "bars": _resized(geometric.bars, Parameter("ratio", 1, 10)),
    "screenshot": _resized(geometric.screenshot, Parameter("share", 0.01, 2)),
    "nearest": _resized(geometric.nearest, _pixels("side")),
    "bilinear": _resized(geometric.bilinear, _pixels("side")),
    "bicubic": _resized(geometric.bicubic, _pixels("side")),
    "lanczos": _resized(geometric.lanczos, _pixels("side")),
}

_NAME = re.compile(r"([a-z]+(?:_[a-z]+)*)((?:_-?[0-9.]+)*)")


def find_random(name: str) -> Callable[..., photometric.Batch]:
    """Return the augmentation `name`, a function `(images, labels, seed) -> (images, labels)`; ValueError if unknown."""
    operation, values = _parse(name, "augmentation")
    return lambda images, labels, seed: operation.random(images, labels, seed, *values)


def find_fixed(name: str, use: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the fixed operation or chain `name`, such as `flip+jpeg_10`: a function of uint8 images (n, H, W, 3).

    Raises:
        ValueError: `name` is unknown, or not of `use`: "view" (operations that keep the size) or "corruption".
    """
    steps = [_parse(part, use) for part in name.split("+")]

    def apply(images: np.ndarray) -> np.ndarray:
        for operation, values in steps:
            images = operation.fixed(images, *values)
        return images

    return apply


def canonical(name: str) -> str:
    """Replace the aliases in the name of a fixed operation or chain: `mirror+pixels_12` becomes `flip+thumbnail_12`."""
    parts = (part.partition("_") for part in name.split("+"))
    return "+".join(ALIASES.get(head, head) + separator + rest for head, separator, rest in parts)


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list; "none" and "" name none."""
    return () if text.strip() in ("", "none") else tuple(name.strip() for name in text.split(","))


def known_names(use: str) -> str:
    """List the names of a use with the ranges of their parameters, for messages."""

    def described(name: str, operation: Operation) -> str:
        parameters = _parameters(operation, use)
        if not parameters:
            return name
        ranges = " and ".join(dict.fromkeys(f"{each.least:g} to {each.most:g}" for each in parameters))
        signature = "_".join([name, *(each.name.upper() for each in parameters)])
        return f"{name} or {signature} ({ranges})" if use == "augmentation" else f"{signature} ({ranges})"

    return ", ".join(described(name, operation) for name, operation in OPERATIONS.items() if USES[use](operation))


def _parameters(operation: Operation, use: str) -> Sequence[Parameter]:
    return operation.options if use == "augmentation" else operation.parameters


def _parse(name: str, use: str) -> tuple[Operation, list[float]]:
    """Return the operation and the values that `name` carries."""
    match = _NAME.fullmatch(name if use == "augmentation" else canonical(name))
    operation = OPERATIONS.get(match[1]) if match else None
    if operation is not None and USES[use](operation):
        parameters, texts = _parameters(operation, use), match[2].split("_")[1:]
        if not texts and use == "augmentation":
            return operation, []
        if len(texts) == len(parameters):
            values = [parameter.parse(text) for parameter, text in zip(parameters, texts, strict=True)]
            if None not in values:
                return operation, values
    raise ValueError(f"Unknown {use}. Known: {known_names(use)}. Received: {use}={name!r}")
