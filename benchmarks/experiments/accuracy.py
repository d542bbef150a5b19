"""What test accuracy does each network reach by the recipe that suits it?

Command: python benchmark.py accuracy
Cost: about 670 minutes for all, 5 to 150 for one (finished runs are kept, unfinished ones are resumed)
Result: results/accuracy.json
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measures.training_runs import empty_activation_cache, run_origin, run_row
from benchmarks.results import merge, read, record
from models.saved.card import read_card
from training.config import make_config
from training.run import Run


@dataclass(frozen=True)
class Training:
    """A network and how it is trained.

    Attributes:
        model: name in the registry.
        options: other options of `train.py`, without the seed.
        published: test accuracy of comparable projects, 0..1.
    """

    model: str
    options: Mapping[str, Any]
    published: float | None = None

    def command(self, seed: int = 0) -> str:
        """Return the command line."""
        shown = {"model": self.model, **self.options} | ({"seed": seed} if seed else {})
        return "python train.py " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown.items())


TRAININGS = (
    Training("custom_cnn", {"epochs": 15, "augment": "flip"}),
    Training("custom_cnn", {"views": "robust"}),
    Training("custom_cnn_bn", {"epochs": 15, "augment": "flip,shift,rotate"}),
    Training("speedrun_cnn", {"recipe": "speedrun"}, published=0.8863),
    Training("speedrun_cnn", {"recipe": "speedrun", "views": "robust", "epochs": 24}, published=0.8863),
    Training("mobilenet_v2", {"recipe": "reference"}, published=0.92),
    Training("mobilenet_v2", {"recipe": "strong"}, published=0.92),
    Training("mobilenet_v2", {"recipe": "robust"}, published=0.92),
    Training("efficientnet_lite0", {"recipe": "strong"}, published=0.8375),
    Training("efficientnet_lite0", {"recipe": "robust"}, published=0.8375),
    Training("alexnet", {"recipe": "strong"}, published=0.8344),
    Training("vgg16", {"recipe": "strong"}),
    Training("vit_tiny", {"recipe": "vit"}, published=0.6230),
)


def add_arguments(parser) -> None:
    """Add the choice of runs."""
    names = dict.fromkeys(training.model for training in TRAININGS)
    parser.add_argument("--models", nargs="+", default=(), metavar="NAME", choices=names, help="default: all networks")
    parser.add_argument("--word", default="", metavar="WORD", help='only commands with this word, such as "robust"')
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED", help="seeds (default: 0)")


def run(options) -> dict:
    """Train the chosen networks and record their accuracy; rows of other commands and other hardware are kept."""
    trainings = [training for training in TRAININGS if not options.models or training.model in options.models]
    chosen = [training for training in trainings if not options.word or options.word in training.command().split()]
    if not chosen:
        commands = "; ".join(training.command() for training in trainings)
        raise ValueError(f"word must be a word of one of these commands: {commands}. Received: word={options.word!r}")
    path = options.results / "accuracy.json"
    rows = read(path).get("runs", [])
    for training in chosen:
        for seed in options.seeds:
            rows = merge(rows, _trained(training, seed, options.runs), "command", "hardware")
            rows.sort(key=lambda row: (row["model"], row["recipe"], row["command"], row["hardware"]))
            result = record(path, {"runs": rows})  # after each row: an interruption loses none
    return result


def _trained(training: Training, seed: int, runs: Path) -> dict:
    config = make_config(model=training.model, seed=seed, **training.options)
    changed = [f"{name}-{value}" for name, value in training.options.items() if name != "recipe"]
    folder = runs / "accuracy" / "-".join([config.name, *changed])
    with empty_activation_cache(cache := folder.with_name(f".{folder.name}-cache")):  # so times include frozen layers
        metrics = Run(config, folder, command=training.command(seed)).complete()
    shutil.rmtree(cache, ignore_errors=True)
    card, averaged = read_card(folder / "card.json"), metrics.get("tta", {})
    return {
        "model": training.model,
        "recipe": config.recipe,
        "seed": seed,
        "image_size": config.image_size,
        "parameters": dict(card.parameters),
        "published": training.published,
        **run_row(metrics),
        "accuracy_tta": averaged.get("accuracy"),
        "validation_accuracy_tta": averaged.get("validation_accuracy"),
        "command": card.command,
        **run_origin(folder),
    }
