"""The registry as a table: what `train.py --list` prints."""

import math

import keras

from models.pretrained.downloads import HubFile
from models.registry import ModelSpec, build_model, list_models, model_spec
from training.freezing.boundary import backbone_layers, freeze

HEADER = ("name", "input", "parameters", "head trains", "finetune trains", "scratch trains", "weights")
LEGEND = (
    "imagenet: from a package that pip fetches, or (hub) from Hugging Face; keras: from Keras Applications; file: a PyTorch\n"
    "checkpoint by its path (every network takes Keras files). Finetune counts layers from the backbone's end; --unfreeze\n"
    "changes it."
)


def catalogue(classes: int = 10) -> str:
    """Return a table of all registered models, with their default heads for `classes` classes."""
    rows = [HEADER, *(_row(model_spec(name), classes) for name in list_models())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    left = (0, len(HEADER) - 1)  # the others are numbers
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", LEGEND])


def _row(spec: ModelSpec, classes: int) -> tuple[str, ...]:
    with keras.StatelessScope():  # shapes alone: no weight is made
        model = build_model(spec, classes=classes)
    trained = {"head": "–", "finetune": "–", "scratch": "–"}
    for phase in spec.phases:
        unfreeze = {"head": 0, "finetune": spec.unfreeze, "scratch": len(backbone_layers(model))}[phase]
        freeze(model, unfreeze, train_batch_norm=phase == "scratch")
        trained[phase] = f"{sum(math.prod(weight.shape) for weight in model.trainable_weights):,}"
    if "finetune" in spec.phases:
        trained["finetune"] += f" (last {spec.unfreeze})"
    return (
        spec.name,
        f"{spec.image_size}×{spec.image_size}",
        f"{model.count_params():,}",
        *trained.values(),
        _weights(spec),
    )


def _weights(spec: ModelSpec) -> str:
    pretrained = spec.pretrained
    kinds = {
        "imagenet (hub)" if isinstance(pretrained.imagenet, HubFile) else "imagenet": pretrained.imagenet,
        "keras": pretrained.keras,
        "file": pretrained.mappings,
    }
    return ", ".join(name for name, there in kinds.items() if there) or "–"
