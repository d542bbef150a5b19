"""How an upload should become a model's input: whole or its middle, at full detail or as a thumbnail, one look or several."""

import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from models.card import ONNX_FILE
from training.artifacts import FIT, load_saved
from training.cifar10 import load_cifar10
from training.corruptions import CLEAN, find_corruption
from training.datasets import spread
from training.domain_gap import MODELS, Answer, in_batches
from training.measure import origin, record
from training.photographs import photographs
from training.recipes import require

PIECE = 0.75  # side of a piece, of the image's shorter side
IMAGES = 500  # validation images in each condition
CONDITIONS = (
    CLEAN, "jpeg_30", "bicubic_8", "bicubic_16", "bicubic_128", "bicubic_512", "bicubic_224+jpeg_90", "nearest_640+jpeg_90",
    "stretch_1.5", "bars_1.5", "screenshot_0.25", "corner_0.75",
)  # fmt: skip


def as_fitted(image: Image.Image) -> list[Image.Image]:
    """Leave it to the model's `fit`."""
    return [image]


def middle(image: Image.Image) -> list[Image.Image]:
    """Take the largest square in the middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return [image.crop((left, top, left + side, top + side))]


def squeezed(image: Image.Image) -> list[Image.Image]:
    """Squeeze all of it into a square."""
    return [image.resize((max(image.size),) * 2, Image.Resampling.BICUBIC)]


def letterboxed(image: Image.Image) -> list[Image.Image]:
    """Fill it up to a square with grey."""
    return [ImageOps.pad(image, (max(image.size),) * 2, color="#808080")]


def pieces(image: Image.Image) -> list[Image.Image]:
    """Take five squares: in the middle and towards each corner."""
    side = max(1, round(PIECE * min(image.size)))
    right, bottom = image.width - side, image.height - side
    corners = [(right // 2, bottom // 2), *itertools.product((0, right), (0, bottom))]
    return [image.crop((left, top, left + side, top + side)) for left, top in corners]


Look = tuple[Callable[[Image.Image], list[Image.Image]], str]
CANDIDATES: Mapping[str, tuple[Look, ...]] = {
    "middle": ((middle, "bilinear"),),
    "middle, thumbnail": ((middle, "thumbnail"),),
    "squeezed, thumbnail": ((squeezed, "thumbnail"),),
    "half cut, half squeezed, thumbnail": ((as_fitted, "thumbnail"),),
    "letterbox, thumbnail": ((letterboxed, "thumbnail"),),
    "middle, with and without thumbnail": ((middle, "bilinear"), (middle, "thumbnail")),
    "middle and squeezed, thumbnails": ((middle, "thumbnail"), (squeezed, "thumbnail")),
    "five pieces, thumbnails": ((pieces, "thumbnail"),),
}
"""What is made of an image, and the card's `fit` that each is brought to the model's input by; answers are averaged."""
SHIPPED = next(name for name, looks in CANDIDATES.items() if looks == ((as_fitted, FIT),))


def measure_fits(
    open_model: Callable[[Path, str], Answer],
    shelf: Path,
    results: Path,
    models: Sequence[str] = MODELS,
    images: int = IMAGES,
) -> dict:
    """Ask shipped models validation images and the photographs to choose by, fitted in each way.

    The test set and the photographs to report by are not looked at.

    Args:
        open_model: from a saved model's folder and a `fit` to what answers with it.
        shelf: the folder of saved models.
        results: where `fits.json` goes; other models in it stay.
        models: names of folders on the shelf.
        images: how many validation images are asked in every condition.

    Raises:
        ModelFileError: if there is no model of a name.
        ValueError: if the file holds other models that were asked other things or in other ways.
        FileUnavailableError: a photograph can neither be found in the cache nor downloaded.
    """
    path = results / "fits.json"
    stored = json.loads(path.read_text())["models"] if path.exists() else {}
    others = [name for name, row in stored.items() if name not in models and not _asked_alike(row)]
    require(
        not others, f"{path} holds models that were asked otherwise: ask them too, or move it away first", others=others
    )
    rows = {name: row for name, row in stored.items() if name not in models}
    shelved = {model: load_saved(shelf / model / ONNX_FILE) for model in models}  # a wrong name is told now
    photographs("choice")  # fetched now: what cannot be had is told before anything is asked
    dataset = load_cifar10()
    result: dict = {}
    with tqdm(total=len(models) * len(CANDIDATES), unit=" fits", disable=None) as bar:
        for model, saved in shelved.items():
            own, _, held_back = saved.split(dataset)
            names = saved.card.labels
            chosen = spread(held_back, images)
            pictures = [Image.fromarray(image) for image in own.x_train[chosen]]
            labels = [names.index(own.class_names[label]) for label in own.y_train[chosen]]
            answers = {how: open_model(shelf / model, how) for how in ("bilinear", "thumbnail")}
            found = {}
            for name, looks in CANDIDATES.items():
                bar.set_description(f"{model}, {name}")
                found[name] = _accuracies(looks, answers, pictures, labels, names)
                bar.update()
            rows[model] = {**origin(), "command": saved.card.command, "images": len(pictures), "fits": found}
            once = [name for name, looks in CANDIDATES.items() if passes(looks) == 1]
            result = record(
                path,
                {
                    "models": rows,
                    "passes": {name: passes(looks) for name, looks in CANDIDATES.items()},
                    "shipped": SHIPPED,
                    "best": best(rows.values(), CANDIDATES),
                    "best_at_once": best(rows.values(), once),
                },
            )  # after each, so that an interruption loses none
    return result


def _asked_alike(row: Mapping) -> bool:
    """Whether a model was asked under today's conditions, in today's ways."""
    asked = [(way, *found["conditions"]) for way, found in row["fits"].items()]
    return asked == [(way, *CONDITIONS) for way in CANDIDATES]


def passes(looks: Sequence[Look]) -> int:
    """Return how many answers of a model a picture takes."""
    return sum(len(prepare(Image.new("RGB", (2, 1)))) for prepare, _ in looks)


def best(models: Iterable[Mapping], ways: Iterable[str]) -> str:
    """Return the way to fit that is right most often: the mean over models, of images and photographs alike."""
    models = list(models)

    def accuracy(name: str) -> float:
        found = [model["fits"][name] for model in models]
        images = statistics.mean(statistics.mean(each["conditions"].values()) for each in found)
        return (images + statistics.mean(each["photographs"] for each in found)) / 2

    return max(ways, key=accuracy)


def _accuracies(
    looks: Sequence[Look],
    answers: Mapping[str, Answer],
    pictures: Sequence[Image.Image],
    labels: Sequence[int],
    names: Sequence[str],
) -> dict:
    def accuracy(asked: Sequence[Image.Image], true: Sequence[int]) -> float:
        found = [
            in_batches(answers[how], seen)
            for prepare, how in looks
            for seen in zip(*map(prepare, asked), strict=True)  # the first look of every image, then the second
        ]
        return float((np.mean(found, axis=0).argmax(axis=1) == np.asarray(true)).mean())

    own = photographs("choice")
    return {
        "conditions": {
            name: accuracy(pictures if name == CLEAN else list(map(find_corruption(name), pictures)), labels)
            for name in CONDITIONS
        },
        "photographs": accuracy([_opened(each.path) for each in own], [names.index(each.label) for each in own]),
    }  # fmt: skip


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")
