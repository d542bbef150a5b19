"""How much training time does the freeze boundary with its activation cache save against plain Keras?

Command: python benchmark.py training_cost
Cost: 30 minutes
Result: results/training_cost.json
"""

import dataclasses
import tempfile
from pathlib import Path

from benchmarks.measures.training_runs import empty_activation_cache, run_row
from benchmarks.measures.training_time import cost_ratios
from benchmarks.results import record
from training.config import make_config
from training.data.cifar10 import load_cifar10
from training.run import Run


def add_arguments(parser) -> None:
    """Add the length of the measurement."""
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="epochs of each phase (default: 1)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images (default: all)")


def run(options) -> dict:
    """Measure with seed 0."""
    return training_cost(options.results, epochs=options.epochs, limit=options.limit)


def training_cost(results: Path, *, epochs: int, seed: int = 0, limit: int | None = None) -> dict:
    """Train the reference recipe with the activation cache and without, one after the other, and compare the times.

    Both start with data and weights in the cache, but no activations, and train for the same number of epochs.

    Args:
        results: the folder of the result file.
        epochs: of each phase.
        seed: of both runs.
        limit: the first n images only.
    """
    config = make_config("finetune", seed=seed, limit=limit)
    phases = tuple(dataclasses.replace(phase, epochs=epochs, patience=epochs) for phase in config.phases)
    ways = {}
    with tempfile.TemporaryDirectory() as folder, empty_activation_cache(Path(folder)):
        for way, cache in (("cached", True), ("plain", False)):
            run = Run(dataclasses.replace(config, phases=phases, cache=cache), Path(folder) / way)
            ways[way] = run_row(run.complete())
    epochs_measured = {"measured": {phase.name: epochs for phase in phases}}
    cost = {**ways, "epochs": epochs_measured}
    return record(
        results / "training_cost.json",
        {
            "model": config.model,
            "images": limit or len(load_cifar10().x_train),
            "seed": seed,
            "accuracy_difference": ways["cached"]["accuracy"] - ways["plain"]["accuracy"],
            **cost,
            "ratios": {"measured": cost_ratios(cost, epochs_measured["measured"])},
        },
    )
