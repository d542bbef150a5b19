import numpy as np
import pytest
import tensorflow as tf

from training.augment import (
    AUGMENTATIONS,
    apply_view,
    augment_batch,
    crop,
    cutmix,
    cutout,
    find_view,
    flip,
    mixup,
    parse_augment,
    views_of,
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
        ("flip,crop,cutout,mixup,cutmix", tuple(NAMES)),
    ],
)
def test_parse_augment(text, names):
    assert parse_augment(text) == names


@pytest.mark.parametrize("text", ["rotate", "flip,rotate", "flip,", "flip,none", "Flip"])
def test_an_unknown_augmentation_lists_the_known_and_what_came(text):
    with pytest.raises(ValueError, match=r"Known: flip, crop, cutout, mixup, cutmix. Received: augment=\("):
        parse_augment(text)


def test_a_repeated_augmentation_is_refused():
    with pytest.raises(ValueError, match=r"named once.*\('flip', 'flip'\)"):
        parse_augment("flip,flip")


def test_views_of_enumerates_what_can_be_enumerated():
    assert views_of(()) == ("identity",)
    assert views_of(("flip",)) == ("identity", "mirror")
    for augment in [("crop",), ("cutout",), ("mixup",), ("cutmix",), ("flip", "crop")]:
        assert views_of(augment) is None
    with pytest.raises(ValueError, match=r"Known:"):
        views_of(("rotate",))


def test_identity_and_mirror():
    images, _ = batch_of("uint8")
    np.testing.assert_array_equal(apply_view(images, "identity"), images)
    np.testing.assert_array_equal(apply_view(images, "mirror"), images[:, :, ::-1])


def test_shift_moves_down_and_right_and_reflects():
    row = np.array([10, 20, 30, 40], np.uint8)
    images = np.tile(row[None, None, :, None], (1, 4, 1, 1))
    assert apply_view(images, "shift_0_1")[0, 0, :, 0].tolist() == [20, 10, 20, 30]
    assert apply_view(images, "shift_0_-2")[0, 0, :, 0].tolist() == [30, 40, 30, 20]
    turned = images.swapaxes(1, 2)
    assert apply_view(turned, "shift_1_0")[0, :, 0, 0].tolist() == [20, 10, 20, 30]
    np.testing.assert_array_equal(apply_view(turned, "shift_0_3"), turned)


@pytest.mark.parametrize(("down", "right"), [(-2, 1), (4, -4), (0, 3), (7, 7)])
def test_shift_is_a_window_of_the_reflected_image(down, right):
    images, _ = batch_of("uint8", size=8)
    padded = np.pad(images, [(0, 0), (7, 7), (7, 7), (0, 0)], mode="reflect")
    expected = padded[:, 7 - down : 15 - down, 7 - right : 15 - right]
    shifted = apply_view(images, f"shift_{down}_{right}")
    np.testing.assert_array_equal(shifted, expected)
    assert shifted.dtype == np.uint8


@pytest.mark.parametrize(
    "name", ["", "flip", "shift", "shift_1", "shift_+1_2", "shift_01_2", "shift_-0_1", "shift_0_0"]
)
def test_an_unknown_view_lists_the_known_and_what_came(name):
    with pytest.raises(ValueError, match=rf"Known: identity, mirror, shift_.*Received: {name!r}".replace("+", r"\+")):
        find_view(name)


def test_a_shift_of_the_whole_image_is_refused():
    images, _ = batch_of("uint8", size=8)
    with pytest.raises(ValueError, match=r"8 x 8.*Received: shift_0_8"):
        apply_view(images, "shift_0_8")
