"""The demo's predictions: one image, every model on one image, many files. Nothing here needs Gradio."""

import csv
import html
import io
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deploy.demo_results import Column, Table
from inference import explain
from inference.batch import FileResult
from inference.classifier import BATCH_SIZE, Classifier, Prediction
from inference.decode import ImageError
from inference.model_store import ModelStore
from models.saved.card import Card, ModelFileError

TOP_K = 3
IMAGE_SIDE = 384  # of the model input and the Grad-CAM overlay, in pixels
LOW_CONFIDENCE = 0.5  # below this probability the prediction gets a warning


@dataclass(frozen=True)
class ModelResult:
    """One model's result for one image."""

    model: str
    prediction: Prediction | None = None  # the top 3; None where the model could not be loaded
    milliseconds: float = 0.0  # median latency from the file to the probabilities, with the model in memory
    image: Image.Image | None = None  # the Grad-CAM overlay, or the model input where there is no Grad-CAM
    error: str = ""  # why the model could not be loaded


def predict(classifier: Classifier, path: str, repeats: int = 1) -> tuple[Prediction, float]:
    """Return the prediction for an image file, and the median latency in milliseconds."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        prediction = classifier.classify(path, _top_k(classifier))
        seconds.append(time.perf_counter() - started)
    return prediction, 1000 * statistics.median(seconds)


def _top_k(classifier: Classifier) -> int:
    return min(TOP_K, len(classifier.card.labels))


@dataclass(frozen=True)
class InputImages:
    """The model input of an image and its Grad-CAM overlay."""

    pixels: Image.Image  # enlarged without smoothing, so that the pixels are visible
    overlay: Image.Image | None  # None where the model does not support Grad-CAM
    caption: str  # of the overlay, in Markdown


def input_images(classifier: Classifier, path: str, label: str | None = None, side: int = IMAGE_SIDE) -> InputImages:
    """Return the model input of an image file and the Grad-CAM overlay of a class, by default the most probable one."""
    model_input = classifier.preprocess(path)
    pixels = Image.fromarray(model_input.pixels.round().clip(0, 255).astype(np.uint8))
    pixels = pixels.resize((side, side), Image.Resampling.NEAREST)
    if not classifier.engine.explains:
        return InputImages(pixels, None, "This model does not support Grad-CAM.")
    found = classifier.explain(model_input, label)
    caption = f"Grad-CAM for **{found.label}**: warm areas count most."
    if not found.heat.any():
        caption = f"Grad-CAM finds no evidence for **{found.label}**."
    return InputImages(pixels, explain.overlay(found.image, found.heat, side), caption)


def warning(prediction: Prediction) -> str:
    """Return why a prediction may be wrong, for instance low confidence; empty without a reason."""
    label, probability = prediction.top[0]
    low = f"Low confidence: {label} {probability:.0%}." if probability < LOW_CONFIDENCE else ""
    return f"{low} {prediction.warning}".strip()


def compare(store: ModelStore, path: str, progress: Callable[[Iterable], Iterable] = iter) -> list[ModelResult]:
    """Run every model on one image file."""
    results = []
    for name in progress(list(store.cards)):
        try:
            classifier = store.get(name)
        except ModelFileError as error:
            results.append(ModelResult(name, error=str(error)))
            continue
        prediction, milliseconds = predict(classifier, path, repeats=3)  # the first run after loading is slow
        images = input_images(classifier, path, side=160)
        results.append(ModelResult(name, prediction, milliseconds, images.overlay or images.pixels))
    return results


def majority(results: Sequence[ModelResult]) -> tuple[str, int]:
    """Return the class that most models predict and its number of votes; on a tie the class with the higher probability."""
    tops = [result.prediction.top[0] for result in results if result.prediction]
    votes = Counter(label for label, _ in tops)
    weight = {label: (count, sum(p for name, p in tops if name == label)) for label, count in votes.items()}
    winner = max(weight, key=weight.get, default="")
    return winner, votes[winner]


def agreement(results: Sequence[ModelResult]) -> str:
    """Return a sentence on how many models agree."""
    label, votes = majority(results)
    loaded = sum(result.prediction is not None for result in results)
    if not loaded:
        return "No model could be loaded."
    if loaded == 1:
        return f"The only model predicts {label}."
    if votes == loaded:
        return f"All {loaded} models predict {label}."
    return f"{votes} of {loaded} models predict {label}." if votes > 1 else f"All {loaded} models disagree."


def comparison_html(results: Sequence[ModelResult], cards: dict[str, Card]) -> str:
    """Return the results as HTML: a card for each model, with its latency and whether it agrees with the majority."""
    winner, votes = majority(results)
    panels = "".join(_panel(result, cards[result.model], winner if votes > 1 else "") for result in results)
    return f'<p class="thaw-agreement">{html.escape(agreement(results))}</p><div class="thaw-cards">{panels}</div>'


def _panel(result: ModelResult, card: Card, winner: str) -> str:
    accuracy = f"<small>{card.test_accuracy:.2%} test accuracy</small>"
    header = f"<header><h3>{html.escape(result.model)}</h3>{accuracy}</header>"
    if result.prediction is None:
        return f'<article class="thaw-card">{header}<p class="thaw-error">{html.escape(result.error)}</p></article>'
    best = result.prediction.top[0][0]
    verdict = "agrees" if best == winner else "differs"
    chip = f'<span class="thaw-chip {verdict}">{verdict}</span>' if winner else ""
    text = html.escape(warning(result.prediction))
    banner = f'<p class="thaw-warning">{text}</p>' if text else ""
    rows = "".join(
        f'<li><span>{html.escape(label)}</span><i style="--share:{share:.4f}"></i><b>{share:.1%}</b></li>'
        for label, share in result.prediction.top
    )
    image = ""
    if result.image is not None:
        alternative = html.escape(f"Grad-CAM of {result.model} for {best}")
        image = f'<img src="{explain.png_data_uri(result.image)}" alt="{alternative}">'
    return (
        f'<article class="thaw-card">{header}<div class="thaw-prediction"><strong>{html.escape(best)}</strong>{chip}</div>'
        f"{banner}<ol>{rows}</ol>{image}<footer>{result.milliseconds:.1f} ms</footer></article>"
    )


def predict_files(
    classifier: Classifier, paths: Sequence[str], progress: Callable[[Iterable], Iterable] = iter
) -> list[FileResult]:
    """Classify image files in batches. A file that cannot be decoded gets an error and does not stop the others."""
    results: list[FileResult] = []
    for start in progress(range(0, len(paths), BATCH_SIZE)):
        errors: list[tuple[str, str | None]] = []
        inputs = []
        for path in paths[start : start + BATCH_SIZE]:
            try:
                inputs.append(classifier.preprocess(path))
                errors.append((Path(path).name, None))
            except ImageError as error:
                errors.append((Path(path).name, str(error)))
        predictions = iter(classifier.predict(inputs, _top_k(classifier)) if inputs else ())
        results += [FileResult(name, None if error else next(predictions), error) for name, error in errors]
    return results


def table(results: Sequence[FileResult]) -> Table:
    """Return the results as a table: the top 3 classes, and the warning or error."""
    rows = []
    for result in results:
        if result.prediction is None:
            rows.append([result.file, None, None, None, None, result.error])
        else:
            (label, probability), *others = result.prediction.top
            others = [f"{name} {other:.1%}" for name, other in others]
            others += [None] * (TOP_K - 1 - len(others))  # a model may have only two classes
            rows.append([result.file, label, probability, *others, warning(result.prediction) or None])
    others = map(Column, ("Second", "Third", "Warning or error"))
    return Table("Predictions", (Column("File"), Column("Prediction"), Column("Probability", "{:.1%}"), *others), rows)


def as_csv(results: Sequence[FileResult], labels: Sequence[str]) -> str:
    """Return the results as CSV, with the probability of every class and the fields of the JSON API."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "probability", *labels, "in_distribution", "warning", "problem"])
    for result in results:
        if result.prediction is None:
            writer.writerow([result.file, *[""] * (len(labels) + 4), result.error or ""])
        else:
            label, probability = result.prediction.top[0]
            scores = [probability, *(result.prediction.probabilities[name] for name in labels)]
            share = result.prediction.in_distribution
            scores = [*(f"{score:.6f}" for score in scores), "" if share is None else f"{share:.6f}"]
            writer.writerow([result.file, label, *scores, result.prediction.warning, ""])
    return text.getvalue()
