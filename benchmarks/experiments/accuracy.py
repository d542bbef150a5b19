"""The measurements of the recipes: how far each network gets, what each part of `strong` gives, how soon it gets there."""

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.experiments.reference import empty_boundary_cache, origin, record, run_origin, run_row
from benchmarks.report.tables import AS_IT_IS, changed_options
from models.saved.card import read_card
from runtime.validation import require
from training import plots
from training.config import TrainingConfig, make_config
from training.evaluation import predict_views
from training.recipes import RECIPES, PhaseConfig
from training.run import Run


@dataclass(frozen=True)
class Goal:
    """A network, how it is trained, and what it should reach on the test set.

    Attributes:
        model: its name in the registry.
        options: of `train.py`, beside the model and the seed.
        published: test accuracy that projects of the same kind report, where one does.
        target: test accuracy to reach, if any.
        minutes: the longest that everything may take with it, if that is limited.
    """

    model: str
    options: Mapping[str, Any]
    published: float | None = None
    target: float | None = None
    minutes: float | None = None

    def command(self, seed: int = 0) -> str:
        """Return the command line that trains it."""
        shown = {"model": self.model, **self.options} | ({"seed": seed} if seed else {})
        return "python train.py " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown.items())


GOALS = (
    Goal("custom_cnn", {"epochs": 15, "augment": "flip"}),
    Goal("custom_cnn", {"views": "robust"}),
    Goal("custom_cnn_bn", {"epochs": 15, "augment": "flip,shift,rotate"}),
    Goal("speedrun_cnn", {"recipe": "speedrun"}, published=0.8863, target=0.938, minutes=45),
    Goal("speedrun_cnn", {"recipe": "speedrun", "views": "robust", "epochs": 24}, published=0.8863),
    Goal("mobilenet_v2", {"recipe": "reference"}, published=0.92),
    Goal("mobilenet_v2", {"recipe": "strong"}, published=0.92, target=0.955, minutes=60),
    Goal("mobilenet_v2", {"recipe": "robust"}, published=0.92),
    Goal("efficientnet_lite0", {"recipe": "strong"}, published=0.8375, target=0.955),
    Goal("efficientnet_lite0", {"recipe": "robust"}, published=0.8375),
    Goal("alexnet", {"recipe": "strong"}, published=0.8344, target=0.89),
    Goal("vgg16", {"recipe": "strong"}, target=0.91),
    Goal("vit_tiny", {"recipe": "vit"}, published=0.6230, target=0.82),
)


def accuracy(
    runs: Path, results: Path, models: Sequence[str] = (), seeds: Sequence[int] = (0,), word: str = ""
) -> dict:
    """Train each network as far as its recipe goes, where that is not done yet, and record what it reaches.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `accuracy.json` goes; rows of other networks and other seeds in it stay.
        models: names of networks; empty for all of `GOALS`.
        seeds: of the runs of each.
        word: one of the command line, such as "robust": only commands that hold it are run.

    Raises:
        ValueError: if no goal is set for a name, no goal of these has the word, or there are no seeds.
    """
    known = [goal.model for goal in GOALS]
    for name in models:
        if name not in known:
            raise ValueError(f"models must be of {', '.join(dict.fromkeys(known))}. Received: {name!r}")
    require(len(seeds) > 0, "at least one seed is needed", seeds=seeds)
    goals = [goal for goal in GOALS if not models or goal.model in models]
    chosen = [goal for goal in goals if not word or word in goal.command().split()]
    commands = "; ".join(goal.command() for goal in goals)
    require(bool(chosen), f"the word must be one of a command: {commands}", word=word)
    path = results / "accuracy.json"
    rows = json.loads(path.read_text())["runs"] if path.exists() else []
    for goal in chosen:
        for seed in seeds:
            row = _reached(goal, seed, runs)
            same = ("command", "hardware")
            rows = [other for other in rows if any(other[key] != row[key] for key in same)] + [row]
            rows.sort(key=lambda row: (row["model"], row["recipe"], changed_options(row), row["hardware"], row["seed"]))
            result = record(path, {"runs": rows})  # after each, so that an interruption loses none
    return result


def _reached(goal: Goal, seed: int, runs: Path) -> dict:
    config = make_config(model=goal.model, seed=seed, **goal.options)
    command = goal.command(seed)
    changed = [f"{name}-{value}" for name, value in goal.options.items() if name != "recipe"]
    folder = runs / "accuracy" / "-".join([config.name, *changed])
    with empty_boundary_cache(cache := folder.with_name(f".{folder.name}-cache")):  # the frozen layers are in its time
        metrics = Run(config, folder, command=command).complete()
    shutil.rmtree(cache, ignore_errors=True)
    card = read_card(folder / "card.json")
    return {
        "model": goal.model,
        "recipe": config.recipe,
        "seed": seed,
        "image_size": config.image_size,
        "parameters": dict(card.parameters),
        "published": goal.published,
        "target": goal.target,
        "minutes": goal.minutes,
        **run_row(metrics),
        "accuracy_tta": metrics.get("tta", {}).get("accuracy"),
        "validation_accuracy_tta": metrics.get("tta", {}).get("validation_accuracy"),
        "command": card.command,
        **run_origin(folder),
    }


_HEAD, _FINETUNE = (RECIPES["strong"].phases[name] for name in ("head", "finetune"))
_REFERENCE_HEAD = RECIPES["reference"].phases["head"]


def _finetune(**settings) -> dict:
    return {"finetune": dataclasses.replace(_FINETUNE, **settings)}


VIEWS_AVERAGED = f"{AS_IT_IS}, averaged with the mirror image"
# What `strong` is changed in, one thing at a time: phases, or settings of the run.
CHANGES: dict[str, tuple[Mapping[str, PhaseConfig | None], Mapping[str, Any]]] = {
    AS_IT_IS: ({}, {}),
    "no head first: fine-tuned from a random one": ({"head": None}, {}),
    "head by Adam, as in reference": ({"head": _REFERENCE_HEAD}, {}),
    "one view: identity": ({}, {"views": ("identity",)}),
    "two views: identity, mirror": ({}, {"views": ("identity", "mirror")}),
    "no label smoothing": (_finetune(label_smoothing=0.0), {}),
    "SGD 0.02, momentum 0.9": (_finetune(optimizer="sgd", learning_rate=0.02, momentum=0.9), {}),
    "constant learning rate": (_finetune(schedule="constant", warmup=0.0), {}),
    "half the learning rate": (_finetune(learning_rate=_FINETUNE.learning_rate / 2), {}),
    "twice the learning rate": (_finetune(learning_rate=_FINETUNE.learning_rate * 2), {}),
    "first layer at 0.3 of the last one's rate": (_finetune(first_layer_rate=0.3), {}),
    "weights averaged (EMA)": (_finetune(average="ema"), {}),
    "MixUp 0.2 on cached activations": (_finetune(mixup=0.2), {}),
    "fewer layers: from block_10": ({}, {"unfreeze": "block_10"}),
    "more layers: from block_4": ({}, {"unfreeze": "block_4"}),
}


def ablation(
    runs: Path, results: Path, changes: Sequence[str] = (), *, image_size: int = 96, epochs: float = 4
) -> dict:
    """Change one thing of `strong` at a time and record what validation says; the test set is not looked at.

    MobileNetV2 with a smaller input and fewer epochs than the recipe's, seed 0, a tenth of the training images held back.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `recipes.json` goes; rows of other changes in it stay.
        changes: words of the changes to try, such as "EMA"; empty for all of `CHANGES`.
        image_size: the side of the input in pixels.
        epochs: of phase "finetune".

    Raises:
        ValueError: if no change has one of the words, or the file holds runs of another size or length.
    """
    for word in changes:
        if not any(word in change for change in CHANGES):
            raise ValueError(f"changes must be words of: {'; '.join(CHANGES)}. Received: {word!r}")
    path = results / "recipes.json"
    rows = {row["change"]: row for row in known_runs(path, image_size, epochs)}
    for change, (phases, settings) in CHANGES.items():
        if changes and not any(word in change for word in changes):
            continue
        config = shortened_strong(image_size, epochs, phases, **settings)
        name = re.sub(r"[^a-z0-9.]+", "-", change.lower())
        run = Run(config, runs / "ablation" / f"{image_size}px-{epochs:g}-epochs" / name)
        model, split = run.train()
        rows[change] = _validated(change, run)
        if not phases and not settings:
            labels = split.dataset.y_train[split.validation]
            images = split.dataset.x_train[split.validation]
            averaged = predict_views(model, images, image_size, config.test_views)
            accuracy = float((averaged.argmax(1) == labels).mean())
            rows[VIEWS_AVERAGED] = {**origin(), "change": VIEWS_AVERAGED, "validation_accuracy": accuracy}
        order = dict.fromkeys((AS_IT_IS, VIEWS_AVERAGED, *CHANGES))
        result = record(
            path,
            {
                "model": config.model,
                "recipe": "strong",
                "image_size": image_size,
                "epochs": epochs,
                "seed": config.seed,
                "validation_images": len(split.validation),
                "runs": [rows[change] for change in order if change in rows],
            },
        )
    return result


def known_runs(path: Path, image_size: int, epochs: float) -> list[dict]:
    """Return the runs that a result file holds already; none without the file.

    Raises:
        ValueError: if they are of another size or length.
    """
    if not path.exists():
        return []
    known = json.loads(path.read_text())
    if (known["image_size"], known["epochs"]) != (image_size, epochs):
        raise ValueError(
            f"{path} holds runs of {known['epochs']:g} epochs at {known['image_size']} pixels: move it away first. "
            f"Received: epochs={epochs}, image_size={image_size}"
        )
    return known["runs"]


def shortened_strong(
    image_size: int, epochs: float, phases: Mapping[str, PhaseConfig | None] = MappingProxyType({}), **settings: Any
) -> TrainingConfig:
    """Return `strong` for MobileNetV2 with `epochs` of phase "finetune" and a tenth of the training images held back.

    `phases` replaces phases by their names, or with None takes one away; `settings` are of `make_config`.
    """
    config = make_config(model="mobilenet_v2", recipe="strong", image_size=image_size, validation=5000, **settings)
    chosen = {phase.name: phase for phase in config.phases} | dict(phases)
    chosen["finetune"] = dataclasses.replace(chosen["finetune"], epochs=epochs)
    return dataclasses.replace(config, phases=tuple(phase for phase in chosen.values() if phase is not None))


def _validated(change: str, run: Run) -> dict:
    last = run.state.history[-1]
    return {
        **origin(),
        "change": change,
        "validation_accuracy": last["val_accuracy"],
        "validation_loss": last["val_loss"],
        "training_accuracy": last["accuracy"],
        "seconds": round(run.state.seconds["finetune"], 1),
    }


THRESHOLDS = (0.90, 0.92, 0.94)
PLAIN_EPOCHS = {"head": 2, "finetune": 5}
"""As few as tutorials have them: `reference`, which stops by itself, takes 10 and 10, and without a cache that takes hours."""


def time_to_accuracy(runs: Path, results: Path, *, image_size: int = 128) -> dict:
    """Train MobileNetV2 by `strong`, by `reference`, and by a short `reference` without a cache: validation accuracy by time.

    The clock runs from when data and weights are there: it counts the frozen layers and every epoch. All three hold back
    the same tenth of the training images, and the test set is not looked at.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `time_to_accuracy.json` and its picture go, anew after each of the three.
        image_size: the side of the input in pixels; less than the network's own, so that the plain way ends the same day.
    """
    plain = make_config(recipe="reference", cache=False, image_size=image_size)
    shortened = [dataclasses.replace(phase, epochs=PLAIN_EPOCHS[phase.name]) for phase in plain.phases]
    ways = {
        "strong": make_config(recipe="strong", validation=5000, image_size=image_size),
        "reference": make_config(recipe="reference", image_size=image_size),
        "plain Keras": dataclasses.replace(plain, phases=tuple(shortened)),
    }
    rows = []
    for way, config in ways.items():
        run = Run(config, runs / "time-to-accuracy" / way.replace(" ", "-").lower())
        # A folder of its own, so that an interrupted run finds its frozen layers, and they are computed once.
        with empty_boundary_cache(cache := run.folder.with_name(f"{run.folder.name}-cache")):
            run.train()
        shutil.rmtree(cache)
        curve = _curve(run)
        epochs = {phase: sum(point["phase"] == phase for point in curve) for phase in ("head", "finetune")}
        rows.append({"way": way, "epochs": epochs, "curve": curve, "seconds_until": _seconds_until(curve)})
        plots.plot_time_to_accuracy(rows, THRESHOLDS, results / "time_to_accuracy.png")
        result = record(
            results / "time_to_accuracy.json",
            {"model": "mobilenet_v2", "image_size": config.image_size, "seed": config.seed, "runs": rows},
        )
    return result


def _curve(run: Run) -> list[dict]:
    seconds, points = run.state.seconds.get("cache", 0.0), []
    for row in run.state.history:
        seconds += row["seconds"]
        points.append({"seconds": round(seconds, 1), "phase": row["phase"], "accuracy": row["val_accuracy"]})
    return points


def _seconds_until(curve: Sequence[Mapping]) -> dict[str, float | None]:
    return {
        f"{threshold:.0%}": next((point["seconds"] for point in curve if point["accuracy"] >= threshold), None)
        for threshold in THRESHOLDS
    }
