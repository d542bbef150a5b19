"""The controlled comparison: how much a pretrained backbone helps when data, optimizer and epochs are the same for all."""

import contextlib
import itertools
import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.experiments.reference import empty_boundary_cache, record, run_origin, run_row
from benchmarks.measures.flops import count_flops
from benchmarks.measures.significance import bootstrap_interval, holm, mcnemar
from benchmarks.report.comparison_tables import timed_run
from models.registry import create_model, model_spec
from models.saved.calibration import Calibration
from models.saved.card import ONNX_FILE, read_card
from runtime.validation import require
from training.config import TrainingConfig, make_config
from training.data.cifar10 import CLASS_NAMES, load_cifar10
from training.export.onnx_export import export_served
from training.export.saved_model import PREDICTIONS_FILE, save_keras, write_card
from training.run import Run

PACKAGED = ("mobilenet_v2", "efficientnet_lite0", "alexnet", "vgg16")  # whose ImageNet weights a package carries
SCRATCH = ("custom_cnn", "custom_cnn_bn", "speedrun_cnn", "vit_tiny")
COMPARED = (*PACKAGED, *SCRATCH)
STRATEGIES = {"head": "frozen ImageNet backbone", "scratch": "from scratch"}
CONVERGED = 0.01  # an epoch has converged whose validation accuracy is this close to the run's best


def controlled(
    runs: Path,
    results: Path,
    models: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2),
    store: Path = Path("saved_models"),
) -> dict:
    """Train each network under the controlled budget, where that is not done yet, and compare them on the test images.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `comparison.json` goes; other networks and other seeds in it stay.
        models: names of networks in the registry; empty for `COMPARED`.
        seeds: of the runs of each.
        store: the folder of models that are served, which are "live".

    Raises:
        ValueError: if a name is not in the registry, there are no seeds, or the file holds runs of another budget.
    """
    wanted = models or COMPARED
    plans = {name: [controlled_config(name, seed) for seed in sorted(seeds)] for name in wanted}
    require(len(seeds) > 0, "at least one seed is needed", seeds=seeds)
    folder, path = runs / "comparison", results / "comparison.json"
    known = _known_rows(path)
    result: dict = {}
    every = [folder / config.name for configs in plans.values() for config in configs]
    finished = sum(map(_is_finished, every))  # no part of the time that is left
    with tqdm(total=len(every), initial=finished, unit=" runs", desc="comparison") as bar:
        for name, configs in plans.items():
            known[name] = _compared(name, configs, folder, bar, known.get(name, {}).get("runs", ()))
            served = {read_card(card).name for card in store.glob("*/card.json")}
            for row in known.values():
                row["status"] = "live" if row["model"] in served else "study"
            result = record(path, _result(known))  # after each, so that an interruption loses none
    return result


def controlled_config(model: str, seed: int) -> TrainingConfig:
    """Return how a network is trained in the comparison: a linear head on a frozen backbone, or all of it from scratch."""
    spec = model_spec(model)
    frozen = "head" in spec.phases
    head = "linear" if frozen else spec.heads[0]
    return make_config("head" if frozen else "scratch", model, "controlled", head=head, seed=seed)


def save_untrained(name: str, folder: Path) -> Path:
    """Save a network of the comparison with random weights, for what does not depend on them, and return its folder."""
    config = controlled_config(name, 0)
    model = create_model(name, classes=len(CLASS_NAMES), weights=None, head=config.head, image_size=config.image_size)
    images = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")
    save_keras(model, folder / "model.keras")
    export_served(model, folder / ONNX_FILE, images)
    write_card(
        folder,
        model,
        name=name,
        version="0",
        labels=CLASS_NAMES,
        resize_mode="bilinear",
        calibration=Calibration(),
        test_accuracy=0,
        val_accuracy=0,
        command="",
        recipe="none",
        seed=0,
        weights="none",
        data="none",
        seconds=0,
    )
    return folder


def _known_rows(path: Path) -> dict[str, dict]:
    """Return the rows that the result file holds already, by network.

    Raises:
        ValueError: if they are of another budget.
    """
    if not path.exists():
        return {}
    stored = json.loads(path.read_text())
    if stored["budget"] != _budget():
        raise ValueError(f"{path} holds runs of another budget: move it away first. Received: {stored['budget']}")
    return {row["model"]: row for row in stored["models"]}


def _is_finished(run: Path) -> bool:
    return (run / "metrics.json").exists()


def _compared(name: str, configs: Sequence[TrainingConfig], folder: Path, bar: tqdm, known: Sequence[dict]) -> dict:
    """Train a network with each seed, and return its row. The seeds share one cache of the frozen layers, then deleted."""
    cache = folder / f".{name}-cache"  # an interrupted comparison finds it, and computes it once
    runs = {run["seed"]: run for run in known}
    unfinished = [config for config in configs if not _is_finished(folder / config.name)]
    with empty_boundary_cache(cache) if unfinished else contextlib.nullcontext():
        for config in configs:
            bar.set_description(f"{name}, seed {config.seed}")
            phase = config.phases[-1].name
            options = f"--model {name} --phase {phase} --recipe controlled --head {config.head} --seed {config.seed}"
            run = folder / config.name
            metrics = Run(config, run, command=f"python train.py {options}").complete()
            runs[config.seed] = {
                "seed": config.seed,
                **run_row(metrics),
                "curve": _validation_curve(run),
                "test_images": len(right := _right_answers(run)),
                "right": np.packbits(right).tobytes().hex(),  # a bit a test image
                **run_origin(run),
            }
            bar.update(config in unfinished)
    shutil.rmtree(cache, ignore_errors=True)
    return _row(name, configs[-1], folder / configs[-1].name, [runs[seed] for seed in sorted(runs)])


def _row(name: str, config: TrainingConfig, folder: Path, runs: Sequence[dict]) -> dict:
    """Return what is recorded of a network: from the folder of any run what they share, from the runs what they reached.

    Times and CPU seconds are those of `comparison_tables.timed_run`.
    """
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
    """Return which test images a recorded run got right, (images,) 0 or 1."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(run["right"]), np.uint8), count=run["test_images"])


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
    """Return the file's content: the budget, the networks by accuracy, and each pair of them compared by the first seed."""
    ranked = sorted(rows.values(), key=lambda row: -row["accuracy_mean"])
    right = {row["model"]: _unpacked(row["runs"][0]) for row in ranked}
    pairs = [
        {"first": first, "second": second, **mcnemar(right[first], right[second])}
        for first, second in itertools.combinations(right, 2)
    ]
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    return {"budget": _budget(), "models": ranked, "pairs": pairs}


def _budget() -> dict:
    config = controlled_config(COMPARED[0], 0)
    phase = config.phases[-1]
    return {
        "optimizer": phase.optimizer,
        "learning_rate": phase.learning_rate,
        "epochs": phase.epochs,
        "batch_size": phase.batch_size,
        "augmentation": ", ".join(config.augment) or "none",
    }
