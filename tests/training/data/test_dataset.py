"""The data set object: what it refuses, how it is shortened, how it is split."""

import numpy as np
import pytest

from training.data.dataset import ImageDataset, array_sha256


def make(labels=(0, 1, 2) * 10, **changes) -> ImageDataset:
    """Return a small data set of 4x6 images with three classes, with some arguments changed."""
    rng = np.random.default_rng(0)
    arguments = {
        "name": "toy",
        "class_names": ("ant", "bee", "cow"),
        "x_train": rng.integers(0, 256, (len(labels), 4, 6, 3), np.uint8),
        "y_train": np.array(labels, np.int64),
        "x_test": rng.integers(0, 256, (3, 4, 6, 3), np.uint8),
        "y_test": np.array([0, 1, 2]),
        "source": "made up",
        "sha256": {},
    }
    return ImageDataset(**(arguments | changes))


def test_classes_and_image_shape_come_from_the_data():
    dataset = make()
    assert dataset.classes == 3
    assert dataset.image_shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((30, 4, 6, 3), np.float32)}, r"x_train must be uint8.*Received: float32"),
        ({"x_test": np.zeros((3, 3, 4, 6), np.uint8)}, r"x_test must be uint8.*\(n, H, W, 3\).*Received"),
        ({"y_train": np.zeros(30, np.uint8)}, r"y_train must be int64.*Received: uint8"),
        ({"y_test": np.zeros(2, np.int64)}, r"y_test must be int64 of shape \(3,\).*Received.*\(2,\)"),
        ({"y_test": np.array([0, 1, 3])}, r"y_test must hold labels 0\.\.2.*Received: labels 0\.\.3"),
        ({"y_test": np.array([0, -1, 2])}, r"Received: labels -1\.\.2"),
        ({"x_test": np.zeros((3, 5, 6, 3), np.uint8)}, r"one shape.*Received: \(4, 6, 3\) and \(5, 6, 3\)"),
    ],
)
def test_arrays_that_do_not_agree_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_limited_keeps_the_first_images_and_sums_them_anew():
    dataset = make()
    short = dataset.limited(5)
    assert np.array_equal(short.x_train, dataset.x_train[:5])
    assert np.array_equal(short.y_train, dataset.y_train[:5])
    assert len(short.x_test) == len(short.y_test) == 3  # there are no more
    assert short.sha256["x_train"] == array_sha256(dataset.x_train[:5])
    assert short.sha256["y_train"] == array_sha256(dataset.y_train[:5].astype(np.uint8))
    assert "first 5 images" in short.source
    with pytest.raises(ValueError, match="n=0"):
        dataset.limited(0)


def test_split_is_stratified_and_names_every_image_once():
    dataset = make([0] * 50 + [1] * 30 + [2] * 20)
    training, validation = dataset.split(seed=3, validation=10)
    assert training.dtype == validation.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([training, validation])), np.arange(100))
    assert (np.diff(training) > 0).all() and (np.diff(validation) > 0).all()
    assert np.bincount(dataset.y_train[validation]).tolist() == [5, 3, 2]


@pytest.mark.parametrize("validation", [1, 2, 7, 11, 13])
def test_split_deals_uneven_shares_and_leaves_every_class_something_to_learn(validation):
    dataset = make([0] * 13 + [1] * 2 + [2])
    training, held_out = dataset.split(seed=0, validation=validation)
    assert len(held_out) == validation
    assert set(dataset.y_train[training]) == {0, 1, 2}


def test_split_works_where_a_class_has_no_images():
    training, validation = make([0, 2] * 5).split(seed=0, validation=4)
    assert len(training) == 6 and len(validation) == 4


def test_split_depends_on_the_seed_alone():
    dataset = make()
    assert np.array_equal(dataset.split(7, 9)[1], make().split(7, 9)[1])
    assert not np.array_equal(dataset.split(7, 9)[1], dataset.split(8, 9)[1])
    assert dataset.split(7, 9)[1].tolist() == [4, 6, 10, 11, 13, 20, 21, 23, 24]  # no library may change it under us


@pytest.mark.parametrize("validation", [0, -1, 28, 5000])
def test_split_refuses_a_size_that_leaves_a_class_without_images(validation):
    with pytest.raises(ValueError, match=f"between 1 and 27.*Received: validation={validation}"):
        make().split(seed=0, validation=validation)


def test_split_refuses_a_negative_seed():
    with pytest.raises(ValueError, match="seed=-1"):
        make().split(seed=-1, validation=5)
