"""Batches of images: order, views, augmentation and size, by seed and epoch alone."""

import numpy as np
import pytest
import tensorflow as tf

from training.data.image_batches import epoch_order, epoch_turns, epoch_views, image_batches, resize
from training.data.transforms import apply_view

CLASSES = 10
AUGMENT = ("flip", "crop", "cutmix")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8), rng.integers(0, CLASSES, 50)


def batches(data, **changes):
    options = {"classes": CLASSES, "image_size": 32, "batch_size": 16, "seed": 1} | changes
    return list(image_batches(*data, **options).as_numpy_iterator())


def same(left, right):
    return all(
        np.array_equal(a, b) for one, two in zip(left, right, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_order_is_a_permutation_by_seed_and_epoch():
    order = epoch_order(1000, 1, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    for other, equal in (((1, 0), True), ((1, 1), False), ((2, 0), False), ((None, 0), False)):
        assert np.array_equal(order, epoch_order(1000, *other)) == equal
    np.testing.assert_array_equal(epoch_order(5, 3, 2), np.random.default_rng([3, 2]).permutation(5))  # never changes


def test_views_are_taken_in_turn_or_drawn_uniformly_by_seed_and_epoch():
    turns = np.stack([epoch_turns(9000, 3, 1, epoch) for epoch in range(4)])
    np.testing.assert_array_equal(np.diff(turns, axis=0) % 3, 1)
    np.testing.assert_allclose(np.bincount(turns[0]), 3000, atol=200)
    assert not np.array_equal(turns[0], epoch_turns(9000, 3, 2, 0))
    drawn = epoch_views(9000, 3, 1, 0)
    assert np.bincount(drawn).min() > 2800
    for other, equal in (((1, 0), True), ((1, 1), False), ((2, 0), False)):
        assert np.array_equal(drawn, epoch_views(9000, 3, *other)) == equal


def test_each_image_shows_the_view_whose_turn_it_is(data):
    names, order, turns = ("identity", "flip", "flip+translate_1_-1"), epoch_order(50, 3, 2), epoch_turns(50, 3, 3, 2)
    assert set(turns) == {0, 1, 2}
    ((shown, labels),) = batches(data, batch_size=50, views=names, seed=3, epoch=2, shuffle=True)
    for image, row in zip(shown, order, strict=True):
        np.testing.assert_array_equal(image, apply_view(data[0][row : row + 1], names[turns[row]])[0])
    np.testing.assert_array_equal(labels.argmax(axis=1), data[1][order])
    assert same(batches(data, views=names), batches(data))  # in order, the first view


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_resize_is_bilinear_with_half_pixel_centres(data, dtype):
    images = data[0].astype(dtype)
    resized = resize(images, 64).numpy()
    assert (resized.shape, resized.dtype) == ((50, 64, 64, 3), np.float32)
    exact = images.astype(np.float32)
    np.testing.assert_allclose(resized[:, 0, 0], exact[:, 0, 0])  # beyond the outermost centres the border continues
    np.testing.assert_allclose(resized[:, 0, 1], 0.75 * exact[:, 0, 0] + 0.25 * exact[:, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(resize(images, 16).numpy()[:, 0, 0], exact[:, :2, :2].mean(axis=(1, 2)), rtol=1e-5)
    assert resize(images, 32).dtype == tf.float32
    np.testing.assert_array_equal(resize(images, 32), images)


def test_plain_batches_are_the_data_in_order(data):
    dataset = image_batches(*data, classes=CLASSES, image_size=32, batch_size=16)
    assert len(dataset) == 4
    assert [spec.shape.as_list() for spec in dataset.element_spec] == [[None, 32, 32, 3], [None, CLASSES]]
    assert dataset.options().autotune.enabled is False and dataset.options().deterministic is True
    got = list(dataset.as_numpy_iterator())
    assert [len(images) for images, _ in got] == [16, 16, 16, 2]
    images, labels = (np.concatenate(part) for part in zip(*got, strict=True))
    assert images.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(images, data[0])
    np.testing.assert_array_equal(labels, np.eye(CLASSES)[data[1]])


def test_images_are_augmented_at_their_own_size_and_then_resized(data):
    large = batches(data, image_size=80, augment=("crop", "mixup"), shuffle=True)
    for (images, labels), (own, own_labels) in zip(
        large, batches(data, augment=("crop", "mixup"), shuffle=True), strict=True
    ):
        np.testing.assert_array_equal(images, resize(own, 80))
        np.testing.assert_array_equal(labels, own_labels)


@pytest.mark.parametrize("augment", [(), AUGMENT])
def test_seed_and_epoch_decide_the_batches(data, augment):
    first = batches(data, augment=augment, shuffle=True)
    for changes, equal in (({}, True), ({"seed": 2}, False), ({"epoch": 1}, False)):
        assert same(first, batches(data, augment=augment, shuffle=True, **changes)) == equal


def test_augmentation_differs_between_batches(data):
    one = data[0][:1].repeat(48, axis=0), np.arange(48) % CLASSES
    first, second, third = batches(one, augment=("crop",))
    assert not same([first], [second]) and not same([second], [third])


def test_iterating_again_repeats_the_epoch_even_without_a_seed(data):
    options = {"classes": CLASSES, "image_size": 32, "batch_size": 16, "augment": AUGMENT, "shuffle": True}
    dataset = image_batches(*data, **options)
    assert same(list(dataset.as_numpy_iterator()), list(dataset.as_numpy_iterator()))


def test_a_memory_map_is_read_in_place(data, tmp_path):
    np.save(tmp_path / "images.npy", data[0])
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert same(batches((mapped, data[1].astype(np.uint8)), shuffle=True), batches(data, shuffle=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": ("blur",)}, r"augmentation='blur'"),
        ({"batch_size": 0}, r"batch_size=0"),
        ({"image_size": 0}, r"size=0"),
        ({"classes": 5}, r"0\.\.4.*\.\.9"),
        ({"seed": -3}, r"seed=-3"),
        ({"images": np.zeros((50, 8, 8, 3), np.float32)}, r"uint8.*float32"),
        ({"labels": np.zeros(49, int)}, r"labels.*\(49,\)"),
        ({"labels": np.zeros(50)}, r"labels.*float64"),
    ],
)
def test_arguments_are_checked(data, changes, message):
    arguments = dict(zip(("images", "labels"), data, strict=True))
    arguments |= {"classes": CLASSES, "image_size": 32, "batch_size": 16}
    with pytest.raises(ValueError, match=message):
        list(image_batches(**(arguments | changes)))
