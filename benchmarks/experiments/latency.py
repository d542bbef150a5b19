"""How long an answer takes on this machine's CPU, model beside model."""

import dataclasses
import io
import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binomtest
from tqdm import tqdm

from inference.classifier import Classifier, load_classifier
from inference.engines import Engine, open_engine
from models.saved.card import read_card

ENGINES = ("onnxruntime", "keras")
BATCH = 32
SIGNIFICANT = 0.01


def measure_latency(folders: Mapping[str, Path], rounds: int = 60, singles: int = 10) -> list[dict]:
    """Time every model under onnxruntime and under Keras (`predict_on_batch`), on all cores.

    The models take turns, round after round, so that what disturbs the machine disturbs all of them alike.

    Args:
        folders: folders of saved models, by the name that their row gets.
        rounds: how often each model has its turn.
        singles: images that are answered one by one in a turn; then comes one batch of 32.

    Returns:
        A row a model and engine: `model`, `engine`, `input_size`, of one image `median_ms`, `p95_ms` and `rounds_ms`, the
        median of each round, of a batch `images_per_second` (the median over rounds).
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

    def by_round(times: list[float]) -> np.ndarray:
        return np.reshape(times, (rounds, singles))

    return [
        {
            "model": name,
            "engine": engine,
            "input_size": inputs[name].shape[1],
            "median_ms": round(1000 * statistics.median(single[name, engine]), 3),
            "p95_ms": round(1000 * float(np.percentile(single[name, engine], 95)), 3),
            "rounds_ms": [round(1000 * float(each), 3) for each in np.median(by_round(single[name, engine]), axis=1)],
            "images_per_second": round(BATCH / statistics.median(batch[name, engine]), 1),
        }
        for name, engine in turns
    ]


def quicker(rows: Sequence[Mapping]) -> set[tuple[str, str, str]]:
    """Return (engine, one model, a slower one) for all that a measurement tells apart.

    Two models are told apart where one is quicker in so many of the rounds, in which they took turns, that chance does that
    less than once in a hundred times (sign test).
    """
    found = set()
    for one, other in itertools.permutations(rows, 2):
        if one["engine"] == other["engine"]:
            ahead = int(np.sum(np.less(one["rounds_ms"], other["rounds_ms"])))
            if binomtest(ahead, len(one["rounds_ms"]), alternative="greater").pvalue < SIGNIFICANT / 2:
                found.add((one["engine"], one["model"], other["model"]))
    return found


def ties(rows: Sequence[Mapping]) -> list[tuple[str, str, str]]:
    """Return (engine, one model, another one) for all that a measurement does not tell apart."""
    told = {(engine, frozenset(pair)) for engine, *pair in quicker(rows)}
    pairs = [
        (one["engine"], one["model"], other["model"])
        for one, other in itertools.combinations(rows, 2)
        if one["engine"] == other["engine"]
    ]
    return [(engine, *pair) for engine, *pair in pairs if (engine, frozenset(pair)) not in told]


def same_ranking(before: Sequence[Mapping], after: Sequence[Mapping]) -> bool | None:
    """Return whether no two models changed places that both measurements tell apart; None where nothing is in both."""
    if not {(row["model"], row["engine"]) for row in before} & {(row["model"], row["engine"]) for row in after}:
        return None
    return not quicker(before) & {(engine, slower, model) for engine, model, slower in quicker(after)}


def measure_uploads(folders: Mapping[str, Path], photograph: Path, rounds: int = 200) -> list[dict]:
    """Time answers to uploads, from the file's bytes on, as the models ship and the plain way, in turns.

    Plain is the fit "bilinear" and no look at whether the picture is unlike the training images.

    Args:
        folders: folders of saved models, by the name that their rows get.
        photograph: an image file; it is asked at 1024×768 as a JPEG, and at 32×32 as a PNG.
        rounds: how often each is asked each way.

    Returns:
        A row a model and image: `model`, `image`, the medians `plain_ms` and `shipped_ms`.
    """
    with Image.open(photograph) as opened:
        image = opened.convert("RGB")
    uploads = {
        "32×32 PNG": _encoded(image.resize((32, 32)), "PNG"),
        "1024×768 JPEG": _encoded(image.resize((1024, 768)), "JPEG"),
    }
    rows = []
    for name, folder in tqdm(folders.items(), desc="models", disable=None):
        shipped = load_classifier(folder)
        plain = Classifier(dataclasses.replace(shipped.card, resize_mode="bilinear"), shipped.engine)
        for kind, data in uploads.items():
            times: dict[str, list[float]] = {"plain_ms": [], "shipped_ms": []}
            for _ in range(rounds):
                for way, classifier in (("plain_ms", plain), ("shipped_ms", shipped)):
                    started = time.perf_counter()
                    classifier.classify(data)
                    times[way].append(1000 * (time.perf_counter() - started))
            rows.append(
                {
                    "model": name,
                    "image": kind,
                    **{way: round(statistics.median(each), 3) for way, each in times.items()},
                }
            )
    return rows


def _encoded(image: Image.Image, name: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name)
    return buffer.getvalue()


def _seconds(engine: Engine, images: np.ndarray) -> float:
    started = time.perf_counter()
    engine.outputs(images)
    return time.perf_counter() - started
