"""Recipes: how each phase trains, and the settings that go with it, under a name."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.validation import require

PHASES = ("head", "finetune", "scratch")
OPTIMIZERS = ("adam", "adamw", "sgd", "logistic")
SCHEDULES = ("constant", "cosine", "triangle")
AVERAGES = ("none", "ema", "lookahead")


@dataclass(frozen=True)
class PhaseConfig:
    """How one phase trains.

    Attributes:
        name: "head" (frozen backbone), "finetune" (its last layers too) or "scratch" (everything, from random weights).
        learning_rate: the highest one, above 0.
        epochs: the most epochs, above 0; the last one is cut short where it is not whole.
        batch_size: images in one step, at least 1.
        patience: epochs without a lower validation loss before the phase stops; the best epoch's weights are kept. None:
            all epochs are run, and the last one's weights kept.
        schedule: of the learning rate: "constant"; "cosine", which falls step by step to 0 at the end of the last of
            `epochs` (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts); or "triangle".
        warmup: epochs in which a cosine's learning rate rises from 0 first, at most half of all.
        triangle: (start, top, end): it rises from the share `start` of the learning rate, until the share `top` of the steps,
            and falls to the share `end` (Jordan 2024, arXiv 2404.00498).
        optimizer: "adam", "adamw", "sgd" (Nesterov's), or for phase "head" "logistic": the linear head is solved for, see
            `training.freezing.linear_probe`, and of the other settings only `batch_size` counts.
        momentum: of "sgd".
        weight_decay: decoupled: the share of each weight that a step at learning rate 1 takes off; "adam" is then "adamw".
        label_smoothing: the share of each label that is spread over all classes, 0 to below 1.
        first_layer_rate: the learning rate of the first layer that learns, as a share of the last one's; in between it
            grows layer by layer by the same factor (discriminative rates, Howard and Ruder 2018, arXiv 1801.06146).
        bias_rate: the learning rate of BatchNormalization's biases (beta), as a multiple of the others'.
        average: of the weights: "none"; "ema", an exponential moving average that is validated and kept in their stead; or
            "lookahead", which also goes on from the average every fifth step (Jordan 2024).
        mixup: alpha of MixUp over cached activations (Verma et al. 2019, arXiv 1806.05236); 0 for none.
        freeze_at: (layer name, epoch) of layers that learn until that many epochs are over.
    """

    name: str
    learning_rate: float = 1e-3
    epochs: float = 1
    batch_size: int = 32
    patience: int | None = 3
    schedule: str = "constant"
    warmup: float = 0.0
    triangle: tuple[float, float, float] = (0.2, 0.23, 0.07)
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    first_layer_rate: float = 1.0
    bias_rate: float = 1.0
    average: str = "none"
    mixup: float = 0.0
    freeze_at: tuple[tuple[str, int], ...] = ()

    def __post_init__(self):
        choices = {"phase": PHASES, "schedule": SCHEDULES, "optimizer": OPTIMIZERS, "average": AVERAGES}
        for name, known in choices.items():
            value = self.name if name == "phase" else getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}", **{name: value})
        for name in ("learning_rate", "epochs", "first_layer_rate", "bias_rate"):
            require(getattr(self, name) > 0, f"{name} must be above 0", **{name: getattr(self, name)})
        for name in ("warmup", "momentum", "weight_decay", "label_smoothing", "mixup"):
            require(getattr(self, name) >= 0, f"{name} must be at least 0", **{name: getattr(self, name)})
        require(math.isfinite(self.epochs), "epochs must be a finite number", epochs=self.epochs)
        require(self.label_smoothing < 1, "label_smoothing must be below 1", label_smoothing=self.label_smoothing)
        for name in ("batch_size", "patience"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1", **{name: value})
        solved = self.optimizer == "logistic"
        require(not solved or self.name == "head", "optimizer logistic is for phase head alone", phase=self.name)
        object.__setattr__(self, "freeze_at", tuple(tuple(each) for each in self.freeze_at))  # JSON has lists
        object.__setattr__(self, "triangle", tuple(self.triangle))

    @property
    def whole_epochs(self) -> int:
        """The number of epochs, the last one counted whole."""
        return math.ceil(self.epochs)

    def steps(self, images: int) -> int:
        """The number of steps in all `epochs` over that many images."""
        return math.ceil(self.epochs * math.ceil(images / self.batch_size))


@dataclass(frozen=True)
class Recipe:
    """Phases and settings that belong together.

    Attributes:
        phases: by name; a network takes those of its own that are here.
        settings: fields of `TrainingConfig` in the place of the network's own defaults.
        networks: further settings for single networks, `epochs` and `learning_rate` of the last phase among them.
    """

    phases: Mapping[str, PhaseConfig]
    settings: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


# The two phases as tutorials and papers state them. Frozen backbone at Adam 1e-3, then the last N layers at Adam 1e-5,
# both stopped early on validation loss. From scratch, all layers at Adam 1e-3 falling to 0 along a cosine: at a constant
# rate a network with BatchNormalization jumps by several points of validation accuracy from epoch to epoch.
# Expected on CIFAR-10: see results/reference.json, written by `python benchmark.py --reference`.
_REFERENCE = Recipe(
    {
        "head": PhaseConfig("head", learning_rate=1e-3, epochs=20),
        "finetune": PhaseConfig("finetune", learning_rate=1e-5, epochs=10),
        "scratch": PhaseConfig("scratch", learning_rate=1e-3, epochs=30, batch_size=64, patience=5, schedule="cosine"),
    }
)

# One budget for all, so that only what a network brings along differs: Adam at 1e-3, 15 epochs, batch 128, no augmentation; the
# weights of the epoch with the lowest validation loss. A pretrained backbone stays frozen, from scratch everything learns.
# Expected on CIFAR-10: see results/comparison.json, written by `python benchmark.py --budget controlled`.
_CONTROLLED = Recipe(
    {
        name: PhaseConfig(name, learning_rate=1e-3, epochs=15, batch_size=128, patience=15)
        for name in ("head", "scratch")
    }
)

# Linear probe, then fine-tune (Kumar et al. 2022, arXiv 2202.10054): the head is solved for on frozen features, in seconds,
# so that the first steps through the backbone do not undo what it knows (results/recipes.json shows no measurable gain from
# that); then AdamW with a warm-up and a cosine on cached views. Its settings were tried one by one on MobileNetV2; those of
# single networks below are one choice each, after one trial on validation images.
# Expected, as of the recipes below: see results/accuracy.json, written by `python benchmark.py --accuracy`.
_STRONG = Recipe(
    {
        "head": PhaseConfig("head", optimizer="logistic", batch_size=64),
        "finetune": PhaseConfig(
            "finetune",
            optimizer="adamw",
            learning_rate=5e-4,
            weight_decay=1e-4,
            epochs=8,
            batch_size=64,
            patience=None,
            schedule="cosine",
            warmup=0.5,
            label_smoothing=0.1,
        ),
    },
    settings={
        "head": "linear",
        "views": ("identity", "mirror+shift_2_2", "shift_-2_2", "mirror"),
        "validation": 1000,
        "test_views": ("identity", "mirror"),
    },
    networks={
        "mobilenet_v2": {"unfreeze": "block_7"},
        "efficientnet_lite0": {"unfreeze": "block5b"},
        # These two have no BatchNormalization to keep activations in bounds: five times shorter steps.
        "alexnet": {
            "unfreeze": "conv2",
            "image_size": 128,
            "precision": "mixed_bfloat16",
            "learning_rate": 1e-4,
            "epochs": 10,
        },
        "vgg16": {"unfreeze": "block4", "image_size": 48, "precision": "mixed_bfloat16", "learning_rate": 1e-4},
    },
)

# `strong` for models that are to answer uploads. A quarter of the views are small or compressed pictures, and half as many
# epochs more leave no fewer to the others; half of the views cost a point on clean images (results/robust_views.json, for sets
# like this one). Labels are not smoothed: that gained no accuracy in results/recipes.json, and left some networks less sure
# than they are right, in a way that a temperature alone does not mend. The weights are averaged with those of `strong`: between
# the two lies a network that is nearly as good as the one on clean images and as the other on degraded ones. The share was
# chosen on MobileNetV2's validation images, between clean and degraded ones, by no single rule: a fifth has a slightly lower
# cross-entropy and is right about one clean image less (results/blend.json, written by `python benchmark.py --blend`).
_ROBUST = Recipe(
    {**_STRONG.phases, "finetune": dataclasses.replace(_STRONG.phases["finetune"], label_smoothing=0.0, epochs=12)},
    settings={**_STRONG.settings, "views": "robust", "blend": "strong", "blend_share": 0.35},
    networks=_STRONG.networks,
)

_SIX_VIEWS = (
    "identity",
    "identity",
    "shift_1_1",
    "shift_-1_-1",
    "mirror",
    "mirror",
    "shift_1_1+mirror",
    "shift_-1_-1+mirror",
)


def _speedrun(
    learning_rate: float, epochs: float, weight_decay: float, augment: tuple[str, ...] = ("translate",), **changes
) -> Recipe:
    """Return airbench's recipe (Jordan 2024, arXiv 2404.00498) in the terms of Keras.

    What differs from the author's code: weights and the update are float32 and only the arithmetic bfloat16, with whitening
    and head in float32; the last, smaller batch of an epoch is kept; moving variances are the biased ones; 1,000 images are
    held back, and whitening looks at the first 5,000 of the others; the accuracy of each epoch is the average's; CutOut fills
    with the batch's mean colour. Keras has the learning rate inside the momentum, PyTorch outside: while the rate rises,
    steps are 6 % shorter here, and at the end 17 % longer.

    Args:
        learning_rate: as the paper states it: of a summed loss over 1,024 examples, before Nesterov's momentum, by which it is
            divided: steps are taken to be 1 + 1 / (1 - momentum) times as long as gradients.
        epochs: the last one cut short.
        weight_decay: as the paper states it. There it passes through the momentum, which lengthens it by 1 / (1 - momentum)
            where it was divided by the above; here it is taken off directly.
        augment: beside the alternating flip, in which every image shows its mirror image in every second epoch.
        changes: of the phase.
    """
    momentum = 0.85
    lengthened = 1 + 1 / (1 - momentum)
    rate = learning_rate / lengthened
    phase = PhaseConfig(
        "scratch",
        optimizer="sgd",
        learning_rate=rate,
        momentum=momentum,
        weight_decay=weight_decay / (1 - momentum) / lengthened / rate,
        epochs=epochs,
        batch_size=1024,
        patience=None,
        schedule="triangle",
        label_smoothing=0.2,
        bias_rate=64.0,
        average="lookahead",
        freeze_at=(("whitening", 3),),
        **changes,
    )
    return Recipe(
        {"scratch": phase},
        settings={
            "views": ("identity", "mirror"),
            "augment": augment,
            "precision": "mixed_bfloat16",
            "validation": 1000,
            "test_views": _SIX_VIEWS,
        },
    )


# A small transformer from scratch in minutes: AdamW, warm-up, cosine, smoothed labels, stochastic depth and averaged weights,
# as DeiT has them (Touvron et al. 2021, arXiv 2012.12877), but that weights of every kind decay. Its mixing of images, random
# erasing and RandAugment are left out, and were not tried: they are meant for hundreds of epochs, and here there are sixteen.
# It holds back a tenth of the images, as `reference` does.
_COMPACT_VIT = Recipe(
    {
        "scratch": PhaseConfig(
            "scratch",
            optimizer="adamw",
            learning_rate=2e-3,
            weight_decay=0.05,
            epochs=16,
            batch_size=256,
            patience=None,
            schedule="cosine",
            warmup=1.0,
            label_smoothing=0.1,
            average="ema",
        )
    },
    settings={
        "views": ("identity", "mirror"),
        "augment": ("translate",),
        "precision": "mixed_bfloat16",
        "test_views": ("identity", "mirror"),
    },
)

RECIPES: dict[str, Recipe] = {
    "reference": _REFERENCE,
    "controlled": _CONTROLLED,
    "strong": _STRONG,
    "robust": _ROBUST,
    "vit": _COMPACT_VIT,
    "speedrun": _speedrun(11.5, 9.9, 0.0153),
    "speedrun_95": _speedrun(10.0, 15, 0.0153),
    # As in the author's code, but that CutOut's square may reach over the border. Not trained here: it is for a GPU.
    "speedrun_96": _speedrun(9.0, 37, 0.012, ("crop", "cutout_12"), triangle=(0.2, 0.1, 0.0)),
}

MADE_FOR = {
    "vit_tiny": "vit",
    "speedrun_cnn": "speedrun",
    "speedrun_cnn_95": "speedrun_95",
    "speedrun_cnn_96": "speedrun_96",
}
"""The recipes of networks that `reference` is not the default for."""


def find_recipe(name: str | None, network: str) -> tuple[str, Mapping[str, PhaseConfig], dict[str, Any]]:
    """Return a recipe's name, its phases, and its settings for a network; `name` None takes the network's default.

    Raises:
        ValueError: no recipe has this name.
    """
    name = MADE_FOR.get(network, "reference") if name is None else name
    require(name in RECIPES, f"recipe must be one of {', '.join(RECIPES)}", recipe=name)
    recipe = RECIPES[name]
    return name, recipe.phases, {**recipe.settings, **recipe.networks.get(network, {})}
