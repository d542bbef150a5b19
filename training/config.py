"""What a run is told to do: typed, validated, and saved beside its result."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from models.pretrained.sources import KERAS_SUFFIXES, PYTORCH_SUFFIXES
from models.registry import model_spec
from models.storage import written_whole
from training.augment import parse_augment

PHASES = ("head", "finetune", "scratch")
SCHEDULES = ("constant", "cosine")


def _require(condition: bool, rule: str, **received) -> None:
    if not condition:
        ((name, value),) = received.items()
        raise ValueError(f"{rule}. Received: {name}={value!r}")


@dataclass(frozen=True)
class PhaseConfig:
    """How one phase trains.

    Attributes:
        name: "head" (frozen backbone), "finetune" (its last layers too) or "scratch" (everything, from random weights).
        learning_rate: of Adam, above 0.
        epochs: the most epochs, at least 1.
        batch_size: images in one step, at least 1.
        patience: epochs without a lower validation loss before the phase stops; the best epoch's weights are kept.
        schedule: of the learning rate: "constant", or "cosine", which falls step by step to 0 at the end of the last of
            `epochs` (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts).
    """

    name: str
    learning_rate: float
    epochs: int
    batch_size: int = 32
    patience: int = 3
    schedule: str = "constant"

    def __post_init__(self):
        _require(self.name in PHASES, f"phase must be one of {', '.join(PHASES)}", phase=self.name)
        _require(self.learning_rate > 0, "learning_rate must be above 0", learning_rate=self.learning_rate)
        _require(self.schedule in SCHEDULES, f"schedule must be one of {', '.join(SCHEDULES)}", schedule=self.schedule)
        for field in ("epochs", "batch_size", "patience"):
            value = getattr(self, field)
            _require(value >= 1, f"{field} must be at least 1", **{field: value})


# `reference`: the two phases as tutorials and papers state them. Frozen backbone at Adam 1e-3, then the last N layers at
# Adam 1e-5, both stopped early on validation loss. From scratch, all layers at Adam 1e-3 falling to 0 along a cosine: at a
# constant rate a network with BatchNormalization jumps by several points of validation accuracy from epoch to epoch.
# Expected on CIFAR-10: see results/reference.json, written by `python benchmark.py --reference`.
RECIPES: dict[str, dict[str, PhaseConfig]] = {
    "reference": {
        "head": PhaseConfig("head", learning_rate=1e-3, epochs=20),
        "finetune": PhaseConfig("finetune", learning_rate=1e-5, epochs=10),
        "scratch": PhaseConfig("scratch", learning_rate=1e-3, epochs=30, batch_size=64, patience=5, schedule="cosine"),
    }
}


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run's result.

    Attributes:
        model: a name from the registry.
        phases: the phases in order.
        recipe: the recipe that the phases come from.
        head: the head's name.
        weights: where the backbone's weights come from: "imagenet", "keras", a path, or None.
        image_size: the side of the model's square input in pixels.
        unfreeze: N, or the name of a layer or block, or "all": what phase "finetune" trains.
        augment: names of augmentations, in order.
        seed: of the split, the initial weights, the shuffling and the augmentation.
        limit: the first n training and test images only; None for all.
        cache: whether the frozen layers are computed once (True) or in every epoch.
        cache_dtype: "float16" or "float32", of the cached activations.
    """

    model: str
    phases: tuple[PhaseConfig, ...]
    recipe: str = "reference"
    head: str = "dense"
    weights: str | None = "imagenet"
    image_size: int = 160
    unfreeze: int | str = 0
    augment: tuple[str, ...] = ()
    seed: int = 0
    limit: int | None = None
    cache: bool = True
    cache_dtype: str = "float16"

    def __post_init__(self):
        spec = model_spec(self.model)
        _require(
            self.head in spec.heads, f"head must be one of {', '.join(spec.heads)} for {self.model}", head=self.head
        )
        _require(self.image_size >= spec.minimum_size,
                 f"image_size must be at least {spec.minimum_size} for {self.model}", image_size=self.image_size)  # fmt: skip
        named = self.weights is None or self.weights in spec.weights
        suffixes = KERAS_SUFFIXES + PYTORCH_SUFFIXES
        readable = named or (Path(self.weights).is_file() and Path(self.weights).suffix in suffixes)
        _require(readable, f"weights must be {', '.join([*spec.weights, 'none'])} or an existing file "
                 f"({', '.join(suffixes)})", weights=self.weights)  # fmt: skip
        for phase in self.phases:
            _require(phase.name in spec.phases, f"phase must be {' or '.join(spec.phases)} for {self.model}",
                     phase=phase.name)  # fmt: skip
        _require(self.limit is None or self.limit >= 100, "limit must be at least 100 images", limit=self.limit)
        _require(self.seed >= 0, "seed must be at least 0", seed=self.seed)
        _require(self.cache_dtype in ("float16", "float32"), "cache_dtype must be float16 or float32",
                 cache_dtype=self.cache_dtype)  # fmt: skip

    @property
    def name(self) -> str:
        """The default name of the run's folder."""
        parts = [self.model, self.recipe, self.phases[-1].name, f"seed{self.seed}"]
        if self.limit is not None:
            parts.append(f"limit{self.limit}")
        return "-".join(parts)

    def head_start(self) -> "TrainingConfig":
        """The run of phase "head" alone that this run begins with."""
        return dataclasses.replace(self, phases=self.phases[:1], unfreeze=0)

    def save(self, path: Path, provenance: dict) -> None:
        """Write `{"config": …, "provenance": …}` as JSON; `provenance` says where data, weights and code came from."""
        with written_whole(path) as temporary:
            document = {"config": dataclasses.asdict(self), "provenance": provenance}
            temporary.write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "TrainingConfig":
        """Read a config that `save` wrote.

        Raises:
            ValueError: if the file is not such a config.
        """
        try:
            fields = json.loads(path.read_text())["config"]
            fields["phases"] = tuple(PhaseConfig(**phase) for phase in fields["phases"])
            fields["augment"] = tuple(fields["augment"])
            return cls(**fields)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a training config: {error}") from error


def make_config(
    phase: str | None = None,
    model: str = "mobilenet_v2",
    recipe: str = "reference",
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    augment: str = "none",
    **choices,
) -> TrainingConfig:
    """Fill in what the user left open from the model's spec and the recipe.

    Args:
        phase: the last phase to run; "finetune" runs "head" first. None: the model's last phase.
        model: a name from the registry.
        recipe: a name from `RECIPES`.
        epochs: the most epochs of the phase named last; None as in the recipe.
        batch_size: for all phases; None as in the recipe.
        augment: comma-separated names.
        choices: further fields of `TrainingConfig`; None means the default.

    Raises:
        ValueError: if a value is out of its range; the message says what is allowed and what was received.
    """
    spec = model_spec(model)
    _require(recipe in RECIPES, f"recipe must be one of {', '.join(RECIPES)}", recipe=recipe)
    phase = spec.phases[-1] if phase is None else phase
    _require(phase in spec.phases, f"phase must be {' or '.join(spec.phases)} for {model}", phase=phase)
    phases = [RECIPES[recipe][name] for name in spec.phases[: spec.phases.index(phase) + 1]]
    if batch_size is not None:
        phases = [dataclasses.replace(each, batch_size=batch_size) for each in phases]
    if epochs is not None:
        phases[-1] = dataclasses.replace(phases[-1], epochs=epochs)

    defaults = {
        "head": spec.heads[0],
        "weights": spec.weights[0] if spec.weights else None,
        "image_size": spec.image_size,
        "unfreeze": spec.unfreeze,
    }
    given = {name: value for name, value in choices.items() if value is not None}
    fields = {**defaults, **given, "augment": parse_augment(augment)}
    if fields["weights"] == "none":
        fields["weights"] = None
    elif fields["weights"] not in (None, *spec.weights):
        fields["weights"] = str(Path(fields["weights"]).expanduser().resolve())  # found from any folder, when resumed
    return TrainingConfig(model=model, phases=tuple(phases), recipe=recipe, **fields)
