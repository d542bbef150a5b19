"""The configuration of a run: typed, validated, and saved beside its result."""

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from models.pretrained.sources import KERAS_SUFFIXES, PYTORCH_SUFFIXES
from models.registry import model_spec
from runtime.files import atomic_write
from runtime.validation import require
from training.data.transforms import check_views, parse_augment, parse_views
from training.precision import computes_bfloat16
from training.recipes import default_recipe, list_recipes, load_recipe, robust
from training.recipes.recipe import PhaseConfig

log = logging.getLogger(__name__)

PHASE_SETTINGS = ("epochs", "learning_rate", "batch_size")  # `make_config` takes these and fields of `TrainingConfig`
PRECISIONS = ("float32", "mixed_bfloat16")
VIEW_SETS = {"robust": robust.VIEWS}  # sets of views by the name that `--views` takes
RENAMED = {"blend": "average_with", "blend_share": "average_share", "test_views": "tta_views"}  # in older config.json


@dataclass(frozen=True)
class TrainingConfig:
    """All settings that affect a run's result.

    Attributes:
        recipe: the recipe that the phases come from.
        weights: the backbone's initial weights: "imagenet", "keras", the path of a file, or None for random ones.
        image_size: the side of the model's square input in pixels.
        unfreeze: what phase "finetune" trains: the last N backbone layers, all from a named layer or block on, or "all".
        augment: names of random augmentations, in order.
        views: names of fixed views (`training.data.transforms`), one an epoch in turn, applied before `augment`.
            ("identity", "flip") is alternating flip (Jordan 2024, arXiv 2404.00498).
        seed: of the split, the initial weights, the shuffling and the augmentation.
        limit: use only the first n training and test images; None for all.
        cache: whether the frozen layers run once (True) or in every step.
        cache_dtype: "float16" or "float32", of the cached activations.
        precision: of the arithmetic in training: "float32" or "mixed_bfloat16"; the saved model is always float32.
        validation: the number of training images held back for validation; None for a tenth.
        tta_views: the views that test-time augmentation averages over; () for none.
        average_with: a second recipe to train by, from the same initial weights; the weights of both are averaged
            (Wortsman et al. 2022, WiSE-FT, arXiv 2109.01903, and "Model soups", arXiv 2203.05482).
        average_share: the second recipe's share of the averaged weights, between 0 and 1.
    """

    model: str
    phases: tuple[PhaseConfig, ...]
    recipe: str = "reference"
    head: str = "dense"
    weights: str | None = "imagenet"
    image_size: int = 160
    unfreeze: int | str = 0
    augment: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    seed: int = 0
    limit: int | None = None
    cache: bool = True
    cache_dtype: str = "float16"
    precision: str = "float32"
    validation: int | None = None
    tta_views: tuple[str, ...] = ()
    average_with: str | None = None
    average_share: float = 0.5

    def __post_init__(self):
        spec = model_spec(self.model)
        smallest = spec.minimum_size
        suffixes = KERAS_SUFFIXES + PYTORCH_SUFFIXES
        named = self.weights is None or self.weights in spec.weights
        others = [name for name in list_recipes() if name != self.recipe]
        heads, sources = ", ".join(spec.heads), ", ".join([*spec.weights, "none"])
        for name, valid, rule in (
            ("head", self.head in spec.heads, f"must be one of {heads} for {self.model}"),
            ("image_size", self.image_size >= smallest, f"must be at least {smallest} for {self.model}"),
            (
                "weights",
                named or (Path(self.weights).is_file() and Path(self.weights).suffix in suffixes),
                f"must be {sources} or an existing file ({', '.join(suffixes)})",
            ),
            ("limit", self.limit is None or self.limit >= 100, "must be at least 100 images"),
            ("seed", self.seed >= 0, "must be at least 0"),
            ("cache_dtype", self.cache_dtype in ("float16", "float32"), "must be float16 or float32"),
            ("precision", self.precision in PRECISIONS, f"must be one of {', '.join(PRECISIONS)}"),
            ("validation", self.validation is None or self.validation >= 10, "must be at least 10"),
            ("views", self.views[:1] in ((), ("identity",)), "must begin with identity, which validation uses"),
            ("average_with", self.average_with in (None, *others), f"must be none or one of {', '.join(others)}"),
            ("average_share", 0 < self.average_share < 1, "must be between 0 and 1"),
        ):
            require(valid, f"{name} {rule}", **{name: getattr(self, name)})
        for phase in self.phases:
            require(phase.name in spec.phases, f"phase must be {' or '.join(spec.phases)}", phase=phase.name)
            linear = not phase.is_solved or self.head == "linear"
            require(linear, f"head must be linear, which recipe {self.recipe} solves for", head=self.head)
        for name in ("views", "tta_views"):
            object.__setattr__(self, name, check_views(getattr(self, name)))  # replaces aliases, as in older files
        if self.average_with:
            self.members()  # raises before training if the other recipe does not fit the network

    @property
    def name(self) -> str:
        """The default name of the run's folder."""
        parts = [self.model, self.recipe, self.phases[-1].name, f"seed{self.seed}"]
        return "-".join(parts if self.limit is None else [*parts, f"limit{self.limit}"])

    def head_start(self) -> "TrainingConfig":
        """Return the config that trains only this run's phase "head"."""
        return dataclasses.replace(self, phases=self.phases[:1], unfreeze=0, average_with=None, average_share=0.5)

    def members(self) -> tuple[tuple["TrainingConfig", float], ...]:
        """Return the configs of the two runs that `average_with` averages, with their shares; the other recipe first."""
        shared = ("head", "image_size", "unfreeze", "seed", "cache", "cache_dtype", "precision")
        given = {name: getattr(self, name) for name in shared} | {"weights": self.weights or "none"}
        other = make_config(self.phases[-1].name, self.model, self.average_with, average_with="none", **given)
        # Both hold back the same images. `make_config` would read None as the other recipe's number.
        other = dataclasses.replace(other, validation=self.validation, limit=self.limit)
        own = dataclasses.replace(self, average_with=None, average_share=0.5)
        return (other, self.average_share), (own, 1 - self.average_share)

    def save(self, path: Path, provenance: dict) -> None:
        """Write `{"config": …, "provenance": …}` as JSON; `provenance` says where data, weights and code came from."""
        with atomic_write(path) as temporary:
            document = {"config": dataclasses.asdict(self), "provenance": provenance}
            temporary.write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "TrainingConfig":
        """Read a config that this or an older version saved; raise ValueError if the file is not one."""
        try:
            stored = json.loads(path.read_text())["config"]
            fields = {RENAMED.get(name, name): value for name, value in stored.items()}
            fields["phases"] = tuple(PhaseConfig(**phase) for phase in fields["phases"])
            for name in ("augment", "views", "tta_views"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a training config: {error}") from error


def with_precision(command: str, config: TrainingConfig) -> str:
    """Return a command line with this run's precision added if the recipe's depends on the machine."""
    if not command or "--precision" in command or load_recipe(config.recipe, config.model).precision == "float32":
        return command
    return f"{command} --precision {config.precision}"


def make_config(
    phase: str | None = None, model: str = "mobilenet_v2", recipe: str | None = None, **choices
) -> TrainingConfig:
    """Return the config of a recipe for a network, with the user's choices in place of the recipe's settings.

    Args:
        phase: the last phase to run; "finetune" runs "head" first. None: the model's last phase.
        model: a name from the registry.
        recipe: a name from `training.recipes`; None for the network's default.
        choices: fields of `TrainingConfig` (`augment` and `views` also as comma-separated names or "none"); `epochs` and
            `learning_rate` of the last phase; `batch_size` of all phases. None keeps the recipe's or the default value.

    Raises:
        ValueError: if a value is out of its range.
    """
    spec = model_spec(model)
    phase = phase or spec.phases[-1]
    require(phase in spec.phases, f"phase must be {' or '.join(spec.phases)} for {model}", phase=phase)
    recipe = default_recipe(model) if recipe is None else recipe
    settings = load_recipe(recipe, model)
    given = {name: value for name, value in choices.items() if value is not None}
    wanted = spec.phases[: spec.phases.index(phase) + 1]
    phases = tuple(each for each in settings.phases if each.name in wanted)
    require(len(phases) > 0, f"recipe {recipe} has no phase that {model} is trained in; choose another", recipe=recipe)

    chosen = {name: given.pop(name) for name in PHASE_SETTINGS if name in given}
    fields = {
        "head": spec.heads[0],
        "image_size": spec.image_size,
        "unfreeze": spec.unfreeze,
        "weights": next(iter(spec.weights), None),
        **{name: value for name, value in vars(settings).items() if value is not None},
        **given,
        "phases": _with_choices(phases, chosen, recipe),
    }
    if settings.precision != "float32" and "precision" not in given and not computes_bfloat16():
        log.info("Trains in float32: this processor has no AVX-512, without which bfloat16 is slow.")
        fields["precision"] = "float32"
    if fields.get("average_with") == "none" or ("average_with" not in given and phase != spec.phases[-1]):
        fields |= {"average_with": None, "average_share": 0.5}
    if isinstance(fields["augment"], str):
        fields["augment"] = parse_augment(fields["augment"])
    if isinstance(views := fields["views"], str):
        fields["views"] = VIEW_SETS.get(views.strip()) or parse_views(views)
    if fields["weights"] == "none":
        fields["weights"] = None
    elif fields["weights"] not in (None, *spec.weights):
        path = Path(fields["weights"]).expanduser().resolve()  # absolute, to resume the run from any folder
        fields["weights"] = str(path)
    return TrainingConfig(model=model, recipe=recipe, **fields)


def _with_choices(phases: tuple[PhaseConfig, ...], chosen: dict, recipe: str) -> tuple[PhaseConfig, ...]:
    """Return the phases with the chosen batch size, and the last one with the chosen epochs and peak learning rate."""
    batch = {name: value for name, value in chosen.items() if name == "batch_size"}
    *before, last = phases
    for name in set(chosen) - set(batch) if last.is_solved else ():
        require(False, f"recipe {recipe} solves for the head and has no {name} to choose", **{name: chosen[name]})
    return (*(dataclasses.replace(each, **batch) for each in before), dataclasses.replace(last, **chosen))
