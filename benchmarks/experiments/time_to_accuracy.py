"""How many minutes does MobileNetV2 need to 90, 92 and 94 % validation accuracy, by recipe and by plain Keras?

Command: python benchmark.py time_to_accuracy
Cost: 120 minutes
Result: results/time_to_accuracy.json, results/time_to_accuracy.png
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence

from benchmarks.measures.training_runs import empty_activation_cache
from benchmarks.results import record
from training import plots
from training.config import TrainingConfig, make_config
from training.run import Run

THRESHOLDS = (0.90, 0.92, 0.94)
PLAIN_EPOCHS = {"head": 2, "finetune": 5}  # as in tutorials; without a cache the full recipe would take hours


def add_arguments(parser) -> None:
    """Add the size of the input."""
    parser.add_argument("--image-size", type=int, default=128, metavar="PIXELS", help="input side (default: 128)")


def run(options) -> dict:
    """Train by `strong`, by `reference`, and by a short `reference` without a cache; record validation accuracy by time.

    Times include the frozen layers and every epoch, without downloads. All three hold out the same tenth of the training
    images. The test set is not used.
    """
    rows = []
    for way, config in _configs(options.image_size).items():
        trained = Run(config, options.runs / "time-to-accuracy" / way.replace(" ", "-").lower())
        with empty_activation_cache(cache := trained.folder.with_name(f"{trained.folder.name}-cache")):
            trained.train()
        shutil.rmtree(cache)
        curve = _curve(trained)
        epochs = {phase: sum(point["phase"] == phase for point in curve) for phase in ("head", "finetune")}
        rows.append({"way": way, "epochs": epochs, "curve": curve, "seconds_until": _seconds_until(curve)})
        plots.plot_time_to_accuracy(rows, THRESHOLDS, options.results / "time_to_accuracy.png")
        setting = {"model": "mobilenet_v2", "image_size": config.image_size, "seed": config.seed}
        result = record(options.results / "time_to_accuracy.json", {**setting, "runs": rows})
    return result


def _configs(image_size: int) -> dict[str, TrainingConfig]:
    plain = make_config(recipe="reference", cache=False, image_size=image_size)
    short = [dataclasses.replace(phase, epochs=PLAIN_EPOCHS[phase.name]) for phase in plain.phases]
    return {
        "strong": make_config(recipe="strong", validation=5000, image_size=image_size),
        "reference": make_config(recipe="reference", image_size=image_size),
        "plain Keras": dataclasses.replace(plain, phases=tuple(short)),
    }


def _curve(trained: Run) -> list[dict]:
    seconds, points = trained.state.seconds.get("cache", 0.0), []
    for row in trained.state.history:
        seconds += row["seconds"]
        points.append({"seconds": round(seconds, 1), "phase": row["phase"], "accuracy": row["val_accuracy"]})
    return points


def _seconds_until(curve: Sequence[Mapping]) -> dict[str, float | None]:
    return {
        f"{threshold:.0%}": next((point["seconds"] for point in curve if point["accuracy"] >= threshold), None)
        for threshold in THRESHOLDS
    }
