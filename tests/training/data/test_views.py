"""What fixed operations do: translations, and corruptions of the stated strength."""

import numpy as np
import pytest
from PIL import Image

from training.data.transforms import apply_view, find_corruption


def images_of(size):
    return np.random.default_rng(0).integers(0, 256, (24, size, size, 3), np.uint8)


def test_flip_mirrors_left_to_right():
    np.testing.assert_array_equal(apply_view(images_of(32), "flip"), images_of(32)[:, :, ::-1])


@pytest.mark.parametrize(("down", "right"), [(-2, 1), (4, -4), (0, 3), (7, 7)])
def test_translate_moves_down_and_right_and_reflects(down, right):
    images = images_of(8)
    padded = np.pad(images, [(0, 0), (7, 7), (7, 7), (0, 0)], mode="reflect")
    expected = padded[:, 7 - down : 15 - down, 7 - right : 15 - right]
    np.testing.assert_array_equal(apply_view(images, f"translate_{down}_{right}"), expected)


def test_a_translation_by_the_whole_image_is_refused():
    with pytest.raises(ValueError, match="translate_0_8"):
        apply_view(images_of(8), "translate_0_8")


def test_a_chain_runs_from_left_to_right():
    images = images_of(6)
    expected = apply_view(apply_view(images, "flip"), "translate_1_2")
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
def test_the_parameter_is_a_severity(weak, strong):
    image = Image.fromarray(images_of(8)[0]).resize((32, 32), Image.Resampling.BICUBIC)

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
