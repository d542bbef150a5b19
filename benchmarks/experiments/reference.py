"""The measurements behind the numbers that the project states; each writes one file under `results/`."""

import contextlib
import dataclasses
import datetime
import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.report.tables import cost_ratios
from models.registry import create_model
from models.saved.card import read_card
from runtime.files import cache_folder
from training.config import make_config
from training.data.cifar10 import load_cifar10
from training.export.saved_model import write_json
from training.provenance import describe_hardware, git_commit
from training.run import Run
from training.run_folders import finished_head

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent.parent


def reference(runs: Path, results: Path, *, head_seeds: Iterable[int], finetune_seeds: Iterable[int]) -> dict:
    """Train MobileNetV2 by the reference recipe with several seeds, where that is not done yet; record the accuracies.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `reference.json` goes.
        head_seeds: seeds of phase "head".
        finetune_seeds: seeds of both phases.
    """
    rows = []
    for phase, seeds in (("head", head_seeds), ("finetune", finetune_seeds)):
        for seed in seeds:
            config = make_config(phase, seed=seed)
            command = f"python train.py --phase {phase} --seed {seed}"
            run = Run(config, runs / config.name, command=command, head_run=finished_head(config, runs))
            rows.append(
                {"run": run.folder.name, "phase": phase, "seed": seed, "command": command, **run_row(run.complete())}
            )
    results.mkdir(exist_ok=True)
    whole = next((row for row in rows if row["epochs"]["head"] and row["phase"] == "finetune"), rows[-1])
    for picture in ("curves.png", "confusion_matrix.png"):  # of a run of both phases, for the README
        shutil.copyfile(runs / whole["run"] / picture, results / picture)
    return record(
        results / "reference.json",
        {
            "model": "mobilenet_v2",
            "recipe": "reference",
            **{
                phase: _spread([row["accuracy"] for row in rows if row["phase"] == phase])
                for phase in ("head", "finetune")
            },
            "runs": rows,
        },
    )


def training_cost(results: Path, *, epochs: int, seed: int = 0, limit: int | None = None) -> dict:
    """Train the reference recipe with the boundary cache and the plain way, one after the other, and compare.

    Both start with the data and the weights at hand and an empty boundary cache, and train for the same few epochs.

    Args:
        results: where `training_cost.json` goes.
        epochs: epochs of each phase.
        seed: of both runs.
        limit: the first n images only.
    """
    config = make_config("finetune", seed=seed, limit=limit)
    phases = tuple(dataclasses.replace(phase, epochs=epochs, patience=epochs) for phase in config.phases)
    ways = {}
    with tempfile.TemporaryDirectory() as folder, empty_boundary_cache(Path(folder)):
        for way, cache in (("cached", True), ("plain", False)):
            run = Run(dataclasses.replace(config, phases=phases, cache=cache), Path(folder) / way)
            ways[way] = run_row(run.complete())
    lengths = {phase.name: epochs for phase in phases}
    return record(
        results / "training_cost.json",
        {
            "model": config.model,
            "images": limit or len(load_cifar10().x_train),
            "seed": seed,
            **ways,
            "accuracy_difference": ways["cached"]["accuracy"] - ways["plain"]["accuracy"],
            "epochs": {"measured": lengths},
            "ratios": {"measured": cost_ratios({**ways, "epochs": {"measured": lengths}}, lengths)},
        },
    )


def fresh_clone(results: Path, runs: Path) -> dict:
    """Run the README's commands as a new user would: fresh clone, fresh environment, empty Thaw cache; record their times.

    The run that the first command leaves is moved to `runs`. pip keeps its own cache of packages.

    Raises:
        RuntimeError: if a command fails; nothing is recorded then.
    """
    commands, commit = readme_commands(ROOT / "README.md"), git_commit()
    steps = []
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "thaw"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        environment["THAW_CACHE"] = str(Path(folder) / "cache")
        for command in commands:
            started = time.perf_counter()
            status = subprocess.run(command, shell=True, cwd=clone, env=environment, executable="/bin/bash").returncode
            if status:
                raise RuntimeError(f"A command of the README failed with status {status}: {command}")
            steps.append({"command": command, "seconds": round(time.perf_counter() - started, 1)})
        runs.mkdir(exist_ok=True)
        for run in (clone / "runs").glob("*"):
            if not (runs / run.name).exists():
                shutil.move(run, runs / run.name)
    return record(results / "fresh_clone.json", {"git_commit": commit, "steps": steps})


def readme_commands(readme: Path) -> list[str]:
    """Return the two commands of the README: the first installs and trains, the second installs and tests."""
    blocks = re.findall(r"```bash\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [block.strip() for block in blocks[:2]]


@contextlib.contextmanager
def empty_boundary_cache(folder: Path) -> Iterator[None]:
    """Point THAW_CACHE into a folder of its own, with the data and weights of the present cache.

    Nothing else is in it, but for what an interrupted use of the same folder has left.
    """
    load_cifar10()
    create_model("mobilenet_v2")
    present = cache_folder()
    for name in ("datasets", "weights"):
        shutil.copytree(
            present / name, folder / "cache" / name, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True
        )
    before = os.environ.get("THAW_CACHE")
    os.environ["THAW_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        del os.environ["THAW_CACHE"]
        if before is not None:
            os.environ["THAW_CACHE"] = before


def run_row(metrics: dict) -> dict:
    """Return what a table needs of a run's metrics."""
    row = {name: metrics[name] for name in ("accuracy", "validation_accuracy", "epochs", "seconds", "cpu_seconds")}
    return {**row, "macro_f1": metrics["macro"]["f1"]}


def run_origin(run: Path) -> dict[str, str | None]:
    """Return where and when a finished run was trained: hardware, commit, date."""
    card = read_card(run / "card.json")
    commit = json.loads((run / "config.json").read_text())["provenance"]["git_commit"]
    return {"hardware": card.hardware, "git_commit": commit, "date": card.date}


def _spread(accuracies: list[float]) -> dict:
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return {"n": len(accuracies), "accuracy_mean": statistics.mean(accuracies), "accuracy_deviation": deviation}


def origin() -> dict[str, str]:
    """Return where and when something is measured: hardware, commit, date."""
    return {
        "hardware": describe_hardware(),
        "git_commit": git_commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def record(path: Path, result: dict) -> dict:
    """Write a result as JSON with its origin, and return it."""
    result = {**origin(), **result}
    write_json(path, result)
    return result
