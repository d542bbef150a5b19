"""How much does a pretrained backbone help when data, optimizer and epochs are the same for every network?

Command: python benchmark.py comparison
Cost: about 270 minutes for all, 10 to 75 for one (finished runs are kept, unfinished ones are resumed)
Result: results/comparison.json
"""

import contextlib
import csv
import itertools
import shutil
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measures.flops import count_flops
from benchmarks.measures.significance import bootstrap_interval, holm, mcnemar
from benchmarks.measures.training_runs import empty_activation_cache, run_origin, run_row
from benchmarks.measures.training_time import timed_run
from benchmarks.results import merge, read, record
from inference.model_store import SAVED_MODELS
from models.registry import model_spec
from models.saved.card import ONNX_FILE, read_card
from runtime.progress import ProgressBar
from training.config import TrainingConfig, make_config
from training.data.cifar10 import load_cifar10
from training.export.saved_model import PREDICTIONS_FILE
from training.run import Run

PRETRAINED = ("mobilenet_v2", "efficientnet_lite0", "alexnet", "vgg16")
SCRATCH = ("custom_cnn", "custom_cnn_bn", "speedrun_cnn", "vit_tiny")
COMPARED = (*PRETRAINED, *SCRATCH)
STRATEGIES = {"head": "frozen ImageNet backbone", "scratch": "from scratch"}
CONVERGED = 0.01  # converged: validation accuracy within a point of the run's best


def add_arguments(parser) -> None:
    """Add the choice of networks and seeds."""
    parser.add_argument("--models", nargs="+", default=COMPARED, metavar="NAME", help="networks (default: all eight)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")


def run(options, store: Path = SAVED_MODELS) -> dict:
    """Train the chosen networks and compare all on the test images; other networks and seeds in the file are kept.

    Networks with a model in `store` have the status "live", the others "study".

    Raises:
        ValueError: a name is not in the registry, or the file has runs of another budget.
    """
    plans = {name: [controlled_config(name, seed) for seed in sorted(options.seeds)] for name in options.models}
    folder, path = options.runs / "comparison", options.results / "comparison.json"
    rows = read(path, {"budget": _budget()}).get("models", [])
    every = [folder / config.name for configs in plans.values() for config in configs]
    finished = sum(map(_is_finished, every))  # not part of the estimated time
    shipped = {read_card(card).name for card in store.glob("*/card.json")}
    with ProgressBar(total=len(every), initial=finished, unit=" runs", desc="comparison") as bar:
        for name, configs in plans.items():
            known = next((row["runs"] for row in rows if row["model"] == name), ())
            rows = merge(rows, _compared(name, configs, folder, bar, known), "model")
            rows = [{**row, "status": "live" if row["model"] in shipped else "study"} for row in rows]
            result = record(path, _result(rows))  # after each row: an interruption loses none
    return result


def controlled_config(model: str, seed: int) -> TrainingConfig:
    """Return the configuration of a network: a linear head on a frozen backbone, or all layers from scratch."""
    spec = model_spec(model)
    phase, head = ("head", "linear") if "head" in spec.phases else ("scratch", spec.heads[0])
    return make_config(phase, model, "controlled", head=head, seed=seed)


def _is_finished(run: Path) -> bool:
    return (run / "metrics.json").exists()


def _compared(name: str, configs: Sequence[TrainingConfig], folder: Path, bar: ProgressBar, known: Iterable) -> dict:
    """Train a network with each seed, and return its row. The seeds share one activation cache, deleted afterwards."""
    cache = folder / f".{name}-cache"  # kept if interrupted
    runs = {run["seed"]: run for run in known}
    unfinished = [config for config in configs if not _is_finished(folder / config.name)]
    with empty_activation_cache(cache) if unfinished else contextlib.nullcontext():
        for config in configs:
            bar.set_description(f"{name}, seed {config.seed}")
            run, phase = folder / config.name, config.phases[-1].name
            options = f"--model {name} --phase {phase} --recipe controlled --head {config.head} --seed {config.seed}"
            metrics = Run(config, run, command=f"python train.py {options}").complete()
            runs[config.seed] = {
                "seed": config.seed,
                **run_row(metrics),
                "curve": _validation_curve(run),
                "test_images": len(correct := _correct(run)),
                "right": np.packbits(correct).tobytes().hex(),  # one bit for each test image
                **run_origin(run),
            }
            bar.update(config in unfinished)
    shutil.rmtree(cache, ignore_errors=True)
    return _row(name, configs[-1], folder / configs[-1].name, [runs[seed] for seed in sorted(runs)])


def _row(name: str, config: TrainingConfig, folder: Path, runs: Sequence[dict]) -> dict:
    """Return the row of a network; `folder` is that of any of its runs."""
    card, phase, accuracies = read_card(folder / "card.json"), config.phases[-1].name, [run["accuracy"] for run in runs]
    timed = timed_run(runs)
    return {
        "model": name,
        "phase": phase,
        "strategy": STRATEGIES[phase],
        "head": config.head,
        "image_size": config.image_size,
        "validation_images": card.validation_images,
        "parameters": dict(card.parameters),
        "file_mb": round((folder / ONNX_FILE).stat().st_size / 1e6, 2),
        "flops": count_flops(folder / ONNX_FILE),
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracy_interval": list(bootstrap_interval(np.stack([_unpacked(run) for run in runs]))),
        "macro_f1": statistics.mean(run["macro_f1"] for run in runs),
        "training_seconds": timed["seconds"][phase],
        "frozen_seconds": timed["seconds"]["cache"],
        "cpu_seconds": timed["cpu_seconds"],
        "epochs_to_converge": _epochs_to_converge(runs[0]["curve"]),
        "runs": list(runs),
    }


def _unpacked(run: dict) -> np.ndarray:
    """Return which test images a recorded run classifies correctly, (images,) 0 or 1."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(run["right"]), np.uint8), count=run["test_images"])


def _correct(run: Path) -> np.ndarray:
    """Return which test images a run classifies correctly, (images,) bool."""
    with np.load(run / PREDICTIONS_FILE) as stored:
        return stored["test"].argmax(axis=1) == load_cifar10().y_test


def _validation_curve(run: Path) -> list[float]:
    """Return the validation accuracy of each epoch."""
    with open(run / "history.csv", newline="") as file:
        return [float(row["val_accuracy"]) for row in csv.DictReader(file)]


def _epochs_to_converge(curve: Sequence[float]) -> int:
    return next(epoch for epoch, value in enumerate(curve, start=1) if value >= max(curve) - CONVERGED)


def _result(rows: Sequence[dict]) -> dict:
    """Return the file's content: budget, networks by accuracy, and McNemar's test of each pair on the first seed."""
    ranked = sorted(rows, key=lambda row: -row["accuracy_mean"])
    correct = {row["model"]: _unpacked(row["runs"][0]) for row in ranked}
    pairs = [
        {"first": first, "second": second, **mcnemar(correct[first], correct[second])}
        for first, second in itertools.combinations(correct, 2)
    ]
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    return {"budget": _budget(), "models": ranked, "pairs": pairs}


def _budget() -> dict:
    config = controlled_config(COMPARED[0], 0)
    settings = ("optimizer", "learning_rate", "epochs", "batch_size")
    budget = {name: getattr(config.phases[-1], name) for name in settings}
    return {**budget, "augmentation": ", ".join(config.augment) or "none"}
