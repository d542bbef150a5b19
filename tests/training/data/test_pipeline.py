import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.data.augment import AUGMENTATIONS
from training.data.pipeline import FeatureBatches, epoch_order, epoch_turns, epoch_views, image_batches, resize
from training.data.views import apply_view

CLASSES = 10
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8), rng.integers(0, CLASSES, 50)


def batches(data, **changes):
    options = {"classes": CLASSES, "image_size": 32, "batch_size": 16, "seed": 1} | changes
    return list(image_batches(*data, **options).as_numpy_iterator())


def same(left, right):
    return len(left) == len(right) and all(
        np.array_equal(a, b) for one, two in zip(left, right, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_order_is_a_permutation_that_depends_on_seed_and_epoch():
    order = epoch_order(1000, 1, 0)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    np.testing.assert_array_equal(order, epoch_order(1000, 1, 0))
    assert not np.array_equal(order, epoch_order(1000, 1, 1))
    assert not np.array_equal(order, epoch_order(1000, 2, 0))
    assert not np.array_equal(epoch_order(1000, None, 0), epoch_order(1000, None, 0))
    np.testing.assert_array_equal(epoch_order(5, 3, 2), np.random.default_rng([3, 2]).permutation(5))


def test_each_image_shows_its_views_in_turn_from_a_random_start():
    turns = np.stack([epoch_turns(9000, 3, 1, epoch) for epoch in range(4)])
    np.testing.assert_array_equal(np.diff(turns, axis=0) % 3, 1)
    np.testing.assert_allclose(np.bincount(turns[0]), 3000, atol=200)
    assert not np.array_equal(turns[0], epoch_turns(9000, 3, 2, 0))


def test_image_batches_show_the_view_whose_turn_it_is():
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    names, order = ("identity", "mirror", "mirror+shift_1_-1"), epoch_order(20, 3, 2)
    options = {"classes": 2, "image_size": 8, "batch_size": 20, "seed": 3, "epoch": 2, "views": names}
    shown = np.asarray(next(iter(image_batches(images, np.zeros(20, int), shuffle=True, **options)))[0])
    turns = epoch_turns(20, 3, 3, 2)
    assert set(turns) == {0, 1, 2}
    for image, row in zip(shown, order, strict=True):
        np.testing.assert_array_equal(image, apply_view(images[row : row + 1], names[turns[row]])[0])
    plain = np.asarray(next(iter(image_batches(images, np.zeros(20, int), **options)))[0])
    np.testing.assert_array_equal(plain, images)


def test_views_are_drawn_uniformly_by_seed_and_epoch():
    drawn = epoch_views(9000, 3, 1, 0)
    assert np.bincount(drawn).min() > 2800
    np.testing.assert_array_equal(drawn, epoch_views(9000, 3, 1, 0))
    assert not np.array_equal(drawn, epoch_views(9000, 3, 1, 1))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_resize_is_bilinear_with_half_pixel_centres(data, dtype):
    images = data[0].astype(dtype)
    resized = resize(images, 64).numpy()
    assert resized.dtype == np.float32
    assert resized.shape == (50, 64, 64, 3)
    exact = images.astype(np.float32)
    np.testing.assert_allclose(resized[:, 0, 0], exact[:, 0, 0])  # beyond the outermost centres the border goes on
    np.testing.assert_allclose(resized[:, 0, 1], 0.75 * exact[:, 0, 0] + 0.25 * exact[:, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(resize(images, 16).numpy()[:, 0, 0], exact[:, :2, :2].mean(axis=(1, 2)), rtol=1e-5)


def test_resize_to_the_same_size_only_casts(data):
    resized = resize(data[0], 32)
    assert resized.dtype == tf.float32
    np.testing.assert_array_equal(resized.numpy(), data[0])


def test_plain_batches_are_the_data_in_order(data):
    dataset = image_batches(*data, classes=CLASSES, image_size=32, batch_size=16)
    assert len(dataset) == 4
    assert dataset.element_spec[0].shape.as_list() == [None, 32, 32, 3]
    assert dataset.element_spec[1].shape.as_list() == [None, CLASSES]
    got = list(dataset.as_numpy_iterator())
    assert [len(images) for images, _ in got] == [16, 16, 16, 2]
    images, labels = (np.concatenate(part) for part in zip(*got, strict=True))
    assert images.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(images, data[0])
    np.testing.assert_array_equal(labels, np.eye(CLASSES)[data[1]])


def test_batches_come_at_the_asked_size_after_augmentation_at_the_native_one(data):
    got = batches(data, image_size=80, augment=("crop", "mixup"), shuffle=True)
    native = batches(data, augment=("crop", "mixup"), shuffle=True)
    for (images, labels), (small, small_labels) in zip(got, native, strict=True):
        np.testing.assert_array_equal(images, resize(small, 80).numpy())
        np.testing.assert_array_equal(labels, small_labels)
        assert images.min() >= 0
        assert images.max() <= 255


def test_shuffled_batches_follow_epoch_order(data):
    labels = np.concatenate([labels for _, labels in batches(data, shuffle=True, epoch=3)])
    np.testing.assert_array_equal(labels.argmax(axis=1), data[1][epoch_order(50, 1, 3)])


@pytest.mark.parametrize("augment", [(), *((name,) for name in AUGMENTATIONS), tuple(AUGMENTATIONS)], ids="+".join)
def test_same_seed_same_batches(data, augment):
    first = batches(data, augment=augment, shuffle=True)
    assert same(first, batches(data, augment=augment, shuffle=True))
    assert not same(first, batches(data, augment=augment, shuffle=True, seed=2))
    assert not same(first, batches(data, augment=augment, shuffle=True, epoch=1))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_changes_with_batch_epoch_and_seed(data, name):
    one = data[0][:1].repeat(48, axis=0), np.arange(48) % CLASSES
    first, second, third = batches(one, augment=(name,), batch_size=16)
    assert not same([first], [second])
    assert not same([second], [third])
    assert not same([first], batches(one, augment=(name,), epoch=1)[:1])
    assert not same([first], batches(one, augment=(name,), seed=2)[:1])


def test_iterating_again_repeats_the_epoch_even_without_a_seed(data):
    dataset = image_batches(
        *data, classes=CLASSES, image_size=32, batch_size=16, augment=("flip", "cutmix"), shuffle=True
    )
    assert same(list(dataset.as_numpy_iterator()), list(dataset.as_numpy_iterator()))


def test_images_are_read_in_place(data, tmp_path):
    np.save(tmp_path / "images.npy", data[0])
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert same(batches((mapped, data[1].astype(np.uint8)), shuffle=True), batches(data, shuffle=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": ("blur",)}, r"Known: flip, .*\('blur',\)"),
        ({"batch_size": 0}, r"batch_size=0"),
        ({"image_size": 0}, r"size=0"),
        ({"classes": 5}, r"0\.\.4.*\.\.9"),
        ({"seed": -3}, r"seed=-3"),
    ],
)
def test_image_batches_refuses_nonsense(data, changes, message):
    with pytest.raises(ValueError, match=message):
        batches(data, **changes)


def test_image_batches_refuses_arrays_that_do_not_fit(data):
    with pytest.raises(ValueError, match=r"uint8.*float32"):
        batches((data[0].astype(np.float32), data[1]))
    with pytest.raises(ValueError, match=r"50 images.*\(49,\)"):
        batches((data[0], data[1][:49]))
    with pytest.raises(ValueError, match=r"integers.*float64"):
        batches((data[0], data[1] / 1))


N = 60


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Two views of two tensors, float16, memory-mapped: each value is 1000 * view + 100 * tensor + image."""
    folder = tmp_path_factory.mktemp("features")
    result = []
    for view in range(2):
        result.append([])
        for tensor, shape in enumerate([(N, 4, 4, 3), (N, 5)]):
            image = np.arange(N).reshape(-1, *[1] * (len(shape) - 1))
            path = folder / f"{view}-{tensor}.npy"
            np.save(path, np.broadcast_to(1000 * view + 100 * tensor + image, shape).astype(np.float16))
            result[-1].append(np.load(path, mmap_mode="r"))
    return result


LABELS = np.arange(N) % CLASSES
ROWS = np.arange(5, N)


def feature_batches(views, **changes):
    options = {"classes": CLASSES, "batch_size": 16, "seed": 1, "shuffle": True} | changes
    return FeatureBatches(views, ROWS, LABELS, **options)


def unrolled(batches):
    """Return (image numbers, view numbers) in the order shown, checked against the other tensor and the targets."""
    images, views = [], []
    for (large, small), targets in batches:
        assert large.dtype == small.dtype == targets.dtype == np.float32
        assert large.shape[1:] == (4, 4, 3)
        assert small.shape[1:] == (5,)
        assert (large == large[:, :1, :1, :1]).all()
        np.testing.assert_array_equal(small[:, 0] - 100, large[:, 0, 0, 0])
        np.testing.assert_array_equal(targets, np.eye(CLASSES)[LABELS[(large[:, 0, 0, 0] % 100).astype(int)]])
        images.extend(large[:, 0, 0, 0] % 100)
        views.extend(large[:, 0, 0, 0] // 1000)
    return np.array(images, int), np.array(views, int)


def test_feature_batches_in_order_show_the_first_view(views):
    plain = feature_batches(views, shuffle=False)
    assert len(plain) == 4
    assert [len(targets) for _, targets in plain] == [16, 16, 16, 7]
    images, drawn = unrolled(plain)
    np.testing.assert_array_equal(images, ROWS)
    assert not drawn.any()


def test_feature_batches_show_each_row_once_in_the_order_of_the_pixels(views):
    images, drawn = unrolled(feature_batches(views, epoch=2))
    order = epoch_order(len(ROWS), 1, 2)
    np.testing.assert_array_equal(images, ROWS[order])
    np.testing.assert_array_equal(drawn, epoch_views(len(ROWS), 2, 1, 2)[order])
    assert 15 < drawn.sum() < 40


def test_feature_batches_show_views_in_turn(views):
    order = epoch_order(len(ROWS), 1, 2)
    _, shown = unrolled(feature_batches(views, epoch=2, turns=True))
    np.testing.assert_array_equal(shown, epoch_turns(len(ROWS), 2, 1, 2)[order])


def test_mixup_blends_features_and_targets_alike():
    views = [[np.eye(N, dtype=np.float32)]]  # a row's features say which image it is
    options = {"classes": CLASSES, "batch_size": 8, "seed": 1, "shuffle": True}
    mixed = FeatureBatches(views, ROWS, LABELS, mixup=0.4, **options)
    for index in range(len(mixed)):
        features, targets = mixed[index]
        np.testing.assert_allclose(features.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(targets, features @ np.eye(CLASSES)[LABELS], atol=1e-6)
        np.testing.assert_array_equal(mixed[index][0], features)
    assert any((mixed[index][0].max(axis=1) < 0.99).any() for index in range(len(mixed)))
    plain = FeatureBatches(views, ROWS, LABELS, **options)
    assert not np.array_equal(plain[0][0], mixed[0][0])


def test_feature_batches_same_seed_same_batches(views):
    first = unrolled(feature_batches(views))
    for changes, equal in [({}, True), ({"seed": 2}, False), ({"epoch": 1}, False), ({"seed": None}, False)]:
        assert np.array_equal(first, unrolled(feature_batches(views, **changes))) == equal


def test_set_epoch_is_as_good_as_building_anew(views):
    moving = feature_batches(views)
    moving.set_epoch(4)
    np.testing.assert_array_equal(unrolled(moving), unrolled(feature_batches(views, epoch=4)))


def test_float32_features_come_back_bit_for_bit():
    features = np.random.default_rng(0).standard_normal((N, 7)).astype(np.float32)
    # One tensor comes bare, not as a tuple of one.
    shown = np.concatenate([batch for batch, _ in feature_batches([[features]], shuffle=False)])
    np.testing.assert_array_equal(shown, features[ROWS])


def small_model():
    inputs = keras.Input((5,))
    outputs = keras.layers.Dense(CLASSES, activation="softmax", kernel_initializer="zeros")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy")
    return model


@pytest.mark.parametrize("fits", [1, 2])
def test_fit_trains_on_the_batches_as_they_are_listed(fits):
    """One fit for both epochs, with a callback that sets the epoch, and one fit for each: like stepping by hand."""
    features = np.random.default_rng(0).standard_normal((2, N, 5)).astype(np.float16)
    batches = feature_batches([[view] for view in features])
    by_hand, fitted = small_model(), small_model()
    for epoch in range(2):
        batches.set_epoch(epoch)
        for features, targets in batches:
            by_hand.train_on_batch(features, targets)
    if fits == 2:
        for epoch in range(2):
            batches.set_epoch(epoch)
            fitted.fit(batches, shuffle=False, verbose=0)
    else:
        callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.set_epoch(epoch))
        fitted.fit(batches, shuffle=False, epochs=2, callbacks=[callback], verbose=0)
    np.testing.assert_allclose(fitted.get_weights()[0], by_hand.get_weights()[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": []}, r"views must hold"),
        ({"views": [[np.zeros((N, 3))], [np.zeros((N, 4))]]}, r"same shapes"),
        ({"views": [[np.zeros((N, 3)), np.zeros((N + 1, 3))]]}, r"same number of images"),
        ({"rows": np.array([0, N])}, rf"0\.\.{N - 1}. Received: 0\.\.{N}"),
        ({"rows": np.array([], int)}, r"n at least 1"),
        ({"rows": np.ones(N, bool)}, r"integers.*bool"),
        ({"labels": LABELS[ROWS]}, rf"{N} images.*\(55,\)"),
        ({"labels": LABELS + 1}, r"0\.\.9. Received: 1\.\.10"),
        ({"batch_size": 0}, r"batch_size=0"),
    ],
)
def test_feature_batches_refuse_nonsense(changes, message):
    arguments = {"views": [[np.zeros((N, 3))]], "rows": ROWS, "labels": LABELS, "classes": CLASSES, "batch_size": 8}
    with pytest.raises(ValueError, match=message):
        FeatureBatches(**(arguments | changes))


def test_a_batch_beyond_the_last_is_an_index_error(views):
    with pytest.raises(IndexError, match=r"4 batches. Received: index=4"):
        feature_batches(views)[4]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_feature_batches_train_under_other_backends(backend):
    pytest.importorskip(backend)
    script = """
import keras, numpy as np
from training.data.pipeline import FeatureBatches
features = [np.random.default_rng(0).standard_normal((40, n)).astype("float16") for n in (5, 3)]
batches = FeatureBatches([features], np.arange(30), np.arange(40) % 4, classes=4, batch_size=8, seed=1, shuffle=True)
inputs = [keras.Input((5,)), keras.Input((3,))]
model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(keras.layers.Concatenate()(inputs)))
model.compile("sgd", "categorical_crossentropy")
assert np.isfinite(model.fit(batches, shuffle=False, verbose=0).history["loss"]).all()
"""
    environment = os.environ | {"KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env=environment, timeout=300)
