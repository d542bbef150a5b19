"""Resize modes: equal to training's resize where an image is enlarged, antialiased where it shrinks."""

import numpy as np
import pytest
from image_files import encoded, photograph
from PIL import Image

from inference.decode import decode
from inference.resize import RESIZE_MODES, resize
from training.data import image_batches


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [32, 96, 160, 224])
def test_an_enlarged_image_equals_trainings(size, mode):
    random = np.random.default_rng(size)
    for image in (random.integers(0, 256, (32, 32, 3), dtype=np.uint8), np.asarray(photograph(32, 32))):
        resized = resize(Image.fromarray(image), size, mode)
        assert resized.shape == (size, size, 3) and resized.dtype == np.float32
        np.testing.assert_allclose(resized, np.asarray(image_batches.resize(image[None], size))[0], atol=1e-3)


@pytest.mark.parametrize("size", [8, 60, 64, 200])
@pytest.mark.parametrize("scale", [1, 5], ids=["small", "large"])
def test_bilinear_takes_the_centred_square(size, scale):
    image = np.zeros((60 * scale, 100 * scale, 3), np.uint8)
    image[:, : 20 * scale] = image[:, 80 * scale :] = (255, 0, 0)  # cropped; must not bleed into the square
    image[:, 20 * scale : 80 * scale] = (0, 100, 200)
    for oriented in (image, image.swapaxes(0, 1)):
        resized = resize(Image.fromarray(np.ascontiguousarray(oriented)), size, "bilinear")
        np.testing.assert_allclose(resized, np.broadcast_to((0, 100, 200), (size, size, 3)), atol=1e-3)


@pytest.mark.parametrize("side", [331, 640, 1000, 2003])
def test_bilinear_shrinks_with_antialiasing_and_without_a_shift(side):
    ramp = np.linspace(0, 255, side)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 127), axis=-1)  # rows in red, columns in green
    resized = resize(Image.fromarray(image.round().astype(np.uint8)), 64, "bilinear")
    centres = (np.arange(64) + 0.5) / 64 * 255
    inside = slice(2, -2)  # at the border the filter has one side only
    np.testing.assert_allclose(resized[inside, 32, 0], centres[inside], atol=1)
    np.testing.assert_allclose(resized[32, inside, 1], centres[inside], atol=1)
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[::2] = 255
    smooth = resize(Image.fromarray(stripes), 64, "bilinear")
    assert np.abs(smooth - 127.5).max() < 30, "stripes of one pixel become grey, without aliasing"


def test_bilinear_by_blocks_is_as_good_as_in_one_step():
    image = photograph(1203, 1203)
    one_step = np.asarray(image.resize((96, 96), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(resize(image, 96, "bilinear") - one_step).max() < 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (3, 2), (97, 13)])
@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_any_shape_is_accepted(shape, size, mode):
    resized = resize(Image.new("RGB", shape, (10, 20, 30)), size, mode)
    np.testing.assert_allclose(resized, np.broadcast_to((10, 20, 30), (size, size, 3)), atol=1e-3)


@pytest.mark.parametrize("size", [32, 96, 160])
@pytest.mark.parametrize("shape", [(640, 360), (360, 640), (480, 480)])
def test_a_thumbnail_is_an_enlarged_low_resolution_image(size, shape):
    photo = photograph(*shape)
    centre = photo.crop({(640, 360): (80, 0, 560, 360), (360, 640): (0, 80, 360, 560)}.get(shape))  # 480² = 640 · 360
    small = np.asarray(centre.resize((32, 32), Image.Resampling.BOX))
    expected = np.asarray(image_batches.resize(small[None], size))[0]
    np.testing.assert_allclose(resize(photo, size), expected, atol=1e-3)


@pytest.mark.parametrize("side", [8, 20, 32])
def test_a_thumbnail_of_a_small_image_keeps_its_resolution(side):
    image = photograph(side, side)
    np.testing.assert_array_equal(resize(image, 96), resize(image, 96, "bilinear"))


def test_a_thumbnail_of_an_image_with_one_short_side_squeezes_the_other():
    image = photograph(50, 18)
    centre = image.crop((10, 0, 40, 18))  # 30² = 50 · 18
    expected = np.asarray(centre.resize((32, 32), Image.Resampling.BILINEAR), np.float32)
    np.testing.assert_allclose(resize(image, 32), expected, atol=1.01)  # Pillow rounds between its two passes on bytes


def test_a_wrong_mode_or_resolution_is_an_error():
    image = Image.new("RGB", (4, 4))
    with pytest.raises(ValueError, match="resize_mode='nearest'"):
        resize(image, 4, "nearest")
    with pytest.raises(ValueError, match="resolution"):
        resize(image, 4, resolution=None)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [32, 96, 160])
def test_a_jpeg_decoded_at_reduced_size_gives_the_same_input(size, mode):
    needed = 32 if mode == "thumbnail" else size
    detailed = Image.blend(photograph(1600, 1200), Image.effect_noise((1600, 1200), 60).convert("RGB"), 0.3)
    data = encoded(detailed, "JPEG", quality=90)
    difference = np.abs(resize(decode(data, size_hint=needed), size, mode) - resize(decode(data), size, mode))
    assert difference.mean() < 1
    assert difference.max() < 8
