"""An image becomes the model's input: as in training where it is enlarged, smoothed where it shrinks; arrays too."""

import numpy as np
import pytest
from image_files import encoded, photograph
from PIL import Image

from inference.images import RESIZE_MODES, ImageError, decode, from_array, resize
from training.data import pipeline


@pytest.mark.parametrize("how", RESIZE_MODES)
@pytest.mark.parametrize("size", [32, 96, 160, 224])
def test_an_enlarged_image_is_what_training_saw(size, how):
    random = np.random.default_rng(size)
    for image in (random.integers(0, 256, (32, 32, 3), dtype=np.uint8), np.asarray(photograph(32, 32))):
        fitted = resize(Image.fromarray(image), size, how)
        assert fitted.shape == (size, size, 3) and fitted.dtype == np.float32
        np.testing.assert_allclose(fitted, np.asarray(pipeline.resize(image[None], size))[0], atol=1e-3)


def test_an_image_of_the_size_is_unchanged():
    image = photograph(32, 32)
    np.testing.assert_array_equal(resize(image, 32), np.asarray(image))


@pytest.mark.parametrize("size", [8, 60, 64, 200])
@pytest.mark.parametrize("scale", [1, 5], ids=["small", "large"])
def test_the_square_in_the_middle_is_what_is_seen(size, scale):
    image = np.zeros((60 * scale, 100 * scale, 3), np.uint8)
    image[:, : 20 * scale] = image[:, 80 * scale :] = (255, 0, 0)  # what is cut off may not bleed into the square
    image[:, 20 * scale : 80 * scale] = (0, 100, 200)
    for wide in (image, image.swapaxes(0, 1)):
        fitted = resize(Image.fromarray(np.ascontiguousarray(wide)), size, "bilinear")
        np.testing.assert_allclose(fitted, np.broadcast_to((0, 100, 200), (size, size, 3)), atol=1e-3)


@pytest.mark.parametrize("side", [331, 640, 1000, 2003])
def test_a_shrunk_image_is_smoothed_and_keeps_its_geometry(side):
    ramp = np.linspace(0, 255, side)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 127), axis=-1)  # rows in red, columns in green
    fitted = resize(Image.fromarray(image.round().astype(np.uint8)), 64, "bilinear")
    centres = (np.arange(64) + 0.5) / 64 * 255
    inside = slice(2, -2)  # at the rim the filter has only one side to average
    np.testing.assert_allclose(fitted[inside, 32, 0], centres[inside], atol=1)
    np.testing.assert_allclose(fitted[32, inside, 1], centres[inside], atol=1)
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[::2] = 255
    smooth = resize(Image.fromarray(stripes), 64, "bilinear")
    assert np.abs(smooth - 127.5).max() < 30, "stripes of one pixel become grey, not a pattern"


def test_shrinking_by_blocks_is_as_good_as_shrinking_at_once():
    image = photograph(1203, 1203)
    at_once = np.asarray(image.resize((96, 96), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(resize(image, 96, "bilinear") - at_once).max() < 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (3, 2), (97, 13)])
@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("how", RESIZE_MODES)
def test_any_shape_fits(shape, size, how):
    fitted = resize(Image.new("RGB", shape, (10, 20, 30)), size, how)
    assert fitted.shape == (size, size, 3)
    np.testing.assert_allclose(fitted, np.broadcast_to((10, 20, 30), fitted.shape), atol=1e-3)


def test_an_unknown_way_to_fit_names_the_known_ones():
    with pytest.raises(
        ValueError, match="resize_mode must be one of thumbnail, bilinear. Received: resize_mode='nearest'"
    ):
        resize(Image.new("RGB", (4, 4)), 4, "nearest")


@pytest.mark.parametrize("size", [32, 96, 160])
@pytest.mark.parametrize("shape", [(640, 360), (360, 640), (480, 480)])
def test_a_thumbnail_shows_no_more_than_training_did(size, shape):
    photo = photograph(*shape)
    middle = photo.crop({(640, 360): (80, 0, 560, 360), (360, 640): (0, 80, 360, 560)}.get(shape))  # 480² = 640 · 360
    small = np.asarray(middle.resize((32, 32), Image.Resampling.BOX))
    expected = np.asarray(pipeline.resize(small[None], size))[0]
    np.testing.assert_allclose(resize(photo, size), expected, atol=1e-3)


@pytest.mark.parametrize("side", [8, 20, 32])
def test_a_thumbnail_of_a_small_image_is_the_image(side):
    image = photograph(side, side)
    np.testing.assert_array_equal(resize(image, 96), resize(image, 96, "bilinear"))


def test_a_thumbnail_of_an_image_that_is_small_one_way_squeezes_the_other():
    image = photograph(50, 18)
    fitted = resize(image, 32)
    middle = image.crop((10, 0, 40, 18))  # 30² = 50 · 18
    expected = np.asarray(middle.resize((32, 32), Image.Resampling.BILINEAR), np.float32)
    np.testing.assert_allclose(fitted, expected, atol=1.01)  # as bytes, Pillow rounds between its two passes


def test_a_thumbnail_needs_the_resolution():
    with pytest.raises(ValueError, match="needs the resolution"):
        resize(Image.new("RGB", (4, 4)), 4, resolution=None)


@pytest.mark.parametrize(
    ("hint", "size"), [(None, (1600, 1200)), (600, (1600, 1200)), (300, (800, 600)), (96, (400, 300)), (10, (200, 150))]
)
def test_a_jpeg_is_decoded_no_larger_than_it_is_needed(hint, size):
    data = encoded(photograph(1600, 1200), "JPEG", quality=90)
    assert decode(data, size_hint=hint).size == size


@pytest.mark.parametrize("how", RESIZE_MODES)
@pytest.mark.parametrize("size", [32, 96, 160])
def test_a_jpeg_decoded_smaller_looks_the_same(size, how):
    needed = 32 if how == "thumbnail" else size
    detailed = Image.blend(photograph(1600, 1200), Image.effect_noise((1600, 1200), 60).convert("RGB"), 0.3)
    data = encoded(detailed, "JPEG", quality=90)
    difference = np.abs(resize(decode(data, size_hint=needed), size, how) - resize(decode(data), size, how))
    assert difference.mean() < 1
    assert difference.max() < 8


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "BMP"])
def test_other_formats_ignore_the_hint(file_format):
    assert decode(encoded(photograph(400, 300), file_format), size_hint=10).size == (400, 300)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_arrays_of_numbers_from_0_to_255_are_images(dtype):
    array = np.array([[[0, 127, 255]]], dtype)
    assert from_array(array).getpixel((0, 0)) == (0, 127, 255)


def test_arrays_of_one_three_or_four_channels_are_images():
    grey = np.array([[0, 200]], np.uint8)
    for array in (grey, grey[..., None]):
        assert np.asarray(from_array(array)).tolist() == [[[0] * 3, [200] * 3]]
    alpha = np.array([[[255, 0, 0, 0], [255, 0, 0, 255]]], np.uint8)
    assert np.asarray(from_array(alpha)).tolist() == [[[255, 255, 255], [255, 0, 0]]]
    assert from_array(np.zeros((4, 6, 3), np.uint8)[:, ::-1]).size == (6, 4)


def test_fractions_are_rounded():
    assert from_array(np.full((1, 1), 99.6)).getpixel((0, 0)) == (100, 100, 100)


@pytest.mark.parametrize("shape", [(), (3,), (4, 4, 2), (4, 4, 5), (1, 4, 4, 3), (0, 4, 3), (4, 0), (4, 4, 0)])
def test_arrays_of_another_shape_are_refused(shape):
    with pytest.raises(ImageError, match=r"must be \(H, W\).*Received: \("):
        from_array(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("value", [-1, 256, np.nan, np.inf, 1j, True, "a", None])
def test_arrays_of_other_values_are_refused(value):
    with pytest.raises(ImageError, match=r"must hold numbers in 0\.\.255"):
        from_array(np.full((2, 2), value))
