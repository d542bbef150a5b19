"""What happens to pictures: deterministic, of the stated kind and strength, and refused where it makes no sense."""

import numpy as np
import pytest
from PIL import Image

from training.data.corruptions import KEEPING, KINDS, corrupt_batch, find_corruption

SEVERITY = {
    "jpeg": 30,
    "blur": 1.5,
    "noise": 16,
    "brightness": 0.5,
    "contrast": 0.5,
    "pixelate": 8,
    "pixels": 8,
    "crop": 0.75,
    "corner": 0.75,
    "stretch": 1.5,
    "bars": 1.5,
    "screenshot": 0.25,
    "nearest": 96,
    "bilinear": 96,
    "bicubic": 96,
    "lanczos": 96,
}
SIZES = {"crop": (24, 24), "corner": (24, 24), "stretch": (48, 32), "bars": (48, 32), "screenshot": (48, 56)}


@pytest.fixture
def image():
    smooth = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(smooth).resize((32, 32), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_deterministic_and_of_the_stated_size(kind, image):
    name = f"{kind}_{SEVERITY[kind]}"
    before = np.array(image)
    once, twice = (find_corruption(name)(image) for _ in range(2))
    assert np.array_equal(once, twice) and once.mode == "RGB"
    assert np.array_equal(image, before), "the image that came in stays as it is"
    assert once.size == SIZES.get(kind, (32, 32) if kind in KEEPING else (96, 96))
    if once.size == image.size:
        assert not np.array_equal(once, image)


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        ("jpeg_75", "jpeg_10"),
        ("blur_0.5", "blur_2"),
        ("noise_8", "noise_32"),
        ("brightness_0.75", "brightness_0.25"),
        ("contrast_0.75", "contrast_0.25"),
        ("pixelate_16", "pixelate_4"),
        ("pixels_16", "pixels_4"),
    ],
)
def test_the_severity_is_one(weak, strong, image):
    def distance(name):
        return np.abs(np.asarray(find_corruption(name)(image), float) - np.asarray(image, float)).mean()

    assert 0 < distance(weak) < distance(strong)


def test_the_noise_has_the_stated_deviation_and_differs_by_image():
    grey = [Image.new("RGB", (64, 64), (value,) * 3) for value in (120, 130)]
    first, second = (
        np.asarray(find_corruption("noise_16")(image), float) - value
        for image, value in zip(grey, (120, 130), strict=True)
    )
    assert first.std() == pytest.approx(16, rel=0.05)
    assert not np.array_equal(first, second)


def test_one_after_the_other_and_in_batches(image):
    large = find_corruption("bicubic_224+jpeg_90")(image)
    assert large.size == (224, 224)
    batch = np.stack([np.asarray(image)] * 2)
    changed = corrupt_batch(batch, "pixels_16+jpeg_30")
    assert (changed.shape, changed.dtype) == (batch.shape, np.uint8)
    assert np.array_equal(changed[1], find_corruption("jpeg_30")(find_corruption("pixels_16")(image)))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "jpeg",
        "jpeg_",
        "jpeg_030",
        "jpeg_1.0",
        "jpeg_-3",
        "melt_3",
        "jpeg_30+",
        "blur_0",
        "jpeg_96",
        "jpeg_0.3",
        "pixels_0.4",
        "crop_2",
        "bars_0.5",
    ],
)
def test_an_unknown_name_is_told(name):
    with pytest.raises(ValueError, match=r"Unknown corruption. Known: jpeg \(1 to 95\), .* Received: "):
        find_corruption(name)


def test_a_batch_keeps_its_size(image):
    with pytest.raises(ValueError, match="Only jpeg, .* keep an image's size. Received: 'crop_0.5'"):
        corrupt_batch(np.asarray(image)[None], "jpeg_30+crop_0.5")
