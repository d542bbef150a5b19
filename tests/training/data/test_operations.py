"""The registry of image operations: properties of every operation in each use, and what the fixed ones do."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from training.data.image_batches import image_batches
from training.data.operations import ALIASES, OPERATIONS, USES, known_names
from training.data.transforms import (
    apply_view,
    augment_batch,
    check_augment,
    check_views,
    find_corruption,
    parse_augment,
    parse_views,
    views_of,
)

FIXED = {
    "identity": "identity",
    "flip": "flip",
    "translate": "translate_2_-1",
    "jpeg": "jpeg_30",
    "blur": "blur_1.5",
    "noise": "noise_16",
    "brightness": "brightness_0.5",
    "contrast": "contrast_0.5",
    "pixelate": "pixelate_8",
    "thumbnail": "thumbnail_8",
    "center_crop": "center_crop_0.75",
    "corner": "corner_0.75",
    "stretch": "stretch_1.5",
    "bars": "bars_1.5",
    "screenshot": "screenshot_0.25",
    "nearest": "nearest_96",
    "bilinear": "bilinear_96",
    "bicubic": "bicubic_96",
    "lanczos": "lanczos_96",
}
"""A name of every operation with a fixed form."""
RANDOM = [name for name, operation in OPERATIONS.items() if operation.random]
AUGMENTATIONS = [*RANDOM, *("rotate_30", "cutout_12", "mixup_0.2", "cutmix_2")]
VIEWS = [FIXED[name] for name, operation in OPERATIONS.items() if USES["view"](operation)]


@pytest.fixture(scope="module")
def images():
    """24 images whose neighbouring pixels are alike, as a photograph's are."""
    small = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)) for image in small])


def augment(names, images, labels, seed=(3, 4), *, in_tf_data=False):
    data = images, labels
    if in_tf_data:
        dataset = tf.data.Dataset.from_tensor_slices(data).batch(len(images))
        dataset = dataset.map(lambda *batch: augment_batch(*batch, names, tf.constant(seed)))
        return next(dataset.as_numpy_iterator())
    return [tensor.numpy() for tensor in augment_batch(*map(tf.constant, data), names, tf.constant(seed))]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(images, name, dtype):
    """Same seed, same batch, eagerly and in tf.data; size, dtype, value range and the labels' sum are kept."""
    images, labels = images.astype(dtype), np.eye(10, dtype=np.float32)[np.arange(24) % 10]
    changed, targets = augment((name,), images, labels)
    for other, equal in zip(augment((name,), images, labels, in_tf_data=True), (changed, targets), strict=True):
        np.testing.assert_array_equal(other, equal)
    assert not np.array_equal(changed, augment((name,), images, labels, seed=(3, 5))[0])
    assert not np.array_equal(changed, images)
    assert changed.shape == images.shape and targets.shape == labels.shape
    assert changed.dtype == ("float32" if "mixup" in name else dtype) and targets.dtype == np.float32
    assert images.min() <= changed.min() and changed.max() <= images.max()
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-6)
    assert targets.min() >= 0.0


@pytest.mark.parametrize("name", RANDOM)
def test_augmentations_take_a_single_oblong_image(images, name):
    changed, targets = augment((name,), images[:1, :12], np.eye(10, dtype=np.float32)[:1])
    assert changed.shape == (1, 12, 32, 3)
    np.testing.assert_allclose(targets, np.eye(10)[:1], atol=1e-6)


@pytest.mark.parametrize("view", [*VIEWS, "flip+thumbnail_8+jpeg_30"])
def test_views(images, view):
    """The same images on their own and in a batch, by NumPy and in tf.data; size, dtype and the input are kept."""
    before = images.copy()
    shown = apply_view(images, view)
    np.testing.assert_array_equal(images, before)
    assert shown.shape == images.shape and shown.dtype == np.uint8
    assert np.array_equal(shown, images) == (view == "identity")
    np.testing.assert_array_equal(np.concatenate([apply_view(images[i : i + 1], view) for i in range(24)]), shown)
    options = {"classes": 1, "image_size": 32, "batch_size": 24}
    (batch,) = image_batches(images, np.zeros(24, int), views=(view,), **options).as_numpy_iterator()
    np.testing.assert_array_equal(batch[0], shown)
    empty = apply_view(images[:0], view)
    assert (empty.shape, empty.dtype) == ((0, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("operation", FIXED)
def test_corruptions(images, operation):
    """An RGB image again, always the same one, of the size that is stated."""
    before, image = images[0].copy(), Image.fromarray(images[0])
    corrupt = find_corruption(FIXED[operation])
    once, twice = corrupt(image), corrupt(image)
    assert once.mode == "RGB"
    np.testing.assert_array_equal(once, twice)
    np.testing.assert_array_equal(image, before)
    sizes = {"center_crop": (24, 24), "corner": (24, 24), "stretch": (48, 32), "bars": (48, 32), "screenshot": (48, 56)}
    resized = sizes.get(operation, (96, 96))
    assert once.size == ((32, 32) if OPERATIONS[operation].keeps_size else resized)


def test_every_fixed_operation_is_tested():
    assert set(FIXED) == {name for name, operation in OPERATIONS.items() if operation.fixed}


SUMS = {
    "flip": "5881e0228f7c57a2",
    "crop": "74abc1b6d497e71d",
    "translate": "064462364ca221f4",
    "shift": "5755276c5612d21f",
    "rotate": "9106d8ed0e214886",
    "cutout": "951b61b2e8e71125",
    "cutout_12": "20e1230a4b5fdd84",
    "mixup": "8e42712f03292cd2",
    "cutmix": "a2270b1e3bb86737",
}
"""Checksums of a batch by seed (0, 1). If one changes, recipes are no longer reproducible."""


@pytest.mark.parametrize("name", SUMS)
def test_a_seed_always_draws_the_same(name):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    changed, targets = augment((name,), images, np.eye(8, dtype=np.float32), seed=(0, 1))
    content = changed.round().astype(np.uint8).tobytes() + (1000 * targets).round().astype(np.uint16).tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == SUMS[name]


def test_augmentations_chain_and_draw_independently(images):
    labels = np.eye(24, dtype=np.float32)
    changed, targets = augment(tuple(AUGMENTATIONS), images, labels)
    assert changed.shape == images.shape
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-6)
    flipped, _ = augment(("flip",), images, labels)
    erased, _ = augment(("cutout", "flip"), images, labels)
    assert (flipped == erased).mean(axis=(1, 2, 3)).min() > 0.7  # the same images are flipped, whatever else is on
    np.testing.assert_array_equal(augment((), images, labels)[0], images)


@pytest.mark.parametrize(
    ("old", "new"), [("mirror", "flip"), ("shift_2_-1", "translate_2_-1"), ("pixels_8", "thumbnail_8")]
)
def test_old_names_are_read(images, old, new):
    assert check_views((old, f"{old}+jpeg_10")) == (new, f"{new}+jpeg_10")
    np.testing.assert_array_equal(apply_view(images, old), apply_view(images, new))


def test_an_alias_is_no_name_of_another_fixed_operation(images):
    assert not set(ALIASES) & set(FIXED)
    image = Image.fromarray(images[0])
    np.testing.assert_array_equal(find_corruption("crop_0.75")(image), find_corruption("center_crop_0.75")(image))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        (" none ", ()),
        ("crop , flip,cutout_12", ("crop", "flip", "cutout_12")),
        (",".join(AUGMENTATIONS), tuple(AUGMENTATIONS)),
    ],
)
def test_parse_augment(text, names):
    assert parse_augment(text) == names


def test_parse_views_and_duplicates():
    with pytest.raises(ValueError, match=r"\('flip', 'flip'\)"):
        parse_augment("flip,flip")
    assert parse_views("") == parse_views(" none ") == ()
    assert parse_views(" identity, mirror ") == ("identity", "flip")
    with pytest.raises(ValueError, match="robust"):
        parse_views("identity,robust")


@pytest.mark.parametrize(
    ("parse", "use", "names"),
    [
        (
            lambda name: check_augment((name,)),
            "augmentation",
            "|blur_1|none|Flip|mirror|translate_1_1|mixup_0|cutout_1.5|cutout_12_12",
        ),
        (
            lambda name: apply_view(np.zeros((1, 8, 8, 3), np.uint8), name),
            "view",
            "|shift|shift_1|translate_+1_2|translate_01_2|translate_-0_1|translate_0.5_1|jpeg|jpeg_1.0"
            "|cutout|crop_0.5|bicubic_8|flip+|flip_1",
        ),
        (
            find_corruption,
            "corruption",
            "|jpeg|jpeg_|jpeg_030|jpeg_1.0|jpeg_-3|melt_3|jpeg_30+|blur_0|jpeg_96|rotate|jpeg_0.3|pixels_0.4|crop_2"
            "|bars_0.5|blur_nan|blur_1e0",
        ),
    ],
)
def test_an_unknown_name_lists_the_known_ones_of_its_use(parse, use, names):
    for name in names.split("|"):
        with pytest.raises(ValueError, match=r"Received: ") as raised:
            parse(name)
        assert known_names(use) in str(raised.value)


def test_views_of_enumerates_what_can_be_enumerated():
    assert views_of(()) == ("identity",)
    assert views_of(("flip",)) == ("identity", "flip")
    for name in RANDOM[1:]:
        assert views_of((name,)) is None and views_of(("flip", name)) is None
    with pytest.raises(ValueError, match="Known"):
        views_of(("blur",))


@pytest.mark.parametrize(("down", "right"), [(-2, 1), (4, -4), (0, 3), (7, 7)])
def test_translate_moves_down_and_right_and_reflects(images, down, right):
    images = images[:, :8, :8]
    padded = np.pad(images, [(0, 0), (7, 7), (7, 7), (0, 0)], mode="reflect")
    expected = padded[:, 7 - down : 15 - down, 7 - right : 15 - right]
    np.testing.assert_array_equal(apply_view(images, f"translate_{down}_{right}"), expected)


def test_a_translation_by_the_whole_image_is_refused(images):
    with pytest.raises(ValueError, match="translate_0_32"):
        apply_view(images, "translate_0_32")


def test_a_chain_runs_from_left_to_right(images):
    expected = apply_view(images[:, :, ::-1], "translate_1_2")
    np.testing.assert_array_equal(apply_view(images, "flip+translate_1_2"), expected)
    assert not np.array_equal(expected, apply_view(images, "translate_1_2+flip"))
    assert find_corruption("bicubic_224+jpeg_90")(Image.fromarray(images[0])).size == (224, 224)


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        ("jpeg_75", "jpeg_10"),
        ("blur_0.5", "blur_2"),
        ("noise_8", "noise_32"),
        ("brightness_0.75", "brightness_0.25"),
        ("contrast_0.75", "contrast_0.25"),
        ("pixelate_16", "pixelate_4"),
        ("thumbnail_16", "thumbnail_4"),
    ],
)
def test_the_parameter_is_a_severity(images, weak, strong):
    image = Image.fromarray(images[0])

    def distance(name):
        return np.abs(np.asarray(find_corruption(name)(image), float) - np.asarray(image, float)).mean()

    assert 0 < distance(weak) < distance(strong)


def test_the_noise_has_the_stated_deviation_and_differs_by_image():
    first, second = (
        np.asarray(find_corruption("noise_16")(Image.new("RGB", (64, 64), (grey,) * 3)), float) - grey
        for grey in (120, 130)
    )
    assert first.std() == pytest.approx(16, rel=0.05)
    assert not np.array_equal(first, second)
