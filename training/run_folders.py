"""The folders of runs: names for new ones, and finding one to resume or to start from."""

import contextlib
import dataclasses
from pathlib import Path

from models.registry import model_spec
from training.config import TrainingConfig


def new_folder(config: TrainingConfig, root: Path) -> Path:
    """Return a new folder in `root`, named after the config, with a number if the name is taken."""
    folder, number = root / config.name, 2
    while folder.exists():
        folder, number = root / f"{config.name}-{number}", number + 1
    return folder


def unfinished_run(root: Path) -> Path:
    """Return the run in `root` that was interrupted last; raise FileNotFoundError if there is none."""
    waiting = [path.parent for path in root.glob("*/checkpoint.npz") if not (path.parent / "metrics.json").exists()]
    if not waiting:
        raise FileNotFoundError(f"There is no unfinished run in {root} to resume. Start one without --resume.")
    return max(waiting, key=lambda folder: (folder / "checkpoint.npz").stat().st_mtime)


def finished_head(config: TrainingConfig, root: Path) -> Path | None:
    """Return a finished run of only phase "head" that fits `config`, or None.

    A run from a weight file is never reused, because the file may have changed.
    """
    packaged = config.weights in (None, *model_spec(config.model).weights)
    if len(config.phases) < 2 or config.precision != "float32" or not packaged or config.average_with:
        return None
    wanted = _comparable(config.head_start())
    for metrics in sorted(root.glob("*/metrics.json")):
        with contextlib.suppress(ValueError, OSError):
            same = _comparable(TrainingConfig.load(metrics.parent / "config.json")) == wanted
            if same and (metrics.parent / "model.keras").exists():
                return metrics.parent
    return None


def _comparable(config: TrainingConfig) -> TrainingConfig:
    # The cache changes the duration of a run, not its weights; `unfreeze` does not affect phase "head".
    return dataclasses.replace(config, cache=True, cache_dtype="float16", unfreeze=0)
