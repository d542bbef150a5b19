"""What do the resize mode of uploads and the OOD detector add to the time of a prediction?

Command: python benchmark.py upload_cost
Cost: 3 minutes
Result: results/upload_cost.json
"""

import dataclasses
import io
import statistics
import time
from pathlib import Path

from PIL import Image

from benchmarks.data.photographs import EXAMPLE
from benchmarks.results import record
from inference.classifier import Classifier, load_classifier
from inference.model_store import SAVED_MODELS
from runtime.progress import ProgressBar


def add_arguments(parser) -> None:
    """Add the number of repeats."""
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="of each upload (default: 200)")


def run(options, store: Path = SAVED_MODELS, photograph: Path = EXAMPLE) -> dict:
    """Time predictions for encoded images, in turns: as shipped, and with resize mode "bilinear" and no OOD detector."""
    with Image.open(photograph) as opened:
        image = opened.convert("RGB")
    uploads = {
        "32×32 PNG": _encoded(image.resize((32, 32)), "PNG"),
        "1024×768 JPEG": _encoded(image.resize((1024, 768)), "JPEG"),
    }
    rows, folders = [], sorted(card.parent for card in store.glob("*/card.json"))
    for folder in ProgressBar(folders, desc="uploads", unit=" models"):
        shipped = load_classifier(folder)
        plain = Classifier(dataclasses.replace(shipped.card, resize_mode="bilinear"), shipped.engine)
        for kind, data in uploads.items():
            times: dict[str, list[float]] = {"plain_ms": [], "shipped_ms": []}
            for _ in range(options.rounds):
                for way, classifier in (("plain_ms", plain), ("shipped_ms", shipped)):
                    started = time.perf_counter()
                    classifier.classify(data)
                    times[way].append(1000 * (time.perf_counter() - started))
            medians = {way: round(statistics.median(each), 3) for way, each in times.items()}
            rows.append({"model": folder.name, "image": kind, **medians})
    return record(options.results / "upload_cost.json", {"runs": rows})


def _encoded(image: Image.Image, name: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name)
    return buffer.getvalue()
