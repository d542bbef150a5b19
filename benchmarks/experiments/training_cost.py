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
    """Train the reference recipe with the cache and without, for the same epochs; times exclude downloads."""
    config = make_config("finetune", seed=0, limit=options.limit)
    shortened = {"epochs": options.epochs, "patience": options.epochs}
    phases = tuple(dataclasses.replace(phase, **shortened) for phase in config.phases)
    ways = {}
    with tempfile.TemporaryDirectory() as folder, empty_activation_cache(Path(folder)):
        for way, cache in (("cached", True), ("plain", False)):
            trained = Run(dataclasses.replace(config, phases=phases, cache=cache), Path(folder) / way)
            ways[way] = run_row(trained.complete())
    epochs = {phase.name: options.epochs for phase in phases}
    cost = {**ways, "epochs": {"measured": epochs}}
    setting = {"model": config.model, "images": options.limit or len(load_cifar10().x_train), "seed": 0}
    difference = ways["cached"]["accuracy"] - ways["plain"]["accuracy"]
    ratios = {"measured": cost_ratios(cost, epochs)}
    result = {**setting, **cost, "accuracy_difference": difference, "ratios": ratios}
    return record(options.results / "training_cost.json", result)
