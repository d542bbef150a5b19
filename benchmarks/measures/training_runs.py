"""What experiments that train share: an empty activation cache, and what a result keeps of a finished run."""

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
    """Point THAW_CACHE into `folder`, with the data and weights of the present cache but no activations.

    Activations that an interrupted use of the same folder left there are found again.
    """
    load_cifar10()
    create_model("mobilenet_v2")  # so that the weights are in the present cache
    present = cache_folder()
    for name in ("datasets", "weights"):
        hidden = shutil.ignore_patterns(".*")
        shutil.copytree(present / name, folder / "cache" / name, ignore=hidden, dirs_exist_ok=True)
    before = os.environ.get("THAW_CACHE")
    os.environ["THAW_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        del os.environ["THAW_CACHE"]
        if before is not None:
            os.environ["THAW_CACHE"] = before


def run_row(metrics: dict) -> dict:
    """Return what a result keeps of a run's `metrics.json`."""
    row = {name: metrics[name] for name in ("accuracy", "validation_accuracy", "epochs", "seconds", "cpu_seconds")}
    return {**row, "macro_f1": metrics["macro"]["f1"]}


def run_origin(run: Path) -> dict[str, str | None]:
    """Return `hardware`, `git_commit` and `date` of a finished run."""
    card = read_card(run / "card.json")
    commit = json.loads((run / "config.json").read_text())["provenance"]["git_commit"]
    return {"hardware": card.hardware, "git_commit": commit, "date": card.date}
