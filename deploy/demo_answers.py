"""What the demo's tabs show of the models' answers, without a line of Gradio."""

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
from inference.classifier import BATCH_SIZE, Classifier, Prediction
from inference.decode import ImageError
from inference.model_store import ModelStore
from models.saved.card import Card, ModelFileError

TOP = 3  # classes that are named, of those that there are
PICTURE = 384  # side of a picture of what a model sees, in pixels
SURE = 0.5  # the least that the most probable class must have


@dataclass(frozen=True)
class Answer:
    """What one model says about one image.

    Attributes:
        model: its name.
        prediction: the top 3; None where the model cannot be run.
        milliseconds: median time from the file to the probabilities, the model being in memory.
        picture: what the model sees, under the heat map of its answer where it can tell.
        problem: why the model cannot be run.
    """

    model: str
    prediction: Prediction | None = None
    milliseconds: float = 0.0
    picture: Image.Image | None = None
    problem: str = ""


def answer(classifier: Classifier, path: str, repeats: int = 1) -> tuple[Prediction, float]:
    """Return a model's answer to an image file, and the median milliseconds from the file to the probabilities.

    Raises:
        ImageError: if the file is no image.
    """
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        prediction = classifier.classify(path, _top(classifier))
        seconds.append(time.perf_counter() - started)
    return prediction, 1000 * statistics.median(seconds)


def _top(classifier: Classifier) -> int:
    return min(TOP, len(classifier.card.labels))


@dataclass(frozen=True)
class Seen:
    """What a model sees of an image.

    Attributes:
        pixels: its input, enlarged without smoothing, so that each of its pixels shows.
        heat: the input, warmer where it speaks for a class; None where the model cannot tell.
        sentence: about the heat, in Markdown.
    """

    pixels: Image.Image
    heat: Image.Image | None
    sentence: str


def seen(classifier: Classifier, path: str, label: str | None = None, side: int = PICTURE) -> Seen:
    """Return what a model sees of an image file.

    Args:
        classifier: the model.
        path: the image file.
        label: the class that the heat speaks for; None for the most probable one.
        side: of the pictures, in pixels.
    """
    view = classifier.preprocess(path)
    plain = Image.fromarray(view.pixels.round().clip(0, 255).astype(np.uint8))
    plain = plain.resize((side, side), Image.Resampling.NEAREST)
    if not classifier.engine.explains:
        return Seen(plain, None, "This model cannot show where it looked.")
    found = classifier.explain(view, label)
    heat = explain.overlay(found.image, found.heat, side)
    if not found.heat.any():
        return Seen(plain, heat, f"Nothing in the image speaks for **{found.label}**.")
    return Seen(plain, heat, f"The warmer a spot, the more it speaks for **{found.label}**.")


def doubt(prediction: Prediction) -> str:
    """Return why an answer is uncertain, in a sentence; empty where it is not."""
    label, share = prediction.top[0]
    if share < SURE:
        unsure = f"The model is not sure: it gives {label} {share:.0%}."
        return f"{unsure} {prediction.warning}".strip()
    return prediction.warning


def compare(store: ModelStore, path: str, progress: Callable[[Iterable], Iterable] = iter) -> list[Answer]:
    """Ask every model on the store about one image file.

    Raises:
        ImageError: if the file is no image.
    """
    answers = []
    for name in progress(list(store.cards)):
        try:
            classifier = store.get(name)
        except ModelFileError as error:
            answers.append(Answer(name, problem=str(error)))
            continue
        prediction, milliseconds = answer(classifier, path, repeats=3)  # the first one after loading is slow
        view = seen(classifier, path, side=160)
        answers.append(Answer(name, prediction, milliseconds, view.heat or view.pixels))
    return answers


def majority(answers: Sequence[Answer]) -> tuple[str, int]:
    """Return the label that most models name and how many do; of equals the one with the higher probabilities."""
    tops = [each.prediction.top[0] for each in answers if each.prediction]
    if not tops:
        return "", 0
    votes = Counter(label for label, _ in tops)
    weight = {label: (count, sum(p for name, p in tops if name == label)) for label, count in votes.items()}
    winner = max(weight, key=weight.get)
    return winner, votes[winner]


def verdict(answers: Sequence[Answer]) -> str:
    """Return, in a sentence, how far the models agree."""
    label, votes = majority(answers)
    asked = sum(each.prediction is not None for each in answers)
    if not asked:
        return "No model could be run."
    if asked == 1:
        return f"The only model says {label}."
    if votes == asked:
        return f"All {asked} models say {label}."
    return f"{votes} of {asked} models say {label}." if votes > 1 else f"All {asked} models differ."


def side_by_side(answers: Sequence[Answer], cards: dict[str, Card]) -> str:
    """Return the answers as HTML: one card a model, with latency and whether it agrees with the most."""
    winner, votes = majority(answers)
    panels = "".join(_panel(each, cards[each.model], winner if votes > 1 else "") for each in answers)
    return f'<p class="thaw-verdict">{html.escape(verdict(answers))}</p><div class="thaw-cards">{panels}</div>'


def _panel(each: Answer, card: Card, winner: str) -> str:
    name, accuracy = html.escape(each.model), f"{card.test_accuracy:.2%} on the test images"
    if each.prediction is None:
        return (
            f'<article class="thaw-card"><header><h3>{name}</h3><small>{accuracy}</small></header>'
            f'<p class="thaw-problem">{html.escape(each.problem)}</p></article>'
        )
    best = each.prediction.top[0][0]
    chip = ""
    if winner:
        agrees = best == winner
        chip = f'<span class="thaw-chip {"agrees" if agrees else "differs"}">{"agrees" if agrees else "differs"}</span>'
    picture = ""
    doubted = doubt(each.prediction)
    doubts = f'<p class="thaw-doubt">{html.escape(doubted)}</p>' if doubted else ""
    if each.picture is not None:
        alternative = html.escape(f"Where {each.model} looked for {best}")
        picture = f'<img src="{explain.png_data_uri(each.picture)}" alt="{alternative}">'
    rows = "".join(
        f'<li><span>{html.escape(label)}</span><i style="--share:{share:.4f}"></i><b>{share:.1%}</b></li>'
        for label, share in each.prediction.top
    )
    return (
        f'<article class="thaw-card"><header><h3>{name}</h3><small>{accuracy}</small></header>'
        f'<div class="thaw-answer"><strong>{html.escape(best)}</strong>{chip}</div>{doubts}<ol>{rows}</ol>{picture}'
        f"<footer>{each.milliseconds:.1f} ms</footer></article>"
    )


@dataclass(frozen=True)
class Row:
    """The answer to one file of many: a prediction, or the problem that there was."""

    file: str
    prediction: Prediction | None = None
    problem: str = ""


def answer_files(
    classifier: Classifier, paths: Sequence[str], progress: Callable[[Iterable], Iterable] = iter
) -> list[Row]:
    """Answer many image files, in their order; one that is no image gets its problem told and stops no other."""
    rows: list[Row] = []
    for start in progress(range(0, len(paths), BATCH_SIZE)):
        names, views, problems = [], [], {}
        for path in paths[start : start + BATCH_SIZE]:
            names.append(Path(path).name)
            try:
                views.append(classifier.preprocess(path))
            except ImageError as error:
                problems[len(names) - 1] = str(error)
        predictions = iter(classifier.predict(views, _top(classifier)) if views else ())
        rows += [
            Row(name, problem=problems[index]) if index in problems else Row(name, next(predictions))
            for index, name in enumerate(names)
        ]
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Return the rows for people: the best three classes, and what is wrong with a file or speaks against its answer."""
    lines = []
    for row in rows:
        if row.prediction is None:
            lines.append([row.file, None, None, None, None, row.problem])
        else:
            (label, share), *others = row.prediction.top
            others = [f"{name} {other:.1%}" for name, other in others]
            others += [None] * (TOP - 1 - len(others))  # of a model of two classes
            lines.append([row.file, label, share, *others, doubt(row.prediction) or None])
    names = ("Second", "Third", "Problem or doubt")
    return Table(
        "Answers", (Column("File"), Column("Answer"), Column("Probability", "{:.1%}"), *map(Column, names)), lines
    )


def as_csv(rows: Sequence[Row], labels: Sequence[str]) -> str:
    """Return the rows as CSV for programs, with every class's probability and what the API says beside it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "probability", *labels, "in_distribution", "warning", "problem"])
    for row in rows:
        if row.prediction is None:
            writer.writerow([row.file, "", "", *("" for _ in labels), "", "", row.problem])
        else:
            label, share = row.prediction.top[0]
            shares = (f"{row.prediction.probabilities[name]:.6f}" for name in labels)
            near = row.prediction.in_distribution
            near = "" if near is None else f"{near:.6f}"
            writer.writerow([row.file, label, f"{share:.6f}", *shares, near, row.prediction.warning, ""])
    return text.getvalue()
