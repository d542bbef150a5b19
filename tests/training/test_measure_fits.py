"""The comparison of fits, on a tiny model: which pictures are asked, how looks are made and averaged, what is chosen."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_dataset

from inference.classifier import load_classifier
from training import measure_fits
from training.cifar10 import CLASS_NAMES
from training.measure_fits import CANDIDATES, as_fitted, letterboxed, middle, pieces, squeezed

pytestmark = pytest.mark.usefixtures("own_photographs")


@pytest.fixture
def wide():
    """A picture of 40×20 pixels: its left half is red, its right half is blue."""
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :20, 0] = picture[:, 20:, 2] = 255
    return Image.fromarray(picture)


def test_looks_show_what_they_say(wide):
    (whole,), (boxed,), five = squeezed(wide), letterboxed(wide), pieces(wide)
    assert as_fitted(wide) == [wide]
    (square,) = middle(wide)
    assert (
        square.size == (20, 20) and square.getpixel((9, 0)) == (255, 0, 0) and square.getpixel((10, 0)) == (0, 0, 255)
    )
    assert whole.size == boxed.size == (40, 40)
    assert whole.getpixel((0, 0)) == (255, 0, 0) and boxed.getpixel((0, 0)) == (128, 128, 128)
    assert boxed.getpixel((0, 20)) == (255, 0, 0) and boxed.getpixel((39, 20)) == (0, 0, 255)
    assert [piece.size for piece in five] == 5 * [(15, 15)]
    assert [piece.getpixel((0, 0)) for piece in five] == [(255, 0, 0)] * 3 + [(0, 0, 255)] * 2


def test_every_fit_is_asked_and_the_test_set_is_not(saved_models, tmp_path, monkeypatch):
    dataset = dataclasses.replace(tiny_dataset(classes=10), class_names=CLASS_NAMES)
    blind = dataclasses.replace(dataset, x_test=dataset.x_test[:0], y_test=dataset.y_test[:0])
    monkeypatch.setattr(measure_fits, "load_cifar10", lambda: blind)
    monkeypatch.setattr(measure_fits, "CONDITIONS", ("as it is", "bicubic_32"))
    asked = []

    def open_model(folder, how):
        classifier = load_classifier(folder)
        classifier.card = dataclasses.replace(classifier.card, fit=how, resolution=8)

        def answer(sources):
            asked.extend((how, source.size) for source in sources)
            return classifier.probabilities([classifier.view(source) for source in sources])

        return answer

    measure_fits.measure_fits(open_model, saved_models, tmp_path, ["tiny_a"], images=20)
    result = measure_fits.measure_fits(open_model, saved_models, tmp_path, ["tiny_b"], images=20)
    assert json.loads((tmp_path / "fits.json").read_text()) == result
    assert set(result["models"]) == {"tiny_a", "tiny_b"}
    for row in result["models"].values():
        assert list(row["fits"]) == list(CANDIDATES) and row["images"] == 20
        assert row["command"] == "python train.py --model tiny"
        plain, boxed = row["fits"]["middle, thumbnail"], row["fits"]["letterbox, thumbnail"]
        assert plain["conditions"] == boxed["conditions"], "square images have no border to fill"
    assert sum(size == (6, 6) for _, size in asked) == 2 * 5 * 20, "five pieces of each image"
    several = {name: count for name, count in result["passes"].items() if count > 1}
    assert set(several.values()) == {2, 5} and several["five pieces, thumbnails"] == 5
    assert result["best"] in CANDIDATES and result["best_at_once"] in set(CANDIDATES) - set(several)
    with pytest.raises(ValueError, match="tiny_c"):
        measure_fits.measure_fits(open_model, saved_models, tmp_path, ["tiny_a", "tiny_c"], images=20)
    monkeypatch.setattr(measure_fits, "CANDIDATES", dict(list(CANDIDATES.items())[:2]))
    with pytest.raises(ValueError, match="asked otherwise: ask them too, or move it away first. .*tiny_a"):
        measure_fits.measure_fits(open_model, saved_models, tmp_path, ["tiny_b"], images=20)
    fewer = measure_fits.measure_fits(open_model, saved_models, tmp_path, ["tiny_a", "tiny_b"], images=20)
    assert all(len(row["fits"]) == 2 for row in fewer["models"].values())
    monkeypatch.setattr(measure_fits, "CONDITIONS", ("as it is", "bicubic_16"))
    with pytest.raises(ValueError, match="asked otherwise: .*tiny_b"):
        measure_fits.measure_fits(open_model, saved_models, tmp_path, ["tiny_a"], images=20)


def test_the_best_fit_weighs_photographs_as_much_as_images():
    fits = {name: {"conditions": {"as it is": 0.9, "jpeg_30": 0.7}, "photographs": 0.8} for name in "abc"}
    fits["b"]["photographs"] = 0.9
    fits["c"]["conditions"] = {"as it is": 0.95, "jpeg_30": 0.8}
    assert measure_fits.best([{"fits": fits}], "abc") == "b"
    assert measure_fits.best([{"fits": fits}], "ac") == "c"
