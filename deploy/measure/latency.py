"""How long an answer takes on this machine's CPU, model beside model."""

import itertools
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from inference.engines import Engine, open_engine
from models.card import read_card

ENGINES = ("onnxruntime", "keras")
BATCH = 32


def measure_latency(folders: Mapping[str, Path], rounds: int = 10, singles: int = 20) -> list[dict]:
    """Time every model under onnxruntime and under Keras (`predict_on_batch`), on all cores.

    The models take turns, round after round, so that what disturbs the machine disturbs all of them alike.

    Args:
        folders: folders of saved models, by the name that their row gets.
        rounds: how often each model has its turn.
        singles: images that are answered one by one in a turn; then comes one batch of 32.

    Returns:
        A row a model and engine: `model`, `engine`, `input_size`, of one image `median_ms` and `p95_ms`, of a batch
        `images_per_second` (the median over rounds).
    """
    images = np.random.default_rng(0)
    turns = list(itertools.product(folders, ENGINES))
    engines, inputs = {}, {}
    for name, engine in tqdm(turns, desc="open", unit=" models", disable=None):
        card = read_card(folders[name] / "card.json")
        engines[name, engine] = open_engine(folders[name], card, engine)
        inputs[name] = images.uniform(0, 255, (BATCH, card.input_size, card.input_size, 3)).astype("float32")
        for count in (1, BATCH):  # compile, allocate
            engines[name, engine].outputs(inputs[name][:count])
    single, batch = {turn: [] for turn in turns}, {turn: [] for turn in turns}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for turn in turns:
            one = inputs[turn[0]][:1]
            single[turn] += [_seconds(engines[turn], one) for _ in range(singles)]
            batch[turn].append(_seconds(engines[turn], inputs[turn[0]]))
    return [
        {
            "model": name,
            "engine": engine,
            "input_size": inputs[name].shape[1],
            "median_ms": round(1000 * statistics.median(single[name, engine]), 3),
            "p95_ms": round(1000 * float(np.percentile(single[name, engine], 95)), 3),
            "images_per_second": round(BATCH / statistics.median(batch[name, engine]), 1),
        }
        for name, engine in turns
    ]


def _seconds(engine: Engine, images: np.ndarray) -> float:
    started = time.perf_counter()
    engine.outputs(images)
    return time.perf_counter() - started
