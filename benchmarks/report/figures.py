"""Figures of the report. Colours are those of `training.plots`; every model has its own marker."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from PIL import Image, ImageOps

from training.plots import BLUE, GREY, VERMILION, save

# The palette of Okabe and Ito without yellow, which is too light for a line on white.
COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINESTYLES = ("-", "--", "-.", ":")


def plot_lines(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path, x: str, y: str) -> None:
    """Draw one line for each model: its values on the x axis and on the y axis, which are shares, 0..1."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(lines.items()):
        axes.plot(*values, label=name, markersize=5, linewidth=1.6, **_style(number))
    axes.set(xlabel=x, ylabel=y)
    _finish(axes)
    figure.legend(loc="outside right upper", frameon=False)
    save(figure, path)


def plot_frontier(models: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw test accuracy by parameters and by latency, each with its Pareto front.

    `models` have `model` (name), `accuracy` (0..1), `parameters` (count) and `latency_ms` (None if not measured).
    """
    labels = {"parameters": "parameters", "latency_ms": "latency of one image (ms)"}
    keys = [key for key in labels if any(row[key] is not None for row in models)]
    figure = Figure(figsize=(5 * len(keys), 5), layout="constrained")
    panels = figure.subplots(1, len(keys), squeeze=False, sharey=True)[0]
    for axes, key in zip(panels, keys, strict=True):
        shown = [row for row in models if row[key] is not None]
        for number, row in enumerate(models):
            if row in shown:
                label = row["model"] if key == "parameters" else None
                axes.plot(row[key], row["accuracy"], **_style(number) | {"linestyle": ""}, markersize=9, label=label)
        best = frontier([(row[key], row["accuracy"]) for row in shown])
        axes.step(*zip(*best, strict=True), where="post", color=GREY, linewidth=1, linestyle="--", zorder=0)
        axes.set(xlabel=labels[key], xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _finish(axes)
    panels[0].set_ylabel("test accuracy")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    save(figure, path)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the Pareto front of (cost, gain) points, by rising cost."""
    kept: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or gain > kept[-1][1]:
            kept.append((cost, gain))
    return kept


def plot_reliability(models: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the reliability diagrams of models before and after calibration; the diagonal is perfect calibration.

    `models` have, by name, `reliability` with `before` and `after` (rows of `diagnosis.reliability`) and `calibration`.
    """
    rows, columns = _grid(len(models), 3)
    figure = Figure(figsize=(3 * columns, 3 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in grid[len(models) :]:
        axes.set_axis_off()
    looks = {"before": {"color": VERMILION, "fmt": "s--"}, "after": {"color": BLUE, "fmt": "o-"}}
    for axes, (name, model) in zip(grid, models.items(), strict=False):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        for when, look in looks.items():
            values = [[point[key] for point in model["reliability"][when]] for key in ("confidence", "accuracy")]
            label = f"{when} calibration" if axes is grid[0] else None
            axes.plot(*values, look["fmt"], color=look["color"], label=label, markersize=4, clip_on=False)
        errors = model["calibration"]
        axes.set_title(f"{name}\nerror {errors['ece_before']:.1%} → {errors['ece_after']:.1%}", fontsize=10)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.tick_params(labelbottom=True)  # the panel below may be empty
        _finish(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.supxlabel("confidence", fontsize=10)
    figure.supylabel("accuracy", fontsize=10)
    save(figure, path)


def plot_mistakes(images: np.ndarray, heat: np.ndarray, captions: Sequence[str], path: Path) -> None:
    """Draw images (n, H, W, 3) uint8, each beside a copy under its Grad-CAM heat map (n, h, w) in 0..1."""
    rows, columns = -(-len(images) // 4), 4
    figure = Figure(figsize=(2.9 * columns, 1.95 * rows), layout="constrained")
    grid = figure.subfigures(rows, columns, squeeze=False).ravel()
    extent = (0, images.shape[1], images.shape[1], 0)
    for part, image, warm, caption in zip(grid, images, heat, captions, strict=False):
        part.suptitle(caption, fontsize=9)
        plain, explained = part.subplots(1, 2)
        for axes in (plain, explained):
            axes.imshow(image, interpolation="nearest", extent=extent)
            axes.set_axis_off()
        explained.imshow(warm, cmap="inferno", alpha=0.6, interpolation="bicubic", extent=extent, vmin=0, vmax=1)
    save(figure, path)


def plot_uploads(groups: Sequence[str], stages: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Draw accuracy by kind of upload (`groups`), with a panel for each model and a bar for each stage.

    `stages` have, by model and stage, the accuracy (0..1) of each kind.
    """
    figure = Figure(figsize=(9, 2.3 * len(stages) + 0.6), layout="constrained")
    panels = figure.subplots(len(stages), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    places = np.arange(len(groups))
    titles = list(dict.fromkeys(title for found in stages.values() for title in found))
    bars = {}
    for axes, (model, found) in zip(panels, stages.items(), strict=True):
        width = 0.8 / len(found)
        for number, (title, accuracies) in enumerate(found.items()):
            at = places + (number - (len(found) - 1) / 2) * width
            index = titles.index(title)
            look = {"color": COLOURS[index], "hatch": ("//", "", "..")[index % 3], "edgecolor": "white"}
            bars[title] = axes.bar(at, accuracies, width, **look)
            axes.bar_label(bars[title], [f"{100 * accuracy:.0f}" for accuracy in accuracies], fontsize=7.5)
        axes.set_title(model, fontsize=10, loc="left")
        axes.set(ylim=(0, 1.12), ylabel="accuracy")
        axes.set_xticks(places, groups, fontsize=9)
        _finish(axes, grid=False)
    handles = [bars[title] for title in titles]
    figure.legend(handles, titles, loc="outside upper right", ncols=len(titles), frameon=False)
    save(figure, path)


def plot_photographs(files: Sequence[Path], captions: Sequence[str], path: Path) -> None:
    """Draw image files in a grid, each under its caption."""
    rows, columns = _grid(len(files), 5)
    figure = Figure(figsize=(2.1 * columns, 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, file, caption in zip(grid, files, captions, strict=False):
        with Image.open(file) as image:
            axes.imshow(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
        axes.set_title(caption, fontsize=8.5)
    save(figure, path)


def _grid(count: int, most: int) -> tuple[int, int]:
    """Return the rows and columns of `count` panels in at most `most` columns."""
    columns = min(most, count)
    return -(-count // columns), columns


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % 8], "marker": MARKERS[number % 8], "linestyle": LINESTYLES[number % 4]}


def _short(value: float, _: Any = None) -> str:
    """Return a count as 2 k or 2 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _finish(axes: Axes, grid: bool = True) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if grid:
        axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
