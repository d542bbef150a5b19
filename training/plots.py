"""Figures of a run: confusion matrix, learning curves and a grid of training images, each written atomically as PNG.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), safe for colour-blind readers; each line has its own style for
print. Figures are built without pyplot, which keeps global state.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from runtime.files import atomic_write

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#595959"
DPI = 150
CAPTION_WIDTH = 15  # characters that fit above one sample
MOST_COUNTED_CLASSES = 30  # with more, a count does not fit its cell
MOST_SAMPLES = 40


def plot_confusion_matrix(
    matrix: Sequence[Sequence[int]] | np.ndarray,
    class_names: Sequence[str],
    path: str | Path,
    title: str | None = None,
    shares: bool = False,
) -> None:
    """Draw counts (classes, classes), rows true and columns predicted; the colour is the share of the true class.

    The colour scale is a square root: on a linear one, the mistakes of a good model would all look white. `shares` writes the
    share in percent under each count.
    """
    matrix = np.asarray(matrix)
    classes = len(class_names)
    if matrix.shape != (classes, classes):
        raise ValueError(f"matrix must have the shape ({classes}, {classes}). Received: {matrix.shape}")
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)  # a class without images stays 0
    counted = classes <= MOST_COUNTED_CLASSES
    written = [
        [f"{count}\n{part:.1%}" if shares else f"{count}" for count, part in zip(*row, strict=True)]
        for row in zip(matrix, share, strict=True)
    ]
    colour_bar = {"label": "share of the true class", "format": PercentFormatter(1, 0), "shrink": 0.8, "aspect": 30}
    side = max(4.5, (0.62 if counted else 0.2) * classes + 2.2)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    seaborn.heatmap(
        share,
        ax=axes,
        annot=written if counted else None,
        fmt="",
        annot_kws={"fontsize": 9 if matrix.max() < 10_000 else 7},
        norm=PowerNorm(0.5, 0, 1),
        cmap="Blues",
        square=True,
        linewidths=0.5 if counted else 0,
        linecolor="#e6e6e6",
        xticklabels=list(class_names),
        yticklabels=list(class_names),
        cbar_kws=colour_bar,
    )
    axes.set(xlabel="predicted class", ylabel="true class", title=title or f"{matrix.sum():,} images")
    small = None if counted else 7
    tilted = {"rotation": 45 if counted else 90, "ha": "right", "rotation_mode": "anchor", "fontsize": small}
    axes.set_xticks(axes.get_xticks(), list(class_names), **tilted)
    axes.set_yticks(axes.get_yticks(), list(class_names), rotation=0, fontsize=small)
    save(figure, path)


def plot_curves(history: Sequence[Mapping[str, Any]], path: str | Path, title: str | None = None) -> None:
    """Draw loss and accuracy by epoch, training and validation, with a vertical line where a phase begins.

    `history` has a row per epoch with `loss`, `accuracy`, `val_loss`, `val_accuracy` and `phase`, as numbers or as text from a
    CSV file. Values that are missing, empty or not finite leave a gap.
    """
    if not history:
        raise ValueError("history must have at least one row. Received: none")
    epochs = np.arange(1, len(history) + 1)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, key, label in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True):
        for prefix, name, style in (
            ("", "training", {"color": VERMILION, "linestyle": "--", "marker": "s"}),
            ("val_", "validation", {"color": BLUE, "linestyle": "-", "marker": "o"}),
        ):
            values = np.array([_number(row.get(prefix + key)) for row in history])
            if np.isfinite(values).any():
                axes.plot(epochs, values, label=name, linewidth=1.8, markersize=4, **style)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.margins(y=0.1)
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.spines[["top", "right"]].set_visible(False)
        _mark_phases(axes, [str(row.get("phase") or "") for row in history])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", framealpha=0.9)
    if title:
        figure.suptitle(title)
    save(figure, path)


def plot_time_to_accuracy(
    runs: Sequence[Mapping[str, Any]], thresholds: Sequence[float], path: str | Path, title: str | None = None
) -> None:
    """Draw validation accuracy by wall-clock time, one line per run, with dotted lines at the thresholds.

    Each run has `way` (its name) and `curve`: points with `seconds` and `accuracy` (0..1).
    """
    if not runs:
        raise ValueError("runs must have at least one. Received: none")
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    styles = (
        {"color": BLUE, "linestyle": "-", "marker": "o"},
        {"color": VERMILION, "linestyle": "--", "marker": "s"},
        {"color": GREY, "linestyle": "-.", "marker": "^"},
    )
    for run, style in zip(runs, styles, strict=False):
        minutes = [point["seconds"] / 60 for point in run["curve"]]
        axes.plot(minutes, [point["accuracy"] for point in run["curve"]], label=run["way"], markersize=4, **style)
    for threshold in thresholds:
        axes.axhline(threshold, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel="wall-clock time (minutes)", ylabel="validation accuracy", title=title)
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", framealpha=0.9)
    save(figure, path)


def plot_samples(
    images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], path: str | Path, title: str | None = None
) -> None:
    """Draw up to 40 images, (n, S, S, 3) in 0..255, uint8 or float, with their class names.

    `labels` are class numbers (n,), or shares (n, classes) as from MixUp and CutMix.
    """
    images, labels = np.asarray(images)[:MOST_SAMPLES], np.asarray(labels)[:MOST_SAMPLES]
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"There must be one label an image. Received: {len(images)} images, {len(labels)} labels")
    count = len(images)
    columns = next((columns for columns in (8, 7, 6, 5) if count % columns == 0), min(8, count))  # a full last row
    rows = math.ceil(count / columns)
    captions = [_caption(label, class_names) for label in labels]
    height = 1.35 + 0.15 * max(caption.count("\n") + 1 for caption in captions)  # inches: a square and its caption
    figure = Figure(figsize=(columns * 1.35, rows * height + (0.4 if title else 0)), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, caption in zip(grid, images, captions, strict=False):
        axes.imshow(np.clip(image, 0, 255).astype(np.uint8), interpolation="nearest")
        axes.set_title(caption, fontsize=9, pad=3)
    if title:
        figure.suptitle(title)
    save(figure, path)


def _mark_phases(axes: Axes, phases: Sequence[str]) -> None:
    """Draw a line and a name where each phase begins, unless there is only one."""
    starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
    if len(starts) < 2:
        return
    above = {"transform": axes.get_xaxis_transform(), "va": "bottom"}
    for start in starts:
        if start:
            axes.axvline(start + 0.5, color=GREY, linewidth=1, linestyle=":")
        axes.text(start + 0.5, 1.01, f" {phases[start]}", color=GREY, fontsize=9, **above)


def _caption(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Return an image's class name, or the two with the largest shares, wrapped to fit above it."""
    if np.ndim(label) == 0:
        lines = [class_names[int(label)]]
    else:
        parts = [i for i in np.argsort(label)[::-1] if label[i] >= 0.005]
        shared = len(parts) > 1
        lines = [f"{class_names[i]} {label[i]:.0%}" if shared else class_names[i] for i in parts[:2]]
    return "\n".join("\n".join(textwrap.wrap(line, CAPTION_WIDTH)) for line in lines)


def _number(value: Any) -> float:
    """Return a history value as a float; invalid and infinite ones become NaN, which matplotlib skips."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG on white, atomically."""
    with mpl.rc_context({"savefig.facecolor": "white"}), atomic_write(path) as partial:
        figure.savefig(partial, dpi=DPI, format="png", bbox_inches="tight", pad_inches=0.12)
