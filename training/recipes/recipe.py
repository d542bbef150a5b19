"""A recipe: the settings of each phase and of the run."""

import math
from dataclasses import dataclass

from runtime.validation import require

PHASES = ("head", "finetune", "scratch")
OPTIMIZERS = ("adam", "adamw", "sgd", "logistic")
SCHEDULES = ("constant", "cosine", "triangle")
AVERAGES = ("none", "ema", "lookahead")


@dataclass(frozen=True)
class PhaseConfig:
    """How one phase trains.

    Attributes:
        name: "head" (frozen backbone), "finetune" (its last layers too) or "scratch" (all layers, from random weights).
        learning_rate: the peak learning rate, above 0.
        epochs: the maximum number of epochs, above 0; a fraction cuts the last epoch short.
        batch_size: images per step, at least 1.
        patience: epochs without a lower validation loss before early stopping, which keeps the best epoch's weights; None for
            no early stopping and the last epoch's weights.
        schedule: "constant"; "cosine" to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts); or "triangle".
        warmup: epochs of linear warm-up before a cosine, at most half of all.
        triangle: (start, top, end): the rate rises from the share `start` of the peak until the share `top` of the steps, then
            falls to the share `end` of the peak (Jordan 2024, arXiv 2404.00498).
        optimizer: "adam", "adamw", "sgd" (Nesterov), or for phase "head" "logistic": multinomial logistic regression on frozen
            features (`training.freezing.linear_probe`), which uses only `batch_size`.
        momentum: of "sgd".
        weight_decay: decoupled, as a multiple of the learning rate; "adam" with weight decay is "adamw".
        label_smoothing: the share of each label that is spread over all classes, in [0, 1).
        first_layer_rate: the first trainable layer's learning rate as a share of the last one's, with geometric steps between
            (discriminative learning rates, Howard and Ruder 2018, arXiv 1801.06146).
        bias_rate: the learning rate of BatchNormalization's beta, as a multiple of the others'.
        average: weight averaging: "none"; "ema", an exponential moving average that is validated and kept; or "lookahead",
            where training also continues from the average every fifth step (Jordan 2024).
        mixup: alpha of MixUp on cached activations (Verma et al. 2019, arXiv 1806.05236); 0 for none.
        freeze_at: (layer name, epochs) of layers that are frozen after that many epochs.
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
        require(self.name in PHASES, f"phase must be one of {', '.join(PHASES)}", phase=self.name)
        for name, known in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS), ("average", AVERAGES)):
            value = getattr(self, name)
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
        require(not self.is_solved or self.name == "head", "optimizer logistic is for phase head", phase=self.name)
        object.__setattr__(self, "freeze_at", tuple(tuple(each) for each in self.freeze_at))  # JSON has lists
        object.__setattr__(self, "triangle", tuple(self.triangle))

    @property
    def is_solved(self) -> bool:
        """Whether the phase is a logistic regression instead of gradient steps."""
        return self.optimizer == "logistic"

    @property
    def whole_epochs(self) -> int:
        """The number of epochs, rounded up."""
        return math.ceil(self.epochs)

    def steps(self, images: int) -> int:
        """Return the number of steps in all `epochs` over that many images."""
        return math.ceil(self.epochs * math.ceil(images / self.batch_size))


@dataclass(frozen=True)
class Recipe:
    """Settings of a run; attributes as in `training.config.TrainingConfig`. None: the network's default.

    Attributes:
        phases: in the order of training; a network uses those in its `ModelSpec.phases`.
        precision: "mixed_bfloat16" becomes "float32" on processors that do not compute it fast.
    """

    phases: tuple[PhaseConfig, ...]
    head: str | None = None
    image_size: int | None = None
    unfreeze: int | str | None = None
    views: tuple[str, ...] = ()
    augment: tuple[str, ...] = ()
    validation: int | None = None
    precision: str = "float32"
    tta_views: tuple[str, ...] = ()
    average_with: str | None = None
    average_share: float = 0.5
