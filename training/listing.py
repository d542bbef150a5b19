"""What `train.py --list` and `--explain` print: networks, recipes, and what a recipe does to a network."""

import math

import keras

from models.pretrained.downloads import HubFile
from models.registry import ModelSpec, build_model, list_models, model_spec
from training.config import TrainingConfig
from training.freezing.boundary import backbone_layers, choose_cut, freeze
from training.freezing.feeds import cached_views, thaw
from training.recipes import list_recipes, recipe_doc
from training.recipes.recipe import PhaseConfig

IMAGES = 50_000  # CIFAR-10's training images
HEADER = ("name", "input", "parameters", "head trains", "finetune trains", "scratch trains", "weights")
LEGEND = """\
imagenet: from a package that pip fetches, or (hub) from Hugging Face; keras: from Keras Applications; file: a PyTorch
checkpoint given by its path (every network takes Keras files). finetune trains the last N backbone layers: --unfreeze."""


def list_networks(classes: int = 10) -> str:
    """Return a table of all registered networks, with their default heads for `classes` classes."""
    rows = [HEADER, *(_row(model_spec(name), classes) for name in list_models())]
    return f"{_table(rows, left=(0, len(HEADER) - 1))}\n\n{LEGEND}"


def list_recipe_lines() -> str:
    """Return a table of all recipes with the first line of their docstrings."""
    names: dict[str, list[str]] = {}
    for name in list_recipes():
        names.setdefault(recipe_doc(name).splitlines()[0], []).append(name)  # a file may hold several
    rows = [(", ".join(group), line) for line, group in names.items()]
    return _table([("recipe", "what it does"), *rows], left=(0, 1))


def explain(config: TrainingConfig, classes: int = 10) -> str:
    """Return what a run would do, phase by phase, without fetching weights or reading data."""
    model = _skeleton(model_spec(config.model), classes, config)
    held_back = "a tenth of the training images" if config.validation is None else f"{config.validation:,} images"
    average = ""
    if config.average_with:
        shares = f"{config.average_share:.0%} {config.average_with} and {1 - config.average_share:.0%} {config.recipe}"
        average = f"\n  averaging     trains by both recipes; the final weights are {shares}"
    doc = recipe_doc(config.recipe).strip().splitlines()
    measured = [line.strip() for line in doc if f"python train.py --model {config.model} " in line]
    expected = "\n".join(measured) or "not measured for this network"
    phases = "\n\n".join(_explain_phase(model, config, phase) for phase in config.phases)
    return f"""\
{config.model} by recipe {config.recipe}
{doc[0]}

  input         {config.image_size}×{config.image_size}, head {config.head}, {model.count_params():,} parameters
  weights       {config.weights or "random"}
  precision     {config.precision}
  validation    {held_back}
  views         {", ".join(config.views) or "none"}
  augmentation  {", ".join(config.augment) or "none"}
  TTA views     {", ".join(config.tta_views) or "none"}{average}

{phases}

CIFAR-10 test accuracy, number of runs, minutes on two cores:
{expected}"""


def _explain_phase(model: keras.Model, config: TrainingConfig, phase: PhaseConfig) -> str:
    thaw(model, config, phase)
    trained = [layer for layer in model.layers if layer.trainable_weights]
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    count = f"{len(trained)} layer{'s' * (len(trained) > 1)}"
    if phase.is_solved:
        how = f"logistic regression on frozen features, batch size {phase.batch_size}"
    else:
        stop = f"early stopping after {phase.patience}" if phase.patience else "no early stopping"
        how = (
            f"{phase.optimizer}, peak learning rate {phase.learning_rate:g}, {phase.schedule} schedule, "
            f"{phase.epochs:g} epochs ({stop}), batch size {phase.batch_size}"
        )
    cut, views = choose_cut(model), cached_views(config)
    if not cut.has_weights:
        cache = "nothing is frozen, so nothing is cached"
    elif views is None or not config.cache:
        cache = "none: the frozen layers run in every step"
    else:
        size = cut.values_per_image * (2 if config.cache_dtype == "float16" else 4)
        total = f"{size * len(views) * IMAGES / 1e9:.2f} GB for {IMAGES:,} images"
        cache = f"at {cut.name}: {size:,} bytes per image and view, {len(views)} views, {total}"
    return f"""\
phase {phase.name}
  method        {how}
  trains        from {trained[0].name} on: {count} with weights, {parameters:,} parameters
  cache         {cache}"""


def _skeleton(spec: ModelSpec, classes: int, config: TrainingConfig | None = None) -> keras.Model:
    """Build a network's layers and shapes without allocating weights."""
    with keras.StatelessScope():
        options = {"head": config.head, "image_size": config.image_size} if config else {}
        return build_model(spec, classes=classes, **options)


def _row(spec: ModelSpec, classes: int) -> tuple[str, ...]:
    model = _skeleton(spec, classes)
    trained = {"head": "–", "finetune": "–", "scratch": "–"}
    for phase in spec.phases:
        unfreeze = {"head": 0, "finetune": spec.unfreeze, "scratch": len(backbone_layers(model))}[phase]
        freeze(model, unfreeze, train_batch_norm=phase == "scratch")
        trained[phase] = f"{sum(math.prod(weight.shape) for weight in model.trainable_weights):,}"
    if "finetune" in spec.phases:
        trained["finetune"] += f" (last {spec.unfreeze})"
    size = f"{spec.image_size}×{spec.image_size}"
    return (spec.name, size, f"{model.count_params():,}", *trained.values(), _weights(spec))


def _weights(spec: ModelSpec) -> str:
    pretrained = spec.pretrained
    kinds = {
        "imagenet (hub)" if isinstance(pretrained.imagenet, HubFile) else "imagenet": pretrained.imagenet,
        "keras": pretrained.keras,
        "file": pretrained.mappings,
    }
    return ", ".join(name for name, there in kinds.items() if there) or "–"


def _table(rows: list[tuple[str, ...]], left: tuple[int, ...]) -> str:
    """Return rows as aligned text; the columns `left` are aligned left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
