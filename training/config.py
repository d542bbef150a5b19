"""What a run is told to do: typed, validated, and saved beside its result."""

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from models.pretrained.sources import KERAS_SUFFIXES, PYTORCH_SUFFIXES
from models.registry import model_spec
from runtime.files import atomic_write
from runtime.validation import require
from training.cpu import computes_bfloat16
from training.data.augment import parse_augment
from training.data.views import check_views, parse_views
from training.recipes import RECIPES, PhaseConfig, find_recipe

log = logging.getLogger(__name__)

PHASE_SETTINGS = ("epochs", "learning_rate", "batch_size")  # what `make_config` takes beside fields of `TrainingConfig`
PRECISIONS = ("float32", "mixed_bfloat16")


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
        views: names of fixed views of an image, see `training.data.views`, of which it shows another in each epoch, in turn;
            ("identity", "mirror") is Jordan's alternating flip (2024, arXiv 2404.00498). Any `augment` comes after them.
        seed: of the split, the initial weights, the shuffling and the augmentation.
        limit: the first n training and test images only; None for all.
        cache: whether the frozen layers are computed once (True) or in every epoch.
        cache_dtype: "float16" or "float32", of the cached activations.
        precision: of the arithmetic in training: "float32" or "mixed_bfloat16"; the saved model is float32 always.
        validation: how many of the training images are held back for validation; None for a tenth. A run that chooses nothing
            (patience None) may hold back fewer, for the calibration and the levels of ood_detector.
        test_views: the views that a second evaluation averages over, see `training.evaluation`; none skips it.
        blend: another recipe that the network learns by too, from the same start; the weights are then averaged (Wortsman et
            al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903, and "Model soups", arXiv 2203.05482). None
            for no other.
        blend_share: the share of the other recipe's weights in the average, between 0 and 1.
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
    test_views: tuple[str, ...] = ()
    blend: str | None = None
    blend_share: float = 0.5

    def __post_init__(self):
        spec = model_spec(self.model)
        require(
            self.head in spec.heads, f"head must be one of {', '.join(spec.heads)} for {self.model}", head=self.head
        )
        require(
            self.image_size >= spec.minimum_size,
            f"image_size must be at least {spec.minimum_size} for {self.model}",
            image_size=self.image_size,
        )
        named = self.weights is None or self.weights in spec.weights
        suffixes = KERAS_SUFFIXES + PYTORCH_SUFFIXES
        readable = named or (Path(self.weights).is_file() and Path(self.weights).suffix in suffixes)
        require(
            readable,
            f"weights must be {', '.join([*spec.weights, 'none'])} or an existing file ({', '.join(suffixes)})",
            weights=self.weights,
        )
        for phase in self.phases:
            require(
                phase.name in spec.phases,
                f"phase must be {' or '.join(spec.phases)} for {self.model}",
                phase=phase.name,
            )
        require(self.limit is None or self.limit >= 100, "limit must be at least 100 images", limit=self.limit)
        require(self.seed >= 0, "seed must be at least 0", seed=self.seed)
        require(
            self.cache_dtype in ("float16", "float32"),
            "cache_dtype must be float16 or float32",
            cache_dtype=self.cache_dtype,
        )
        require(
            self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}", precision=self.precision
        )
        require(
            self.validation is None or self.validation >= 10,
            "validation must be at least 10",
            validation=self.validation,
        )
        for name in ("views", "test_views"):
            object.__setattr__(self, name, check_views(getattr(self, name)))  # without aliases, which old files hold
        require(
            self.views[:1] in ((), ("identity",)),
            "the first view must be identity, which validation sees",
            views=self.views,
        )
        solved = any(phase.optimizer == "logistic" for phase in self.phases)
        require(not solved or self.head == "linear", "head must be linear to be solved for", head=self.head)
        others = [name for name in RECIPES if name != self.recipe]
        require(
            self.blend is None or self.blend in others,
            f"blend must be none or one of {', '.join(others)}",
            blend=self.blend,
        )
        require(0 < self.blend_share < 1, "blend_share must be between 0 and 1", blend_share=self.blend_share)
        if self.blend:
            self.parts()  # what the other recipe cannot do with this network is told before anything is trained

    @property
    def name(self) -> str:
        """The default name of the run's folder."""
        parts = [self.model, self.recipe, self.phases[-1].name, f"seed{self.seed}"]
        if self.limit is not None:
            parts.append(f"limit{self.limit}")
        return "-".join(parts)

    def head_start(self) -> "TrainingConfig":
        """The run of phase "head" alone that this run begins with."""
        return dataclasses.replace(self, phases=self.phases[:1], unfreeze=0, blend=None, blend_share=0.5)

    def parts(self) -> tuple[tuple["TrainingConfig", float], ...]:
        """The runs whose weights a run with a `blend` averages, and the share of each: the other recipe's, and its own."""
        shared = ("head", "image_size", "unfreeze", "seed", "cache", "cache_dtype", "precision")
        given = {name: getattr(self, name) for name in shared} | {"weights": self.weights or "none", "blend": "none"}
        other = make_config(self.phases[-1].name, self.model, self.blend, **given)
        # The same images are held back by both; None, which names a number too, would be read as the recipe's own.
        other = dataclasses.replace(other, validation=self.validation, limit=self.limit)
        return (other, self.blend_share), (dataclasses.replace(self, blend=None, blend_share=0.5), 1 - self.blend_share)

    def save(self, path: Path, provenance: dict) -> None:
        """Write `{"config": …, "provenance": …}` as JSON; `provenance` says where data, weights and code came from."""
        with atomic_write(path) as temporary:
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
            for name in ("augment", "views", "test_views"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a training config: {error}") from error


def with_precision(command: str, config: TrainingConfig) -> str:
    """Return a command line with the precision that it led to on this machine, where the recipe's hangs on the machine."""
    if not command or "--precision" in command or "precision" not in find_recipe(config.recipe, config.model)[2]:
        return command
    return f"{command} --precision {config.precision}"


def make_config(
    phase: str | None = None, model: str = "mobilenet_v2", recipe: str | None = None, **choices
) -> TrainingConfig:
    """Fill in what the user left open from the recipe and the model's spec.

    Args:
        phase: the last phase to run; "finetune" runs "head" first. None: the model's last phase.
        model: a name from the registry.
        recipe: a name from `training.recipes.RECIPES`; None for the one that is made for the model, else `reference`.
        choices: fields of `TrainingConfig`, `augment` and `views` also as comma-separated names or "none"; `epochs` and
            `learning_rate`, of the phase named last; `batch_size`, of all phases. None means as in the recipe, or by default.

    Raises:
        ValueError: if a value is out of its range; the message says what is allowed and what was received.
    """
    spec = model_spec(model)
    phase = spec.phases[-1] if phase is None else phase
    require(phase in spec.phases, f"phase must be {' or '.join(spec.phases)} for {model}", phase=phase)
    recipe, known, settings = find_recipe(recipe, model)
    phases = [known[name] for name in spec.phases[: spec.phases.index(phase) + 1] if name in known]
    require(len(phases) > 0, f"recipe {recipe} has no phase that {model} is trained in; use another", recipe=recipe)
    given = {name: value for name, value in choices.items() if value is not None}
    fields = {
        "head": spec.heads[0],
        "weights": spec.weights[0] if spec.weights else None,
        "image_size": spec.image_size,
        "unfreeze": spec.unfreeze,
        **settings,
        **given,
    }
    if "precision" in settings and "precision" not in given and not computes_bfloat16():
        log.info("Trains in float32: this processor has no AVX-512, without which bfloat16 is slow.")
        fields["precision"] = "float32"
    if fields.get("blend") == "none" or ("blend" not in given and phase != spec.phases[-1]):
        fields |= {"blend": None, "blend_share": 0.5}
    changed = {name: fields.pop(name) for name in PHASE_SETTINGS if name in fields}
    if "batch_size" in changed:
        phases = [dataclasses.replace(each, batch_size=changed["batch_size"]) for each in phases]
    for name in ("epochs", "learning_rate"):
        solved = phases[-1].optimizer == "logistic" and name in given
        require(
            not solved, f"recipe {recipe} solves for the head: there is no {name} to choose", **{name: given.get(name)}
        )
    if phases[-1].optimizer != "logistic":  # a solved head has neither; the network's own are for the phase behind it
        phases[-1] = dataclasses.replace(phases[-1], **changed)

    for name, parse in (("augment", parse_augment), ("views", parse_views)):
        if isinstance(fields.get(name), str):
            fields[name] = parse(fields[name])
    if fields["weights"] == "none":
        fields["weights"] = None
    elif fields["weights"] not in (None, *spec.weights):
        fields["weights"] = str(Path(fields["weights"]).expanduser().resolve())  # found from any folder, when resumed
    return TrainingConfig(model=model, phases=tuple(phases), recipe=recipe, **fields)
