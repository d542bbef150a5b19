"""What test accuracy does each network reach by the recipe that suits it?

Command: python benchmark.py accuracy
Cost: about 670 minutes for all, 5 to 150 for one (finished runs are kept)
Result: results/accuracy.json
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measures.training_runs import empty_activation_cache, run_origin, run_row
from benchmarks.results import merge, read, record
from models.saved.card import read_card
from training.config import make_config
from training.run import Run


@dataclass(frozen=True)
class Goal:
    """A network, how it is trained, and the test accuracy that it should reach.

    Attributes:
        model: its name in the registry.
        options: of `train.py`, besides model and seed.
        published: test accuracy that comparable projects report, 0..1, if any.
        target: test accuracy to reach, 0..1, if any.
        minutes: upper limit of the whole training time, if any.
    """

    model: str
    options: Mapping[str, Any]
    published: float | None = None
    target: float | None = None
    minutes: float | None = None

    def command(self, seed: int = 0) -> str:
        """Return the command line that trains it."""
        shown = {"model": self.model, **self.options} | ({"seed": seed} if seed else {})
        return "python train.py " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown.items())


GOALS = (
    Goal("custom_cnn", {"epochs": 15, "augment": "flip"}),
    Goal("custom_cnn", {"views": "robust"}),
    Goal("custom_cnn_bn", {"epochs": 15, "augment": "flip,shift,rotate"}),
    Goal("speedrun_cnn", {"recipe": "speedrun"}, published=0.8863, target=0.938, minutes=45),
    Goal("speedrun_cnn", {"recipe": "speedrun", "views": "robust", "epochs": 24}, published=0.8863),
    Goal("mobilenet_v2", {"recipe": "reference"}, published=0.92),
    Goal("mobilenet_v2", {"recipe": "strong"}, published=0.92, target=0.955, minutes=60),
    Goal("mobilenet_v2", {"recipe": "robust"}, published=0.92),
    Goal("efficientnet_lite0", {"recipe": "strong"}, published=0.8375, target=0.955),
    Goal("efficientnet_lite0", {"recipe": "robust"}, published=0.8375),
    Goal("alexnet", {"recipe": "strong"}, published=0.8344, target=0.89),
    Goal("vgg16", {"recipe": "strong"}, target=0.91),
    Goal("vit_tiny", {"recipe": "vit"}, published=0.6230, target=0.82),
)


def add_arguments(parser) -> None:
    """Add the choice of runs."""
    names = dict.fromkeys(goal.model for goal in GOALS)
    parser.add_argument(
        "--models", nargs="+", default=(), metavar="NAME", choices=names, help="networks (default: all)"
    )
    parser.add_argument(
        "--word", default="", metavar="WORD", help='run only the commands that hold this word, such as "robust"'
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED", help="seeds (default: 0)")


def run(options) -> dict:
    """Measure the chosen goals."""
    return accuracy(options.runs, options.results, options.models, options.seeds, options.word)


def accuracy(
    runs: Path, results: Path, models: Sequence[str] = (), seeds: Sequence[int] = (0,), word: str = ""
) -> dict:
    """Train each network, unless that run is finished already, and record what it reaches.

    Args:
        runs: the folder of runs; unfinished ones are resumed.
        results: the folder of the result file; rows of other commands and other hardware in it stay.
        models: names of networks; empty for all of `GOALS`.
        seeds: of the runs of each, at least one.
        word: only commands that hold this word are run.

    Raises:
        ValueError: if no command of these models holds the word.
    """
    goals = [goal for goal in GOALS if not models or goal.model in models]
    chosen = [goal for goal in goals if not word or word in goal.command().split()]
    if not chosen:
        commands = "; ".join(goal.command() for goal in goals)
        raise ValueError(f"word must be a word of one of these commands: {commands}. Received: word={word!r}")
    path = results / "accuracy.json"
    rows = read(path).get("runs", [])
    for goal in chosen:
        for seed in seeds:
            rows = merge(rows, _reached(goal, seed, runs), "command", "hardware")
            rows.sort(key=lambda row: (row["model"], row["recipe"], row["command"], row["hardware"]))
            result = record(path, {"runs": rows})  # after each, so that an interruption loses none
    return result


def _reached(goal: Goal, seed: int, runs: Path) -> dict:
    config = make_config(model=goal.model, seed=seed, **goal.options)
    changed = [f"{name}-{value}" for name, value in goal.options.items() if name != "recipe"]
    folder = runs / "accuracy" / "-".join([config.name, *changed])
    with empty_activation_cache(cache := folder.with_name(f".{folder.name}-cache")):  # its time includes frozen layers
        metrics = Run(config, folder, command=goal.command(seed)).complete()
    shutil.rmtree(cache, ignore_errors=True)
    card, averaged = read_card(folder / "card.json"), metrics.get("tta", {})
    return {
        "model": goal.model,
        "recipe": config.recipe,
        "seed": seed,
        "image_size": config.image_size,
        "parameters": dict(card.parameters),
        "published": goal.published,
        "target": goal.target,
        "minutes": goal.minutes,
        **run_row(metrics),
        "accuracy_tta": averaged.get("accuracy"),
        "validation_accuracy_tta": averaged.get("validation_accuracy"),
        "command": card.command,
        **run_origin(folder),
    }
