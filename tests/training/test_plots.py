import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from training import plots

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def figure(monkeypatch):
    """Return the figure that a plot function would write."""
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))

    def draw(function, *arguments, **options):
        function(*arguments, "unwritten.png", **options)
        drawn[-1].draw_without_rendering()
        return drawn[-1]

    return draw


def history(head=3, finetune=2):
    phases = ["head"] * head + ["finetune"] * finetune
    return [
        {
            "phase": phase,
            "epoch": i,
            "loss": 1 / (i + 1),
            "accuracy": 0.5 + i / 20,
            "val_loss": 0.4,
            "val_accuracy": 0.8,
        }
        for i, phase in enumerate(phases)
    ]


def matrix(classes):
    return np.random.default_rng(0).integers(0, 30, (classes, classes)) + 900 * np.eye(classes, dtype=int)


def boxes(figure, texts):
    renderer = figure._get_renderer()
    return [text.get_window_extent(renderer) for text in texts if text.get_text()]


def written(path):
    """Check that a picture was written whole and that nothing is cut: its border is white all around."""
    pixels = np.asarray(Image.open(path).convert("L"))
    assert (pixels[[0, -1]] == 255).all()
    assert (pixels[:, [0, -1]] == 255).all()
    assert pixels.min() < 100
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return pixels.shape


def test_every_picture_is_a_png_with_a_white_border(tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (5, 16, 16, 3))
    for name, draw in {
        "confusion_matrix": lambda path: plots.plot_confusion_matrix(matrix(10), NAMES, path),
        "time_to_accuracy": lambda path: plots.plot_time_to_accuracy(
            [{"way": "a way", "curve": [{"seconds": 60, "accuracy": 0.8}, {"seconds": 90, "accuracy": 0.9}]}],
            (0.9,),
            path,
        ),
        "curves": lambda path: plots.plot_curves(history(), path, title="a run"),
        "samples": lambda path: plots.plot_samples(images, np.arange(5), NAMES, path, title="samples"),
    }.items():
        path = tmp_path / name / f"{name}.png"
        draw(path)
        assert min(written(path)) > 250


def test_leaves_no_global_figure(tmp_path):
    from matplotlib import pyplot

    plots.plot_confusion_matrix(matrix(3), NAMES[:3], tmp_path / "m.png")
    assert pyplot.get_fignums() == []


class TestConfusionMatrix:
    @pytest.mark.parametrize(("classes", "name"), [(2, "class {}"), (10, "{} with a long name"), (60, "class {}")])
    def test_names_do_not_overlap(self, figure, classes, name):
        names = [name.format(i) for i in range(classes)]
        drawn = figure(plots.plot_confusion_matrix, matrix(classes), names)
        axes = drawn.axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == names
        assert [label.get_text() for label in axes.get_yticklabels()] == names
        rows = boxes(drawn, axes.get_yticklabels())
        assert not any(a.overlaps(b) for a, b in pairwise(rows))
        # Tilted text overlaps by its box and not by its ink; upright rows of it stand a cell apart.
        step = axes.transData.transform((1, 0))[0] - axes.transData.transform((0, 0))[0]
        assert step > 1.2 * axes.get_xticklabels()[0].get_fontsize() * drawn.dpi / 72

    def test_each_cell_holds_its_count_up_to_many_classes(self, figure):
        drawn = figure(plots.plot_confusion_matrix, matrix(10), NAMES)
        assert [int(text.get_text()) for text in drawn.axes[0].texts] == matrix(10).ravel().tolist()

    def test_shares_are_percent_of_the_true_class_under_the_counts(self, figure):
        drawn = figure(plots.plot_confusion_matrix, [[30, 10], [0, 5]], ["a", "b"], shares=True)
        assert [text.get_text() for text in drawn.axes[0].texts] == ["30\n75.0%", "10\n25.0%", "0\n0.0%", "5\n100.0%"]
        names = [str(i) for i in range(60)]
        assert not figure(plots.plot_confusion_matrix, matrix(60), names).axes[0].texts

    def test_a_class_without_images_is_drawn(self, figure):
        drawn = figure(plots.plot_confusion_matrix, [[5, 0], [0, 0]], ["a", "b"])
        assert np.isfinite(drawn.axes[0].collections[0].get_array()).all()


class TestCurves:
    def test_draws_both_splits_and_marks_the_phases(self, figure):
        drawn = figure(plots.plot_curves, history())
        for axes, key in zip(drawn.axes, ("loss", "accuracy"), strict=True):
            labels = [text.get_text() for text in axes.get_legend().get_texts()]
            assert labels == ["training", "validation"]
            lines = {line.get_label(): line for line in axes.lines}
            np.testing.assert_allclose(lines["training"].get_ydata(), [row[key] for row in history()])
            assert [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2] == [3.5]
            assert [text.get_text().strip() for text in axes.texts] == ["head", "finetune"]

    def test_reads_csv_text_and_leaves_gaps(self, figure):
        rows = [
            {"loss": "0.5", "val_loss": "", "accuracy": "nan", "val_accuracy": None},
            {"loss": "inf"},
            {"loss": "0.4"},
        ]
        loss, accuracy = figure(plots.plot_curves, rows).axes
        (line,) = loss.lines
        assert [y for y in line.get_ydata() if not math.isnan(y)] == [0.5, 0.4]
        assert not accuracy.lines

    def test_one_epoch_is_drawn_without_a_mark_of_phases(self, figure):
        drawn = figure(plots.plot_curves, history(head=1, finetune=0))
        assert not drawn.axes[0].texts
        assert all(line.get_marker() not in ("None", None) for line in drawn.axes[0].lines)


class TestSamples:
    images = np.full((3, 8, 8, 3), 300.0)

    def titles(self, drawn):
        return [axes.get_title() for axes in drawn.axes if axes.get_title()]

    def test_titles_are_the_classes_of_integer_one_hot_and_mixed_labels(self, figure):
        drawn = figure(plots.plot_samples, self.images, np.array([3, 0, 9]), NAMES)
        assert self.titles(drawn) == ["cat", "airplane", "truck"]
        labels = np.zeros((3, 10), np.float32)
        labels[0, 3] = labels[1, 5] = 1
        labels[2, [1, 8]] = 0.3, 0.7
        drawn = figure(plots.plot_samples, self.images, labels, NAMES)
        assert self.titles(drawn) == ["cat", "dog", "ship 70%\nautomobile 30%"]

    def test_long_names_do_not_run_into_each_other(self, figure):
        names = [f"a species with a rather long name, number {i}" for i in range(8)]
        drawn = figure(plots.plot_samples, np.zeros((8, 8, 8, 3)), np.arange(8), names)
        found = boxes(drawn, [axes.title for axes in drawn.axes])
        assert not any(a.overlaps(b) for a, b in pairwise(found))

    def test_draws_no_more_than_fit(self, figure):
        drawn = figure(plots.plot_samples, np.zeros((100, 8, 8, 3)), np.zeros(100, int), NAMES)
        assert len(self.titles(drawn)) == plots.MOST_SAMPLES


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="3 images, 2 labels"):
        plots.plot_samples(np.zeros((3, 8, 8, 3)), np.array([1, 2]), NAMES, "unwritten.png")
    with pytest.raises(ValueError, match=r"Received: \(3, 3\)"):
        plots.plot_confusion_matrix(np.eye(3, dtype=int), ["a", "b"], "unwritten.png")
    with pytest.raises(ValueError, match="at least one row"):
        plots.plot_curves([], "unwritten.png")
