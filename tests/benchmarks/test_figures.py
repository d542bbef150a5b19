"""The report's pictures: no text on another, every model told apart, every number where it belongs."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from benchmarks.report import figures as report_figures
from benchmarks.report.figures import (
    COLOURS,
    MARKERS,
    frontier,
    plot_confusion_pairs,
    plot_coverage,
    plot_domain_gap,
    plot_frontier,
    plot_learning_curves,
    plot_mistakes,
    plot_photographs,
    plot_reliability,
)

NAMES = ["mobilenet_v2", "efficientnet_lite0", "alexnet", "vgg16", "custom_cnn", "custom_cnn_bn", "speedrun_cnn", "vit"]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Return the figure of what a plot function writes; no text of it stands on another."""
    figures = []
    save = report_figures.save
    monkeypatch.setattr(report_figures, "save", lambda figure, path: (figures.append(figure), save(figure, path)))

    def draw(function, *arguments):
        path = tmp_path / "picture.png"
        function(*arguments, path)
        assert min(Image.open(path).size) > 200
        boxes = text_boxes(figures[-1])
        assert not [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.overlaps(b)]
        return figures[-1]

    return draw


def text_boxes(figure):
    """Return every text that is shown, with its box."""
    figure.draw_without_rendering()
    hidden = {text for axes in figure.axes if not axes.axison for text in axes.findobj(Text) if text is not axes.title}
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        hidden |= {label for tick in ticks if not low <= tick.get_loc() <= high for label in (tick.label1, tick.label2)}
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in shown if text not in hidden]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_every_model_has_a_colour_and_a_marker_of_its_own():
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(NAMES)


def test_learning_curves_of_eight_models(drawn):
    curves = {name: [0.5 + 0.01 * i, 0.7, 0.8] for i, name in enumerate(NAMES)}
    figure = drawn(plot_learning_curves, curves)
    assert legend(figure) == NAMES
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == list(curves.values())


def test_the_frontier_is_what_nothing_beats():
    assert frontier([(3, 0.9), (1, 0.7), (2, 0.6), (4, 0.9), (1, 0.6), (5, 0.95)]) == [(1, 0.7), (3, 0.9), (5, 0.95)]


def test_a_model_without_latency_is_in_one_panel_alone(drawn):
    models = [
        {
            "model": name,
            "accuracy": 0.8 + i / 100,
            "parameters": 10 ** (5 + i / 3),
            "latency_ms": None if i == 2 else i + 1,
        }
        for i, name in enumerate(NAMES)
    ]
    figure = drawn(plot_frontier, models)
    assert legend(figure) == NAMES
    points = [sum(line.get_linestyle() == "None" for line in axes.lines) for axes in figure.axes]
    assert points == [8, 7]
    for model in models:
        model["latency_ms"] = None
    (axes,) = drawn(plot_frontier, models).axes
    assert axes.get_xlabel() == "parameters", "no panel is empty"


@pytest.mark.parametrize("count", [1, 4, 7])
def test_reliability_of_some_models(drawn, count):
    rows = [{"images": 10, "confidence": 0.5, "accuracy": 0.4}, {"images": 90, "confidence": 0.95, "accuracy": 0.9}]
    model = {"reliability": {"before": rows, "after": rows}, "calibration": {"ece_before": 0.055, "ece_after": 0.01}}
    figure = drawn(plot_reliability, dict.fromkeys(NAMES[:count], model))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"{name}\nerror 5.5% → 1.0%" for name in NAMES[:count]]
    assert legend(figure) == ["before calibration", "after calibration"]


def test_coverage(drawn):
    points = [{"coverage": 0.5, "accuracy": 0.99}, {"coverage": 1.0, "accuracy": 0.9}]
    figure = drawn(plot_coverage, {"a": points, "b": points})
    assert list(figure.axes[0].lines[1].get_ydata()) == [0.99, 0.9]


def test_the_hardest_pair_stands_on_top_with_its_change(drawn):
    pairs = [
        {"classes": ["cat", "dog"], "before": 432, "after": 97, "change": -0.775},
        {"classes": ["ship", "frog"], "before": 0, "after": 1, "change": None},
    ]
    figure = drawn(lambda *a: plot_confusion_pairs(pairs, "custom_cnn", "mobilenet_v2", *a))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["ship and frog", "cat and dog"]
    assert " 97  −78%" in [text.get_text() for text in axes.texts]


def test_mistakes_stand_in_pairs_below_their_captions(drawn):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    figure = drawn(
        plot_mistakes, images, generator.random((6, 5, 5)), [f"automobile, 99%\nlabelled {i}" for i in range(6)]
    )
    filled = [part for part in figure.subfigs if part.axes]
    assert len(filled) == 6
    assert all(len(part.axes) == 2 and len(part.axes[1].images) == 2 for part in filled)


def test_every_stage_of_the_domain_gap_has_its_own_look(drawn):
    stages = {
        "one": {"before": [0.5, 0.4]},
        "two": {"after": [0.9, 0.8]},
        "three": {"before": [0.6, 0.5], "after": [0.9, 0.7]},
    }
    figure = drawn(plot_domain_gap, ["as it is", "blur"], stages)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before", "after"]
    one, two, three = figure.axes
    colours = [[bar.get_facecolor() for bar in axes.patches] for axes in (one, two, three)]
    assert colours[0][0] == colours[2][0] and colours[1][0] == colours[2][2] and colours[0][0] != colours[1][0]
    assert [bar.get_height() for bar in three.patches] == [0.6, 0.5, 0.9, 0.7]
    assert [text.get_text() for text in one.texts] == ["50", "40"]


@pytest.mark.parametrize("count", [1, 7])
def test_photographs_stand_under_their_captions(drawn, tmp_path, count):
    Image.new("RGB", (30, 20), "orange").save(tmp_path / "one.jpg")
    figure = drawn(plot_photographs, [tmp_path / "one.jpg"] * count, [f"cat: dog, {n}%" for n in range(count)])
    assert [axes.get_title() for axes in figure.axes if axes.images] == [f"cat: dog, {n}%" for n in range(count)]
