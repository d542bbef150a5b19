"""What accuracy does MobileNetV2 reach by the reference recipe, over several seeds?

Command: python benchmark.py reference
Cost: about 110 minutes (finished runs are kept)
Result: results/reference.json, results/curves.png, results/confusion_matrix.png
"""

import shutil
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.measures.training_runs import run_row
from benchmarks.results import record
from training.config import make_config
from training.run import Run
from training.run_folders import finished_head


def add_arguments(parser) -> None:
    """Add the numbers of runs."""
    parser.add_argument("--head-seeds", type=int, default=3, metavar="N", help="runs of phase head (default: 3)")
    parser.add_argument("--finetune-seeds", type=int, default=2, metavar="N", help="runs of both phases (default: 2)")


def run(options) -> dict:
    """Measure with seeds 0, 1, … of either phase."""
    return reference(options.runs, options.results, range(options.head_seeds), range(options.finetune_seeds))


def reference(runs: Path, results: Path, head_seeds: Iterable[int], finetune_seeds: Iterable[int]) -> dict:
    """Train with each seed, unless that run is finished already, and record the accuracies.

    Args:
        runs: the folder of runs; unfinished ones are resumed.
        results: the folder of the result file.
        head_seeds: seeds of phase "head".
        finetune_seeds: seeds of both phases.
    """
    rows = []
    for phase, seeds in (("head", head_seeds), ("finetune", finetune_seeds)):
        for seed in seeds:
            config = make_config(phase, seed=seed)
            command = f"python train.py --phase {phase} --seed {seed}"
            run = Run(config, runs / config.name, command=command, head_run=finished_head(config, runs))
            known = {"run": run.folder.name, "phase": phase, "seed": seed, "command": command}
            rows.append({**known, **run_row(run.complete())})
    results.mkdir(exist_ok=True)
    both_phases = next((row for row in rows if row["epochs"]["head"] and row["phase"] == "finetune"), rows[-1])
    for picture in ("curves.png", "confusion_matrix.png"):
        shutil.copyfile(runs / both_phases["run"] / picture, results / picture)
    spreads = {
        phase: _spread([row["accuracy"] for row in rows if row["phase"] == phase]) for phase in ("head", "finetune")
    }
    return record(results / "reference.json", {"model": "mobilenet_v2", "recipe": "reference", **spreads, "runs": rows})


def _spread(accuracies: Sequence[float]) -> dict:
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return {"n": len(accuracies), "accuracy_mean": statistics.mean(accuracies), "accuracy_deviation": deviation}
