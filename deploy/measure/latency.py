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
from tqdm import tqdm

from inference.classifier import Classifier, load_classifier
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


def same_ranking(before: Sequence[Mapping], after: Sequence[Mapping]) -> bool | None:
    """Return whether two measurements rank the models of both alike, by the median of one image; None where none is in both."""
    shared = {(row["model"], row["engine"]) for row in before} & {(row["model"], row["engine"]) for row in after}

    def ranked(rows: Sequence[Mapping], engine: str) -> list[str]:
        ordered = sorted(rows, key=lambda row: row["median_ms"])
        return [row["model"] for row in ordered if row["engine"] == engine and (row["model"], engine) in shared]

    return all(ranked(before, engine) == ranked(after, engine) for engine in ENGINES) if shared else None


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
        plain = Classifier(dataclasses.replace(shipped.card, fit="bilinear"), shipped.engine)
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
