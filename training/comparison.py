"""The controlled comparison: how much a pretrained backbone helps when data, optimizer and epochs are the same for all."""

import itertools
import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.card import ONNX_FILE, read_card
from models.registry import model_spec
from training.artifacts import PREDICTIONS_FILE
from training.cifar10 import load_cifar10
from training.config import TrainingConfig, make_config
from training.flops import count_flops
from training.measure import empty_boundary_cache, record, run_row
from training.recipes import require
from training.run import Run
from training.significance import bootstrap_interval, holm, mcnemar

TRANSFER = ("mobilenet_v2", "efficientnet_lite0", "alexnet", "vgg16")  # whose ImageNet weights a package carries
SCRATCH = ("custom_cnn", "custom_cnn_bn", "speedrun_cnn", "vit_tiny")
COMPARED = (*TRANSFER, *SCRATCH)
STRATEGIES = {"head": "frozen ImageNet backbone", "scratch": "from scratch"}
CONVERGED = 0.01  # an epoch has converged whose validation accuracy is this close to the run's best


def controlled(
    runs: Path, results: Path, models: Sequence[str] = (), seeds: int = 3, shelf: Path = Path("saved_models")
) -> dict:
    """Train each network under the controlled budget, where that is not done yet, and compare them on the test images.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `comparison.json` goes; rows of other networks in it stay.
        models: names of networks; empty for all of `COMPARED`.
        seeds: how many runs of each: seeds 0, 1, ….
        shelf: the folder of models that are served, which are "live".

    Raises:
        ValueError: if a name is not one of `COMPARED`, or `seeds` is below 1.
    """
    for name in models:
        if name not in COMPARED:
            raise ValueError(f"models must be of {', '.join(COMPARED)}. Received: {name!r}")
    require(seeds >= 1, "seeds must be at least 1", seeds=seeds)
    wanted = [name for name in COMPARED if not models or name in models]
    folder, path = runs / "comparison", results / "comparison.json"
    known = {row["model"]: row for row in json.loads(path.read_text())["models"]} if path.exists() else {}
    result: dict = {}
    with tqdm(total=len(wanted) * seeds, unit=" runs", desc="comparison") as bar:
        for name in wanted:
            live = any(read_card(card).name == name for card in shelf.glob("*/card.json"))
            known[name] = {**_compared(name, range(seeds), folder, bar), "status": "live" if live else "study"}
            result = record(path, _result(known))  # after each, so that an interruption loses none
    return result


def controlled_config(model: str, seed: int) -> TrainingConfig:
    """Return how a network is trained in the comparison: a linear head on a frozen backbone, or all of it from scratch."""
    spec = model_spec(model)
    frozen = "head" in spec.phases
    head = "linear" if frozen else spec.heads[0]
    return make_config("head" if frozen else "scratch", model, "controlled", head=head, seed=seed)


def runs_by_network(runs: Path) -> dict[str, Path]:
    """Return the folders of the finished comparison runs of seed 0, by network."""
    folders = {name: runs / "comparison" / controlled_config(name, 0).name for name in COMPARED}
    return {name: folder for name, folder in folders.items() if (folder / "metrics.json").exists()}


def _compared(name: str, seeds: range, folder: Path, bar: tqdm) -> dict:
    """Train a network with each seed, and return its row. The seeds share one cache of the frozen layers, then deleted."""
    configs = [controlled_config(name, seed) for seed in seeds]
    cache = folder / f".{name}-cache"  # an interrupted comparison finds it, and computes it once
    metrics = []
    for config in configs:
        bar.set_description(f"{name}, seed {config.seed}")
        phase = config.phases[-1].name
        options = f"--model {name} --phase {phase} --recipe controlled --head {config.head} --seed {config.seed}"
        with empty_boundary_cache(cache):
            metrics.append(Run(config, folder / config.name, command=f"python train.py {options}").complete())
        bar.update()
    shutil.rmtree(cache, ignore_errors=True)
    return _row(name, configs, [folder / config.name for config in configs], metrics)


def _row(name: str, configs: list[TrainingConfig], folders: list[Path], metrics: list[dict]) -> dict:
    """Return what is recorded of a network, from its finished runs; of one run alone where a mean would mean nothing."""
    first, phase = folders[0], configs[0].phases[-1].name
    card, curve = read_card(first / "card.json"), _validation_curve(first)
    right = np.stack([_right_answers(folder) for folder in folders])
    accuracies = [each["accuracy"] for each in metrics]
    return {
        "model": name,
        "phase": phase,
        "strategy": STRATEGIES[phase],
        "head": configs[0].head,
        "image_size": configs[0].image_size,
        "parameters": dict(card.parameters),
        "file_mb": round((first / ONNX_FILE).stat().st_size / 1e6, 2),
        "flops": count_flops(first / ONNX_FILE),
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracy_interval": list(bootstrap_interval(right)),
        "macro_f1": statistics.mean(each["macro"]["f1"] for each in metrics),
        "training_seconds": statistics.mean(each["seconds"][phase] for each in metrics),
        "frozen_seconds": metrics[0]["seconds"]["cache"],
        "cpu_seconds": metrics[0]["cpu_seconds"],
        "epochs_to_converge": _epochs_to_converge(curve),
        "curve": curve,
        "right": np.packbits(right[0]).tobytes().hex(),  # a bit a test image, for pairs of networks
        "runs": [{"seed": config.seed, **run_row(each)} for config, each in zip(configs, metrics, strict=True)],
        "hardware": card.hardware,
        "date": card.date,
    }


def _right_answers(run: Path) -> np.ndarray:
    """Return which test images a run gets right, (images,) bool."""
    with np.load(run / PREDICTIONS_FILE) as stored:
        return stored["test"].argmax(axis=1) == load_cifar10().y_test


def _validation_curve(run: Path) -> list[float]:
    """Return the validation accuracy of each epoch."""
    lines = (run / "history.csv").read_text().splitlines()
    column = lines[0].split(",").index("val_accuracy")
    return [float(line.split(",")[column]) for line in lines[1:]]


def _epochs_to_converge(curve: Sequence[float]) -> int:
    return next(epoch for epoch, value in enumerate(curve, start=1) if value >= max(curve) - CONVERGED)


def _result(rows: dict[str, dict]) -> dict:
    """Return the file's content: the budget, the networks by accuracy, and each pair of them compared by seed 0."""
    ranked = sorted(rows.values(), key=lambda row: -row["accuracy_mean"])
    right = {row["model"]: np.unpackbits(np.frombuffer(bytes.fromhex(row["right"]), np.uint8)) for row in ranked}
    pairs = [
        {"first": first, "second": second, **mcnemar(right[first], right[second])}
        for first, second in itertools.combinations(right, 2)
    ]
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    phase = controlled_config(COMPARED[0], 0).phases[-1]
    return {
        "budget": {
            "optimizer": phase.optimizer, "learning_rate": phase.learning_rate, "epochs": phase.epochs,
            "batch_size": phase.batch_size, "augmentation": "none", "validation_images": len(load_cifar10().x_train) // 10,
        },
        "models": ranked,
        "pairs": pairs,
    }  # fmt: skip
