"""What each augmentation draws, and from which distribution."""

import numpy as np
import pytest
import tensorflow as tf

from training.data.transforms import augment_batch


def augment(name, images, labels=None, seed=(3, 4)):
    labels = np.eye(len(images), dtype=np.float32) if labels is None else labels
    images, labels = augment_batch(tf.constant(images), tf.constant(labels), (name,), tf.constant(seed))
    return images.numpy(), labels.numpy()


def random_images(size=32, count=24):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def plain_colours(count=24, size=32):
    """Return images of which number i is i + 1 everywhere, so that what comes from where can be counted."""
    return np.tile(np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None], (1, size, size, 3))


def ramps(count=200, size=32):
    """Return float32 images whose pixels hold their position: channel 0 the row, channel 1 the column."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.tile(np.stack([rows, columns, 0 * rows], axis=-1), (count, 1, 1, 1))


def test_flip_mirrors_about_half_of_the_images():
    images = random_images(size=4, count=1000)
    flipped = (augment("flip", images)[0] == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 440 < flipped.sum() < 560  # 3.8 standard deviations


@pytest.mark.parametrize(("name", "most"), [("crop", 4), ("translate", 2)])
def test_crop_and_translate_cut_a_window_out_of_the_reflected_image(name, most):
    images = random_images(count=400)
    changed, labels = augment(name, images)
    padded = np.pad(images, [(0, 0), (most, most), (most, most), (0, 0)], mode="reflect")
    places = range(2 * most + 1)
    windows = [(padded[:, i : i + 32, j : j + 32] == changed).all(axis=(1, 2, 3)) for i in places for j in places]
    assert np.any(windows, axis=0).all()  # each image is a window
    assert np.any(windows, axis=1).all()  # every place occurs
    np.testing.assert_array_equal(labels, np.eye(400))


def test_shift_moves_by_whole_pixels_up_to_a_tenth_and_repeats_the_border():
    images = ramps()
    shifted, labels = augment("shift", images)
    moves = shifted[:, 16, 16, :2] - 16  # (200, 2) down and right
    for axis in range(2):
        assert set(moves[:, axis]) == {-3, -2, -1, 0, 1, 2, 3}
    np.testing.assert_array_equal(shifted[..., :2], np.clip(images[..., :2] + moves[:, None, None], 0, 31))
    np.testing.assert_array_equal(labels, np.eye(200))


@pytest.mark.parametrize(("name", "degrees"), [("rotate", 15), ("rotate_40", 40)])
def test_rotate_turns_about_the_centre_by_up_to_so_many_degrees(name, degrees):
    rotated, labels = augment(name, ramps())
    down, right = (rotated[:, 16, 20, axis] - rotated[:, 16, 11, axis] for axis in (0, 1))  # along a row
    angles = np.degrees(np.arctan2(down, right))
    np.testing.assert_allclose(np.hypot(down, right), 9, atol=1e-3)  # nothing is scaled
    assert np.abs(angles).max() <= degrees
    assert angles.min() < -0.85 * degrees and angles.max() > 0.85 * degrees
    np.testing.assert_allclose(rotated[:, 15:17, 15:17, :2].mean(axis=(1, 2)), 15.5, atol=1e-3)  # the centre stays
    np.testing.assert_array_equal(labels, np.eye(200))


@pytest.mark.parametrize(("name", "side"), [("cutout", 16), ("cutout_12", 12)])
def test_cutout_erases_one_square(name, side):
    images = plain_colours(count=200)
    erased, labels = augment(name, images)
    mean = 100  # of 1..200 is 100.5, which rounds to the even neighbour
    blank = np.delete((erased == mean).all(axis=3), mean - 1, axis=0)  # without the image of that colour
    heights, widths = blank.any(axis=2).sum(axis=1), blank.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(blank.sum(axis=(1, 2)), heights * widths)  # a rectangle
    assert heights.max() == widths.max() == side
    assert min(heights.min(), widths.min()) >= side // 2  # a centre inside leaves half a side inside
    kept = np.delete(erased, mean - 1, axis=0)[~blank]
    np.testing.assert_array_equal(kept, np.delete(images, mean - 1, axis=0)[~blank])
    np.testing.assert_array_equal(labels, np.eye(200))


def test_mixup_averages_images_and_labels_with_the_same_weights():
    mixed, labels = augment("mixup", plain_colours())
    colours = np.arange(1, 25)
    np.testing.assert_allclose(mixed, (labels @ colours)[:, None, None, None] * np.ones_like(mixed), rtol=1e-5)
    assert (np.count_nonzero(labels, axis=1) <= 2).all()
    assert len(np.unique(np.diag(labels))) > 12  # one weight per image, not one per batch


@pytest.mark.parametrize(("name", "alpha"), [("mixup_0.2", 0.2), ("mixup", 1.0)])
def test_mixup_weights_follow_the_beta_distribution(name, alpha):
    weights = np.diag(augment(name, np.zeros((4000, 1, 1, 1), np.float32))[1])
    assert np.isfinite(weights).all()
    assert abs(weights.mean() - 0.5) < 0.03
    assert abs(weights.var() - 1 / (4 * (2 * alpha + 1))) < 0.01  # variance of Beta(alpha, alpha)


def test_cutmix_labels_are_the_exact_areas():
    mixed, labels = augment("cutmix", plain_colours(count=200))
    for image, label in zip(mixed[..., 0], labels, strict=True):
        colours, pixels = np.unique(image, return_counts=True)
        areas = np.zeros(200)
        areas[colours - 1] = pixels / 1024
        np.testing.assert_allclose(label, areas, atol=1e-6)
    shares = np.diag(labels)
    assert shares.min() < 0.3 and len(np.unique(shares)) > 50


def test_cutmix_replaces_one_box_in_place():
    images = random_images()
    mixed, _ = augment("cutmix", images)
    for one, image in zip(mixed, images, strict=True):
        replaced = (one != image).any(axis=2)
        rows, columns = np.flatnonzero(replaced.any(axis=1)), np.flatnonzero(replaced.any(axis=0))
        if len(rows):
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert any((one[box] == other[box]).all() for other in images)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_refuses_class_numbers(name):
    with pytest.raises(ValueError, match=r"one-hot.*int64"):
        augment(name, random_images(), np.zeros(24, np.int64))
