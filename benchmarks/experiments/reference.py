"""What accuracy does MobileNetV2 reach by the reference recipe, over several seeds?

Command: python benchmark.py reference
Cost: about 110 minutes (finished runs are kept, unfinished ones are resumed)
Result: results/reference.json, results/curves.png, results/confusion_matrix.png
"""

import shutil
import statistics
from collections.abc import Sequence

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
    """Train with seeds 0, 1, … and record the accuracies and the figures of a run of both phases."""
    rows = []
    for phase, seeds in (("head", options.head_seeds), ("finetune", options.finetune_seeds)):
        for seed in range(seeds):
            config = make_config(phase, seed=seed)
            command = f"python train.py --phase {phase} --seed {seed}"
            head_run = finished_head(config, options.runs)
            trained = Run(config, options.runs / config.name, command=command, head_run=head_run)
            known = {"run": trained.folder.name, "phase": phase, "seed": seed, "command": command}
            rows.append({**known, **run_row(trained.complete())})
    both_phases = next((row for row in rows if row["epochs"]["head"] and row["phase"] == "finetune"), rows[-1])
    options.results.mkdir(exist_ok=True)
    for picture in ("curves.png", "confusion_matrix.png"):
        shutil.copyfile(options.runs / both_phases["run"] / picture, options.results / picture)
    found = {phase: [row["accuracy"] for row in rows if row["phase"] == phase] for phase in ("head", "finetune")}
    spreads = {phase: _spread(accuracies) for phase, accuracies in found.items()}
    result = {"model": "mobilenet_v2", "recipe": "reference", **spreads, "runs": rows}
    return record(options.results / "reference.json", result)


def _spread(accuracies: Sequence[float]) -> dict:
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return {"n": len(accuracies), "accuracy_mean": statistics.mean(accuracies), "accuracy_deviation": deviation}
