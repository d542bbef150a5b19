"""The OOD detector against its definition written out, and its file."""

import dataclasses

import numpy as np
import pytest

from models.saved.card import ModelFileError
from models.saved.ood import OodDetector, read_ood_detector
from runtime.files import sha256_of


class Card:
    """The part of a card that is read."""

    def __init__(self, **sums):
        self.sha256 = sums


def made(seed: int = 0, *, classes: int = 3) -> OodDetector:
    """Return a detector of 40 images in 3 of 6 directions, with 2 neighbours."""
    random = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(random.normal(size=(6, 3)))
    bank = random.normal(size=(40, 3))
    return OodDetector(
        directions, bank, 2, random.normal(size=(6, classes)), random.normal(size=classes), np.linspace(0.2, 0.8, 5)
    )


@pytest.mark.parametrize("classes", [3, 0])
def test_the_score_is_the_energy_times_the_mean_similarity_to_the_nearest(classes):
    ood_detector = made(classes=classes)
    features = np.random.default_rng(1).normal(size=(7, 6))
    for feature, score in zip(features, ood_detector.scores(features), strict=True):
        direction = feature / np.linalg.norm(feature) @ ood_detector.directions
        similarities = sorted(float(direction @ each) for each in ood_detector.bank)
        energy = np.log(np.exp(feature @ ood_detector.kernel + ood_detector.bias).sum()) if classes else 1
        assert score == pytest.approx(energy * np.mean(similarities[-2:]), abs=1e-5)


def test_in_distribution_is_the_share_of_held_out_images_with_lower_scores(monkeypatch):
    ood_detector = made()  # with levels 0.2, 0.35, 0.5, 0.65, 0.8
    monkeypatch.setattr(OodDetector, "scores", lambda self, features: np.array([-1, 0.2, 0.5, 0.575, 0.8, 1]))
    np.testing.assert_allclose(ood_detector.in_distribution(np.zeros((6, 6))), [0, 0, 0.5, 0.625, 1, 1])


def test_features_that_are_zero_have_no_direction_and_no_error():
    assert made().scores(np.zeros((1, 6), np.float32)).tolist() == [0]


def test_the_file_reads_as_it_was_written(tmp_path):
    ood_detector = made()
    ood_detector.save(tmp_path / "ood.npz")
    read = read_ood_detector(tmp_path, Card(**{"ood.npz": sha256_of(tmp_path / "ood.npz")}))
    features = np.random.default_rng(1).normal(size=(7, 6))
    np.testing.assert_allclose(read.scores(features), ood_detector.scores(features), atol=1e-2)  # float16
    assert (read.neighbours, read.levels.tolist()) == (ood_detector.neighbours, ood_detector.levels.tolist())


def test_a_card_that_names_no_file_has_none(tmp_path):
    made().save(tmp_path / "ood.npz")
    assert read_ood_detector(tmp_path, Card()) is None


def test_a_damaged_file_is_an_error(tmp_path):
    file = tmp_path / "ood.npz"
    for content in (b"nonsense", b"PK\3\4 nonsense", b""):
        file.write_bytes(content)
        with pytest.raises(ModelFileError, match="cannot be read"):
            read_ood_detector(tmp_path, Card(**{"ood.npz": sha256_of(file)}))
    np.savez(file, bias=np.zeros(3))
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_ood_detector(tmp_path, Card(**{"ood.npz": sha256_of(file)}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel", np.zeros((5, 3))),
        ("bias", np.zeros(2)),
        ("bank", np.zeros((40, 2))),
        ("directions", np.zeros(6)),
        ("neighbours", 0),
        ("neighbours", 41),
        ("levels", np.zeros(0)),
        ("levels", np.array([1, 0])),
    ],
)
def test_a_wrong_value_is_refused(name, value):
    with pytest.raises(ValueError, match="shapes" if name in ("kernel", "bias", "bank", "directions") else name):
        dataclasses.replace(made(), **{name: value})
