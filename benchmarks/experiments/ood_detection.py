"""How well do the shipped OOD detectors separate the ten classes from other images, and how many images do they flag?

Command: python benchmark.py ood_detection --cifar100 --tiny-imagenet COPY --dtd COPY
Cost: about 5 minutes for all models
Result: results/ood_detection.json
"""

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks.data.ood_datasets import SOURCES, ood_datasets
from benchmarks.data.photographs import HALVES, photographs
from benchmarks.measures.conditions import CLEAN
from benchmarks.results import origin, read, record
from inference.classifier import Classifier, load_classifier
from inference.model_store import SAVED_MODELS
from models.saved.card import CARD_FILE, ONNX_FILE, OOD_FILE, default_model, read_card
from models.saved.ood import OOD_THRESHOLD
from runtime.progress import ProgressBar
from runtime.validation import require
from training.data.cifar10 import load_cifar10
from training.data.transforms import find_corruption

TEST_IMAGES = 2000  # the first ones of the test set
UPLOADS = 500  # of these, under each corruption
CONDITIONS = (CLEAN, "jpeg_30", "jpeg_10", "bicubic_16", "bicubic_224+jpeg_90", "stretch_1.5", "screenshot_0.25")
DETECTOR = "as shipped"  # key of its scores in the result file
BATCH = 64


def add_arguments(parser) -> None:
    """Add the models and further data sets."""
    parser.add_argument("--models", nargs="+", default=(), metavar="NAME", help="shipped models (default: all)")
    parser.add_argument("--dtd", type=Path, metavar="COPY", help="the unpacked Describable Textures Dataset")
    parser.add_argument("--tiny-imagenet", type=Path, metavar="COPY", help="the unpacked folder tiny-imagenet-200")
    parser.add_argument("--cifar100", action="store_true", help="CIFAR-100, which Keras downloads (170 MB)")


def run(options, store: Path = SAVED_MODELS) -> dict:
    """Measure the detectors on half "report" of every data set; rows of other models in the file are kept.

    Corrupted test images show how many are flagged, and the accuracy on these and on the rest.

    Raises:
        ValueError: a model has no OOD detector, or the file has rows that were measured on other data sets.
    """
    models = options.models or [path.parent.name for path in sorted(store.glob(f"*/{OOD_FILE}"))]
    classifiers = {name: load_classifier(store / name) for name in models}
    without = [name for name, classifier in classifiers.items() if classifier.ood_detector is None]
    require(not without, "every model needs an OOD detector", without=without)
    photographs()  # downloads them before the long work
    sets = {half: ood_datasets(half, options.dtd, options.cifar100, options.tiny_imagenet) for half in HALVES}
    described = {
        name: {
            **{half: len(sets[half][name]) for half in HALVES},
            "source": SOURCES.get(name, ""),
            "sha256": _digest(sets[half][name] for half in HALVES),
        }
        for name in sets["report"]
    }
    setting = {"test_images": TEST_IMAGES, "upload_images": UPLOADS, "unlike": OOD_THRESHOLD, "sets": described}
    path = options.results / "ood_detection.json"
    result = read(path, setting)
    for name, classifier in ProgressBar(classifiers.items(), desc="OOD detection", unit=" models"):
        rows = {**result.get("models", {}), name: origin() | _measured(classifier, sets["report"])}
        default = default_model({each: read_card(store / each / CARD_FILE) for each in sorted(rows)})
        result = record(
            path, {**setting, "default": default, "models": rows}
        )  # after each row: an interruption loses none
    return result


def _digest(halves: Iterable[Sequence[Image.Image | Path]]) -> str:
    """Return the SHA-256 of a data set: of the bytes of files, of the pixels of images."""
    digest = hashlib.sha256()
    for image in itertools.chain.from_iterable(halves):
        digest.update(image.read_bytes() if isinstance(image, Path) else image.tobytes())
    return digest.hexdigest()


def _measured(classifier: Classifier, sets: Mapping[str, Sequence]) -> dict:
    dataset, detector = load_cifar10(), classifier.ood_detector
    own = [each.path for each in photographs("report")]
    in_distribution = {"of the ten classes": list(dataset.x_test[:TEST_IMAGES]), "photographs": own}
    features = {name: features_of(classifier, images)[1] for name, images in {**in_distribution, **sets}.items()}
    scores = {name: detector.scores(each) for name, each in features.items()}

    def areas(inside: str) -> dict:
        return {DETECTOR: {"report": {name: auroc(scores[inside], scores[name]) for name in sets}}}

    def corrupted(name: str) -> list[Image.Image]:
        return images if name == CLEAN else list(map(find_corruption(name), images))

    images = [Image.fromarray(image) for image in dataset.x_test[:UPLOADS]]
    labels = [dataset.class_names[label] for label in dataset.y_test[:UPLOADS]]
    return {
        "sha256": classifier.card.sha256[ONNX_FILE],
        "scores": areas("of the ten classes"),
        "scores_of_photographs": areas("photographs"),
        "unlike": {name: float(_flagged(classifier, each).mean()) for name, each in features.items()},
        "uploads": {name: _flagged_uploads(classifier, corrupted(name), labels) for name in CONDITIONS},
    }


def features_of(classifier: Classifier, images: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (n, classes) and averaged features (n, C) of uploads."""
    found = []
    for start in range(0, len(images), BATCH):
        pixels = np.stack([classifier.preprocess(image).pixels for image in images[start : start + BATCH]])
        probabilities, features, _ = classifier.engine.outputs(pixels)
        found.append((probabilities, features.mean(axis=(1, 2))))
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def auroc(in_distribution: np.ndarray, out_of_distribution: np.ndarray) -> float:
    """Return the probability that an in-distribution image has the higher score: 0.5 by chance, 1 at best."""
    truth = np.repeat([1, 0], [len(in_distribution), len(out_of_distribution)])
    return float(roc_auc_score(truth, np.concatenate([in_distribution, out_of_distribution])))


def _flagged(classifier: Classifier, features: np.ndarray) -> np.ndarray:
    return classifier.ood_detector.in_distribution(features) < OOD_THRESHOLD


def _flagged_uploads(classifier: Classifier, images: Sequence, labels: Sequence[str]) -> dict[str, float | None]:
    probabilities, features = features_of(classifier, images)
    flagged = _flagged(classifier, features)
    correct = np.array(classifier.card.labels)[probabilities.argmax(axis=1)] == np.array(labels)

    def share(which: np.ndarray) -> float | None:
        return float(correct[which].mean()) if which.any() else None

    accuracies = {"accuracy_of_unlike": share(flagged), "accuracy_of_others": share(~flagged)}
    return {"unlike": float(flagged.mean()), **accuracies}
