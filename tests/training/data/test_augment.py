import numpy as np
import pytest
import tensorflow as tf

from training.data.augment import (
    AUGMENTATIONS,
    augment_batch,
    crop,
    cutmix,
    cutout,
    flip,
    mixup,
    parse_augment,
    rotate,
    shift,
)

CLASSES = 10
NAMES = list(AUGMENTATIONS)


def batch_of(dtype, size=32, count=24):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3)).astype(dtype)
    return images, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, count)]


def eagerly(operation, images, labels, seed=(3, 4)):
    images, labels = operation(tf.constant(images), tf.constant(labels), tf.constant(seed))
    return images.numpy(), labels.numpy()


def in_tf_data(operation, images, labels, seed=(3, 4)):
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(len(images))
    data = data.map(lambda images, labels: operation(images, labels, tf.constant(seed)))
    images, labels = next(data.as_numpy_iterator())
    return images, labels


@pytest.fixture(params=[eagerly, in_tf_data])
def run(request):
    """Apply an operation, once eagerly and once inside tf.data."""
    return request.param


def plain_colours(count=24, size=32):
    """Image i is i + 1 everywhere, and of class i: what comes from where can be counted."""
    images = np.tile(np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None], (1, size, size, 3))
    return images, np.eye(count, dtype=np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_every_operation_keeps_shape_range_and_label_mass(run, name, dtype):
    images, labels = batch_of(dtype)
    out, out_labels = run(AUGMENTATIONS[name], images, labels)
    assert out.shape == images.shape
    assert out.dtype == ("float32" if name == "mixup" else dtype)
    assert images.min() <= out.min()
    assert out.max() <= images.max()
    assert not np.array_equal(out, images)
    assert out_labels.shape == labels.shape
    assert out_labels.dtype == np.float32
    np.testing.assert_allclose(out_labels.sum(axis=1), 1.0, atol=1e-6)
    assert out_labels.min() >= 0.0


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_a_function_of_its_seed(name):
    images, labels = batch_of("uint8")
    first = eagerly(AUGMENTATIONS[name], images, labels)
    again = in_tf_data(AUGMENTATIONS[name], images, labels)
    other = eagerly(AUGMENTATIONS[name], images, labels, seed=(3, 5))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 3])
def test_every_operation_takes_small_batches_and_oblong_images(run, name, count):
    images = np.random.default_rng(0).integers(0, 256, (count, 12, 20, 3), dtype=np.uint8)
    labels = np.eye(CLASSES, dtype=np.float32)[:count]
    out, out_labels = run(AUGMENTATIONS[name], images, labels)
    assert out.shape == images.shape
    np.testing.assert_allclose(out_labels.sum(axis=1), 1.0, atol=1e-6)


def test_flip_mirrors_about_half_of_the_images(run):
    images, labels = batch_of("uint8", size=4, count=1000)
    out, out_labels = run(flip, images, labels)
    mirrored = (out == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (out == images).all(axis=(1, 2, 3))
    assert (mirrored | kept).all()
    assert 440 < mirrored.sum() < 560  # 3.8 standard deviations
    np.testing.assert_array_equal(out_labels, labels)


@pytest.mark.parametrize(("mode", "padded_as"), [("reflect", "reflect"), ("constant", "constant")])
def test_crop_cuts_a_window_out_of_the_padded_image(run, mode, padded_as):
    images, labels = batch_of("uint8", size=8, count=200)
    out, _ = run(lambda *batch: crop(*batch, padding=2, mode=mode), images, labels)
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode=padded_as)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 8), axis=(1, 2))  # (200, 5, 5, 3, 8, 8)
    equal = (np.moveaxis(windows, 3, -1) == out[:, None, None]).all(axis=(3, 4, 5))  # (200, 5, 5)
    assert (equal.sum(axis=(1, 2)) >= 1).all()
    assert (equal.any(axis=0)).all()  # all 25 places occur


def test_crop_pads_by_four_at_32():
    images, labels = batch_of("uint8", count=200)
    np.testing.assert_array_equal(eagerly(crop, images, labels)[0], eagerly(_crop_by_four, images, labels)[0])


def _crop_by_four(images, labels, seed):
    return crop(images, labels, seed, padding=4)


def ramps(count=200, size=32):
    """Pixels say where they stand: channel 0 is the row, channel 1 the column, in float32."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.tile(np.stack([rows, columns, 0 * rows], axis=-1), (count, 1, 1, 1)), np.eye(count, dtype=np.float32)


def test_shift_moves_each_image_by_whole_pixels_up_to_a_tenth_and_repeats_its_border(run):
    images, labels = ramps()
    out, out_labels = run(shift, images, labels)
    moves = out[:, 16, 16, :2] - 16  # (200, 2) down and right
    for axis in range(2):
        assert set(moves[:, axis]) == {-3, -2, -1, 0, 1, 2, 3}
    expected = np.clip(images[..., :2] + moves[:, None, None], 0, 31)
    np.testing.assert_array_equal(out[..., :2], expected)
    np.testing.assert_array_equal(out_labels, labels)


def test_rotate_turns_each_image_about_its_centre_by_up_to_15_degrees(run):
    images, labels = ramps()
    out, out_labels = run(rotate, images, labels)
    down, right = (out[:, 16, 20, axis] - out[:, 16, 11, axis] for axis in (0, 1))  # along a row of the picture
    angles = np.degrees(np.arctan2(down, right))
    np.testing.assert_allclose(np.hypot(down, right), 9, atol=1e-3)  # nothing is scaled
    assert np.abs(angles).max() <= 15
    assert angles.min() < -13
    assert angles.max() > 13
    np.testing.assert_allclose(out[:, 15:17, 15:17, :2].mean(axis=(1, 2)), 15.5, atol=1e-3)  # the centre stays
    np.testing.assert_array_equal(out_labels, labels)


def test_cutout_blanks_one_square_of_16_at_32(run):
    images, labels = plain_colours(count=200)
    out, out_labels = run(cutout, images, labels)
    mean = 100  # of 1..200 is 100.5, which rounds to the even neighbour
    blank = (out == mean).all(axis=3) & (images != mean).all(axis=3)  # (200, 32, 32)
    blank = np.delete(blank, mean - 1, axis=0)  # where image and blank have one colour
    heights, widths = blank.any(axis=2).sum(axis=1), blank.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(blank.sum(axis=(1, 2)), heights * widths)  # a rectangle
    assert heights.max() == widths.max() == 16
    assert heights.min() >= 8  # a centre inside leaves half a side inside
    assert widths.min() >= 8
    untouched = out[(out != mean).all(axis=3)]
    assert set(np.unique(untouched)) <= set(range(1, 201))
    np.testing.assert_array_equal(out_labels, labels)


def test_mixup_blends_images_and_labels_with_the_same_weights(run):
    images, labels = plain_colours()
    out, out_labels = run(mixup, images, labels)
    colours = np.arange(1, 25)
    np.testing.assert_allclose(out, (out_labels @ colours)[:, None, None, None] * np.ones_like(out), rtol=1e-5)
    assert (np.count_nonzero(out_labels, axis=1) <= 2).all()
    assert (np.diag(out_labels) > 0).all()
    assert len(np.unique(np.diag(out_labels))) > 12  # one weight an image, not one a batch


def test_mixup_weights_follow_the_beta_distribution():
    count = 4000
    images, labels = np.zeros((count, 1, 1, 1), np.float32), np.eye(count, dtype=np.float32)
    for alpha in (0.2, 1.0):
        _, out_labels = eagerly(lambda *batch, alpha=alpha: mixup(*batch, alpha=alpha), images, labels)
        weights = np.diag(out_labels)
        assert np.isfinite(weights).all()
        assert abs(weights.mean() - 0.5) < 0.03
        assert abs(weights.var() - 1 / (4 * (2 * alpha + 1))) < 0.01  # variance of Beta(alpha, alpha)


def test_cutmix_labels_are_the_exact_areas(run):
    images, labels = plain_colours(count=200)
    out, out_labels = run(cutmix, images, labels)
    assert (out == out[..., :1]).all()
    for i in range(200):
        colours, pixels = np.unique(out[i, :, :, 0], return_counts=True)
        areas = np.zeros(200)
        areas[colours - 1] = pixels / 1024
        np.testing.assert_allclose(out_labels[i], areas, atol=1e-6)
    shares = np.diag(out_labels)
    assert shares.min() < 0.3
    assert len(np.unique(shares)) > 50


def test_cutmix_replaces_one_box_in_place(run):
    images, labels = batch_of("uint8")
    out, _ = run(cutmix, images, labels)
    for one, image in zip(out, images, strict=True):
        replaced = (one != image).any(axis=2)
        rows, columns = np.flatnonzero(replaced.any(axis=1)), np.flatnonzero(replaced.any(axis=0))
        if not len(rows):
            continue
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert any((one[box] == other[box]).all() for other in images)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_refuses_class_numbers(name):
    images, _ = batch_of("uint8")
    with pytest.raises(ValueError, match=r"one-hot.*int64"):
        AUGMENTATIONS[name](tf.constant(images), tf.zeros(24, tf.int64), (1, 2))


def test_alpha_must_be_positive():
    images, labels = batch_of("uint8")
    with pytest.raises(ValueError, match=r"alpha=0"):
        mixup(tf.constant(images), tf.constant(labels), (1, 2), alpha=0)


def test_operations_chain_and_keep_their_own_seeds(run):
    images, labels = batch_of("uint8")
    out, out_labels = run(lambda x, y, seed: augment_batch(x, y, tuple(NAMES), seed), images, labels)
    assert out.shape == images.shape
    np.testing.assert_allclose(out_labels.sum(axis=1), 1.0, atol=1e-6)

    flipped, _ = run(lambda x, y, seed: augment_batch(x, y, ("flip",), seed), images, labels)
    cut_then_flipped, _ = run(lambda x, y, seed: augment_batch(x, y, ("cutout", "flip"), seed), images, labels)
    same = (flipped == cut_then_flipped).mean(axis=(1, 2, 3))
    assert same.min() > 0.7  # the same images are mirrored, whatever else is on


def test_no_operation_changes_nothing(run):
    images, labels = batch_of("uint8")
    out, out_labels = run(lambda x, y, seed: augment_batch(x, y, (), seed), images, labels)
    np.testing.assert_array_equal(out, images)
    np.testing.assert_array_equal(out_labels, labels)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("none", ()),
        (" none ", ()),
        ("flip", ("flip",)),
        ("flip,crop", ("flip", "crop")),
        ("crop , flip", ("crop", "flip")),
        ("flip,crop,translate,shift,rotate,cutout,cutout_12,mixup,cutmix", tuple(NAMES)),
    ],
)
def test_parse_augment(text, names):
    assert parse_augment(text) == names


@pytest.mark.parametrize("text", ["blur", "flip,blur", "flip,", "flip,none", "Flip"])
def test_an_unknown_augmentation_lists_the_known_and_what_came(text):
    with pytest.raises(ValueError, match=rf"Known: {', '.join(NAMES)}. Received: augment=\("):
        parse_augment(text)


def test_a_repeated_augmentation_is_refused():
    with pytest.raises(ValueError, match=r"named once.*\('flip', 'flip'\)"):
        parse_augment("flip,flip")
