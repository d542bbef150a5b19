"""How long does one prediction of each network take on this machine, in ONNX Runtime and in Keras?

Command: python benchmark.py latency
Cost: 5 minutes
Result: results/latency.json
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from benchmarks.experiments.comparison import COMPARED, controlled_config
from benchmarks.results import record
from inference.engines import Engine, open_engine
from models.registry import create_model
from models.saved.calibration import Calibration
from models.saved.card import ONNX_FILE, read_card
from runtime.progress import ProgressBar
from training.data.cifar10 import CLASS_NAMES
from training.export.onnx_export import export_served
from training.export.saved_model import save_keras, write_card

ENGINES = ("onnxruntime", "keras")
BATCH = 32
SIGNIFICANT = 0.01


def add_arguments(parser) -> None:
    """Add the number of rounds."""
    parser.add_argument(
        "--rounds", type=int, default=60, metavar="N", help="rounds, one turn of each network (default: 60)"
    )


def run(options) -> dict:
    """Time the networks of the controlled comparison, with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_latency({name: save_untrained(name, Path(folder, name)) for name in COMPARED}, options.rounds)
    return record(options.results / "latency.json", {"runs": rows, "ties": ties(rows)})


def save_untrained(name: str, folder: Path) -> Path:
    """Save a network of the controlled comparison with random weights, and return its folder."""
    config = controlled_config(name, 0)
    model = create_model(name, classes=len(CLASS_NAMES), weights=None, head=config.head, image_size=config.image_size)
    images = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")
    save_keras(model, folder / "model.keras")
    export_served(model, folder / ONNX_FILE, images)
    facts = {"version": "0", "labels": CLASS_NAMES, "resize_mode": "bilinear", "calibration": Calibration()}
    facts |= dict.fromkeys(("test_accuracy", "val_accuracy", "seed", "seconds"), 0)
    write_card(folder, model, name=name, command="", recipe="none", weights="none", data="none", **facts)
    return folder


def measure_latency(folders: Mapping[str, Path], rounds: int, singles: int = 10) -> list[dict]:
    """Time every model in ONNX Runtime and in Keras (`predict_on_batch`), on all cores.

    The models take turns, so that other load on the machine affects all alike.

    Args:
        folders: folders of saved models, by the name of their row.
        rounds: turns of each model.
        singles: single images in a turn, before one batch of 32.

    Returns:
        A row for each model and engine: `model`, `engine`, `input_size`; of one image `median_ms`, `p95_ms` and `rounds_ms`,
        the median of each round; of a batch `images_per_second`, the median over rounds.
    """
    random = np.random.default_rng(0)
    turns = list(itertools.product(folders, ENGINES))
    engines, inputs = {}, {}
    for name, engine in turns:
        card = read_card(folders[name] / "card.json")
        engines[name, engine] = open_engine(folders[name], card, engine)
        inputs[name] = random.uniform(0, 255, (BATCH, card.input_size, card.input_size, 3)).astype("float32")
        for count in (1, BATCH):  # compile, allocate
            engines[name, engine].outputs(inputs[name][:count])
    single, batch = {turn: [] for turn in turns}, {turn: [] for turn in turns}
    for _ in ProgressBar(range(rounds), desc="latency", unit=" rounds"):
        for turn in turns:
            images = inputs[turn[0]]
            single[turn].append([_seconds(engines[turn], images[:1]) for _ in range(singles)])
            batch[turn].append(_seconds(engines[turn], images))
    return [
        {
            "model": name,
            "engine": engine,
            "input_size": inputs[name].shape[1],
            "median_ms": round(1000 * float(np.median(single[name, engine])), 3),
            "p95_ms": round(1000 * float(np.percentile(single[name, engine], 95)), 3),
            "rounds_ms": [round(1000 * statistics.median(each), 3) for each in single[name, engine]],
            "images_per_second": round(BATCH / statistics.median(batch[name, engine]), 1),
        }
        for name, engine in turns
    ]


def ties(rows: Sequence[Mapping]) -> list[tuple[str, str, str]]:
    """Return (engine, model, model) of all pairs without a significant difference by the sign test over rounds, at 1 %."""
    found = []
    for one, other in itertools.combinations(rows, 2):
        if one["engine"] == other["engine"]:
            times, others = np.array(one["rounds_ms"]), np.array(other["rounds_ms"])
            faster = max((times < others).sum(), (others < times).sum())
            if binomtest(int(faster), len(times), alternative="greater").pvalue >= SIGNIFICANT / 2:  # two-sided
                found.append((one["engine"], one["model"], other["model"]))
    return found


def _seconds(engine: Engine, images: np.ndarray) -> float:
    started = time.perf_counter()
    engine.outputs(images)
    return time.perf_counter() - started
