import numpy as np
import pytest

from training.data.corruptions import corrupt_batch
from training.data.views import VIEW_SETS, apply_view, find_view, parse_views, views_of


def images_of(size):
    return np.random.default_rng(0).integers(0, 256, (24, size, size, 3), dtype=np.uint8)


def test_views_of_enumerates_what_can_be_enumerated():
    assert views_of(()) == ("identity",)
    assert views_of(("flip",)) == ("identity", "mirror")
    for augment in [("crop",), ("shift",), ("rotate",), ("cutout",), ("mixup",), ("cutmix",), ("flip", "crop")]:
        assert views_of(augment) is None
    with pytest.raises(ValueError, match=r"Known:"):
        views_of(("blur",))


def test_a_set_of_views_has_a_name():
    views = parse_views(" robust ")
    assert views == VIEW_SETS["robust"] and views[0] == "identity" and len(set(views)) == len(views)
    for name in views:
        find_view(name)
    with pytest.raises(ValueError, match="Unknown view"):
        parse_views("identity,robust")


def test_identity_and_mirror():
    images = images_of(32)
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
    images = images_of(8)
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
    images = images_of(8)
    with pytest.raises(ValueError, match=r"8 x 8.*Received: shift_0_8"):
        apply_view(images, "shift_0_8")


def test_views_joined_by_plus_are_one_after_the_other():
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    expected = apply_view(apply_view(images, "mirror"), "shift_1_2")
    np.testing.assert_array_equal(apply_view(images, "mirror+shift_1_2"), expected)
    assert not np.array_equal(expected, apply_view(images, "shift_1_2+mirror"))


@pytest.mark.parametrize("view", VIEW_SETS["robust"])
def test_a_batch_in_which_no_image_shows_a_view(view):
    nothing = apply_view(images_of(16)[:0], view)
    assert (nothing.shape, nothing.dtype) == ((0, 16, 16, 3), np.uint8)


def test_a_corruption_that_keeps_the_size_is_a_view():
    images = images_of(16)
    name = "mirror+pixels_8+jpeg_30"
    np.testing.assert_array_equal(
        apply_view(images, name), corrupt_batch(images[:, :, ::-1].copy(), "pixels_8+jpeg_30")
    )
    parts = [apply_view(images[rows], name) for rows in (slice(0, 5), slice(5, None))]
    np.testing.assert_array_equal(np.concatenate(parts), apply_view(images, name))
    for unfit in ("crop_0.5", "jpeg", "jpeg_1.0"):
        with pytest.raises(ValueError, match=r"Known: identity, mirror, .*jpeg \(1 to 95\), .* sets of views robust"):
            find_view(unfit)
