"""Which score tells pictures of something else from pictures of the ten classes, and how well what ships does."""

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.data.ood_datasets import outside_sets, source_of
from benchmarks.data.photographs import HALVES, photographs
from benchmarks.experiments.reference import origin, record
from benchmarks.experiments.uploads import CLEAN
from benchmarks.measures.ood_scores import SCORES, SHIPPED, WITHOUT_LOGITS, Learned, auroc
from models.saved.card import CARD_FILE, ONNX_FILE, OOD_FILE, default_model, read_card
from models.saved.onnx_model import OnnxModel
from models.saved.ood import OOD_THRESHOLD, read_ood_detector
from training.data.cifar10 import load_cifar10
from training.data.dataset import spread
from training.data.views import find_corruption
from training.export.ood import BATCH, averaged_maps, fit_ood_detector, pooled_features
from training.export.saved_model import load_saved

log = logging.getLogger(__name__)

Upload = Image.Image | Path | np.ndarray


class Answering(Protocol):
    """What answers uploads; `inference.classifier.Classifier` is one."""

    def view(self, source: Upload) -> Any:
        """Return what the model sees, with `pixels`: (S, S, 3) float32 in 0..255."""

    def classify(self, source: list[Upload]) -> list[Any]:
        """Return the answers, each with `top`, pairs of label and probability, and `in_distribution`."""


LEARNED = 10_000  # training images that the scores know; what ships keeps fewer
TESTED = 2000  # test images, the first ones
UPLOADED = 500  # of these, in each of
CONDITIONS = (CLEAN, "jpeg_30", "jpeg_10", "bicubic_16", "bicubic_224+jpeg_90", "stretch_1.5", "screenshot_0.25")
# Kept sizes that are tried beside the one that ships: (images, directions, neighbours).
SIZES = (
    (10_000, 128, 10),
    (2000, 128, 10),
    (2000, 64, 50),
    (2000, 64, 10),
    (2000, 64, 1),
    (2000, 32, 10),
    (1000, 64, 10),
)


def ood_detection(
    open_model: Callable[[Path], Answering],
    store: Path,
    results: Path,
    models: Sequence[str],
    folder: Path | None = None,
) -> dict:
    """Compare scores on pictures of other things, and record how often each ranks them below pictures of the ten classes.

    One half of the pictures stands against validation images: by that half a score may be chosen. The other half stands
    against test images. Test images are also asked as people would upload them: how many of those are called unlike, and how
    many of the answers are right that are called so and that are not.

    Args:
        open_model: from a saved model's folder to what answers with it.
        store: the folder of saved models.
        results: where `ood_detector.json` goes; rows of other models in it stay.
        models: names of folders on the store; scores that need logits are left out where the head is not a mean and one
            Dense layer, models without `ood.npz` altogether.
        folder: with further sets, see `outside_sets`.

    Raises:
        ValueError: if the file holds rows that were measured on other sets.
        FileUnavailableError: a photograph can neither be found in the cache nor downloaded.
    """
    opened = {name: OnnxModel(store / name / ONNX_FILE) for name in models}  # a wrong name is told now
    photographs()  # fetched now: what cannot be had is told before anything is asked
    sets = {half: outside_sets(half, folder) for half in HALVES}
    path = results / "ood_detection.json"
    shown = {
        "learned_images": LEARNED,
        "test_images": TESTED,
        "upload_images": UPLOADED,
        "unlike": OOD_THRESHOLD,
        "sets": {
            each: {
                **{half: len(sets[half][each]) for half in HALVES},
                "source": source_of(each, folder),
                "sha256": _digest(sets[half][each] for half in HALVES),
            }
            for each in sets[HALVES[0]]
        },
    }
    rows = _known_rows(path, shown)
    result: dict = {}
    for name, model in tqdm(opened.items(), desc="ood_detector", unit=" models"):
        if OOD_FILE not in read_card(store / name / CARD_FILE).sha256:
            log.warning("%s has no %s, and is left out.", name, OOD_FILE)
            continue
        rows[name] = origin() | _compared(store / name, model, open_model(store / name), sets)
        default = default_model({each: read_card(store / each / CARD_FILE) for each in sorted(rows)})
        result = record(
            path, {**shown, "default": default, "models": rows}
        )  # after each, so that an interruption loses none
    return result


def _known_rows(path: Path, shown: Mapping) -> dict[str, dict]:
    if not path.exists():
        return {}
    stored = json.loads(path.read_text())
    if any(stored[name] != shown[name] for name in shown):
        raise ValueError(f"{path} holds rows of other sets: move it away first. Received: {', '.join(shown['sets'])}")
    return stored["models"]


def _digest(halves: Iterable[Sequence[Image.Image | Path]]) -> str:
    """Return the SHA-256 of all pictures of a set: of files their bytes, of images their pixels."""
    digest = hashlib.sha256()
    for picture in itertools.chain.from_iterable(halves):
        digest.update(picture.read_bytes() if isinstance(picture, Path) else picture.tobytes())
    return digest.hexdigest()


def _compared(folder: Path, model: OnnxModel, opened: Answering, sets: Mapping[str, Mapping[str, list]]) -> dict:
    saved = load_saved(folder / ONNX_FILE)
    dataset, training, validation = saved.split(load_cifar10())
    training = spread(training, LEARNED)

    def features_of(pictures: Sequence[Image.Image | Path]) -> np.ndarray:
        starts = range(0, len(pictures), BATCH)
        batches = (
            np.stack([opened.preprocess(each).pixels for each in pictures[start : start + BATCH]]) for start in starts
        )
        return averaged_maps(model, batches, len(pictures))

    learned, held_back, tested = (
        pooled_features(model, images)
        for images in (dataset.x_train[training], dataset.x_train[validation], dataset.x_test[:TESTED])
    )
    inside = {"choice": held_back, "report": tested}
    outside = {half: {name: features_of(pictures) for name, pictures in named.items()} for half, named in sets.items()}
    own = {half: [each.path for each in photographs(half)] for half in HALVES}
    of_own = {half: features_of(paths) for half, paths in own.items()}
    shipped = read_ood_detector(folder, saved.card)
    last = shipped.kernel, shipped.bias
    known = Learned(learned, dataset.y_train[training], *last)
    scores = {name: make(known) for name, make in SCORES.items() if shipped.kernel.size or name in WITHOUT_LOGITS}
    for bank, directions, k in SIZES:
        if directions < learned.shape[1]:
            smaller = fit_ood_detector(learned, held_back, *last, bank=bank, dimensions=directions, k=k)
            scores[f"{bank} images, {directions} directions, k = {k}"] = smaller.scores
    scores[SHIPPED] = shipped.scores

    def ranked(like: Mapping[str, np.ndarray]) -> dict[str, dict]:
        return {
            name: {
                half: {each: auroc(score(like[half]), score(features)) for each, features in outside[half].items()}
                for half in HALVES
            }
            for name, score in scores.items()
        }

    asked = {"of the ten classes": dataset.x_test[:TESTED], "photographs": own["report"], **sets["report"]}
    answers = {name: opened.classify(list(pictures)) for name, pictures in asked.items()}
    images = [Image.fromarray(image) for image in dataset.x_test[:UPLOADED]]
    names = [dataset.class_names[label] for label in dataset.y_test[:UPLOADED]]
    return {
        "sha256": saved.card.sha256[ONNX_FILE],
        "scores": ranked(inside),
        "scores_of_photographs": ranked(of_own),
        "unlike": {name: float(_unlike(found).mean()) for name, found in answers.items()},
        "uploads": {
            name: _doubted(opened, images if name == CLEAN else list(map(find_corruption(name), images)), names)
            for name in CONDITIONS
        },
    }


def _unlike(answers: Iterable[Any]) -> np.ndarray:
    return np.array([each.in_distribution < OOD_THRESHOLD for each in answers])


def _doubted(opened: Answering, pictures: list[Image.Image], labels: Sequence[str]) -> dict[str, float | None]:
    answers = opened.classify(pictures)
    unlike = _unlike(answers)
    right = np.array([each.top[0][0] for each in answers]) == np.array(labels)

    def share(which: np.ndarray) -> float | None:
        return float(right[which].mean()) if which.any() else None

    return {"unlike": float(unlike.mean()), "accuracy_of_unlike": share(unlike), "accuracy_of_others": share(~unlike)}
