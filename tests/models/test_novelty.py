"""Novelty by nearest neighbours, against its definition written out; and its file."""

import numpy as np
import pytest

from models.card import ModelFileError
from models.novelty import Novelty, read_novelty
from models.storage import sha256_of


class Card:
    """As much of a card as is looked at."""

    def __init__(self, **sums):
        self.sha256 = sums


def made(seed: int = 0, *, images: int = 40, channels: int = 6, dimensions: int = 3, neighbour: int = 2) -> Novelty:
    random = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(random.normal(size=(channels, dimensions)))
    bank = random.normal(size=(images, dimensions))
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    return Novelty(random.normal(size=channels), directions, bank, neighbour, np.linspace(0.2, 0.8, 5))


def test_the_score_is_the_cosine_with_the_kth_nearest():
    novelty = made()
    features = np.random.default_rng(1).normal(size=(7, 6))
    for feature, score in zip(features, novelty.scores(features), strict=True):
        direction = (feature - novelty.mean) @ novelty.directions
        cosines = sorted(direction @ each / np.linalg.norm(direction) for each in novelty.bank)
        assert score == pytest.approx(cosines[-2], abs=1e-6)


def test_a_share_counts_the_held_back_images_that_are_at_least_as_unlike(monkeypatch):
    novelty = made()  # with levels 0.2, 0.35, 0.5, 0.65, 0.8
    monkeypatch.setattr(Novelty, "scores", lambda self, features: np.array([-1, 0.2, 0.5, 0.575, 0.8, 1]))
    np.testing.assert_allclose(novelty.in_distribution(np.zeros((6, 6))), [0, 0, 0.5, 0.625, 1, 1])


def test_features_that_are_the_mean_have_no_direction_and_no_error():
    novelty = made()
    assert novelty.scores(novelty.mean[None]).tolist() == [0]


def test_what_is_written_is_read(tmp_path):
    novelty = made()
    novelty.save(tmp_path / "novelty.npz")
    read = read_novelty(tmp_path, Card(**{"novelty.npz": sha256_of(tmp_path / "novelty.npz")}))
    features = np.random.default_rng(1).normal(size=(7, 6))
    np.testing.assert_allclose(read.scores(features), novelty.scores(features), atol=2e-3)  # float16
    assert (read.neighbour, read.levels.tolist()) == (novelty.neighbour, novelty.levels.tolist())


def test_a_card_that_names_no_file_has_none(tmp_path):
    made().save(tmp_path / "novelty.npz")
    assert read_novelty(tmp_path, Card()) is None


def test_a_damaged_file_is_an_error(tmp_path):
    file = tmp_path / "novelty.npz"
    for content in (b"nonsense", b"PK\3\4 nonsense", b""):
        file.write_bytes(content)
        with pytest.raises(ModelFileError, match="cannot be read"):
            read_novelty(tmp_path, Card(**{"novelty.npz": sha256_of(file)}))
    np.savez(file, mean=np.zeros(3))
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_novelty(tmp_path, Card(**{"novelty.npz": sha256_of(file)}))


@pytest.mark.parametrize(
    "spoilt",
    [
        {"mean": np.zeros(5)},
        {"bank": np.zeros((40, 2))},
        {"neighbour": 0},
        {"neighbour": 41},
        {"directions": np.zeros(6)},
        {"levels": np.zeros(0)},
        {"levels": np.array([1, 0])},
    ],
)
def test_parts_that_do_not_fit_are_refused(spoilt):
    whole = made()
    parts = {name: getattr(whole, name) for name in ("mean", "directions", "bank", "neighbour", "levels")}
    with pytest.raises(ValueError, match="must fit together|must be a row of ascending"):
        Novelty(**parts | spoilt)
