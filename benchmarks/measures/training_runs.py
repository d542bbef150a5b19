"""What training experiments share: an empty activation cache, and the row of a finished run."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from models.registry import create_model
from models.saved.card import read_card
from runtime.files import cache_folder
from training.data.cifar10 import load_cifar10


@contextlib.contextmanager
def empty_activation_cache(folder: Path) -> Iterator[None]:
    """Point THAW_CACHE into `folder`, with a copy of the data sets and weights but without activations.

    The activations of an interrupted use of the same folder are kept.
    """
    load_cifar10()
    create_model("mobilenet_v2")  # downloads the weights
    hidden = shutil.ignore_patterns(".*")
    for name in ("datasets", "weights"):
        shutil.copytree(cache_folder() / name, folder / "cache" / name, ignore=hidden, dirs_exist_ok=True)
    before = os.environ.get("THAW_CACHE")
    os.environ["THAW_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        del os.environ["THAW_CACHE"]
        if before is not None:
            os.environ["THAW_CACHE"] = before


def run_row(metrics: dict) -> dict:
    """Return the part of a run's `metrics.json` that goes into a result."""
    row = {name: metrics[name] for name in ("accuracy", "validation_accuracy", "epochs", "seconds", "cpu_seconds")}
    return {**row, "macro_f1": metrics["macro"]["f1"]}


def run_origin(run: Path) -> dict[str, str | None]:
    """Return `hardware`, `git_commit` and `date` of a finished run."""
    card = read_card(run / "card.json")
    commit = json.loads((run / "config.json").read_text())["provenance"]["git_commit"]
    return {"hardware": card.hardware, "git_commit": commit, "date": card.date}
