"""Batches of cached activations: the order of batches of images, by seed and epoch alone, under any backend."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from training.data.image_batches import epoch_order, epoch_turns, epoch_views
from training.freezing.feature_batches import FeatureBatches, for_fit

ROOT = Path(__file__).parents[3]
CLASSES, N = 10, 60
LABELS, ROWS = np.arange(N) % CLASSES, np.arange(5, N)


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Two views of two tensors, float16, memory-mapped: each value is 1000 * view + 100 * tensor + image."""
    folder = tmp_path_factory.mktemp("features")

    def saved(view, tensor, shape):
        image = np.arange(N).reshape(-1, *[1] * (len(shape) - 1))
        path = folder / f"{view}-{tensor}.npy"
        np.save(path, np.broadcast_to(1000 * view + 100 * tensor + image, shape).astype(np.float16))
        return np.load(path, mmap_mode="r")

    return [[saved(view, tensor, shape) for tensor, shape in enumerate([(N, 4, 4, 3), (N, 5)])] for view in range(2)]


def feature_batches(views, **changes):
    options = {"classes": CLASSES, "batch_size": 16, "seed": 1, "shuffle": True} | changes
    return FeatureBatches(views, ROWS, LABELS, **options)


def unrolled(batches):
    """Return (image numbers, view numbers) in the order shown, checked against the other tensor and the targets."""
    images, views = [], []
    for (large, small), targets in batches:
        assert large.dtype == small.dtype == targets.dtype == np.float32
        assert large.shape[1:] == (4, 4, 3) and small.shape[1:] == (5,)
        assert (large == large[:, :1, :1, :1]).all()
        np.testing.assert_array_equal(small[:, 0] - 100, large[:, 0, 0, 0])
        np.testing.assert_array_equal(targets, np.eye(CLASSES)[LABELS[(large[:, 0, 0, 0] % 100).astype(int)]])
        images.extend(large[:, 0, 0, 0] % 100)
        views.extend(large[:, 0, 0, 0] // 1000)
    return np.array(images, int), np.array(views, int)


def test_unshuffled_batches_show_the_first_view_in_order(views):
    plain = feature_batches(views, shuffle=False)
    assert [len(targets) for _, targets in plain] == [16, 16, 16, 7]
    with pytest.raises(IndexError, match="index=4"):
        plain[4]
    images, shown = unrolled(plain)
    np.testing.assert_array_equal(images, ROWS)
    assert not shown.any()


@pytest.mark.parametrize(("turns", "choose"), [(False, epoch_views), (True, epoch_turns)])
def test_shuffled_batches_follow_the_order_of_batches_of_images(views, turns, choose):
    images, shown = unrolled(feature_batches(views, epoch=2, turns=turns))
    order = epoch_order(len(ROWS), 1, 2)
    np.testing.assert_array_equal(images, ROWS[order])
    np.testing.assert_array_equal(shown, choose(len(ROWS), 2, 1, 2)[order])
    assert set(shown) == {0, 1}


def test_mixup_averages_features_and_targets_with_the_same_weights():
    views = [[np.eye(N, dtype=np.float32)]]  # the features of a row are the number of its image, one-hot
    mixed = feature_batches(views, batch_size=8, mixup=0.4)
    for index in range(len(mixed)):
        features, targets = mixed[index]
        np.testing.assert_allclose(features.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(targets, features @ np.eye(CLASSES)[LABELS], atol=1e-6)
        np.testing.assert_array_equal(mixed[index][0], features)
    assert any((mixed[index][0].max(axis=1) < 0.99).any() for index in range(len(mixed)))


def test_seed_and_epoch_decide_the_batches(views):
    first = unrolled(feature_batches(views))
    for changes, equal in [({}, True), ({"seed": 2}, False), ({"epoch": 1}, False), ({"seed": None}, False)]:
        assert np.array_equal(first, unrolled(feature_batches(views, **changes))) == equal
    moving = feature_batches(views)
    moving.set_epoch(4)
    np.testing.assert_array_equal(unrolled(moving), unrolled(feature_batches(views, epoch=4)))


def test_a_single_float32_tensor_is_not_a_tuple_and_keeps_its_bits():
    features = np.random.default_rng(0).standard_normal((N, 7)).astype(np.float32)
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
    """One fit for both epochs, with a callback that sets the epoch, and one fit for each, equal steps in a loop."""
    features = np.random.default_rng(0).standard_normal((2, N, 5)).astype(np.float16)
    batches = feature_batches([[view] for view in features])
    stepped, fitted = small_model(), small_model()
    for epoch in range(2):
        batches.set_epoch(epoch)
        for inputs, targets in batches:
            stepped.train_on_batch(inputs, targets)
    if fits == 2:
        for epoch in range(2):
            batches.set_epoch(epoch)
            fitted.fit(batches, shuffle=False, verbose=0)
    else:
        callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.set_epoch(epoch))
        fitted.fit(batches, shuffle=False, epochs=2, callbacks=[callback], verbose=0)
    np.testing.assert_allclose(fitted.get_weights()[0], stepped.get_weights()[0], rtol=1e-5, atol=1e-7)


def test_for_fit_repeats_the_batches_without_autotuning(views):
    batches = feature_batches(views)
    dataset = for_fit(batches)
    assert len(dataset) == len(batches) == 4
    assert dataset.options().autotune.enabled is False and dataset.options().deterministic is True
    for _ in range(2):
        for found, number in zip(dataset, range(4), strict=True):
            for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(batches[number]), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": []}, r"views.*\[\]"),
        ({"views": [[np.zeros((N, 3))], [np.zeros((N, 4))]]}, r"views.*\(60, 4\)"),
        ({"views": [[np.zeros((N, 3)), np.zeros((N + 1, 3))]]}, r"views.*\(61, 3\)"),
        ({"rows": np.array([0, N])}, rf"rows.*0\.\.{N - 1}. Received: 0\.\.{N}"),
        ({"rows": np.array([], int)}, r"rows.*n at least 1"),
        ({"rows": np.ones(N, bool)}, r"rows.*bool"),
        ({"labels": LABELS[ROWS]}, r"labels.*\(55,\)"),
        ({"labels": LABELS + 1}, r"labels.*0\.\.9. Received: 1\.\.10"),
        ({"batch_size": 0}, r"batch_size=0"),
    ],
)
def test_arguments_are_checked(changes, message):
    arguments = {"views": [[np.zeros((N, 3))]], "rows": ROWS, "labels": LABELS, "classes": CLASSES, "batch_size": 8}
    with pytest.raises(ValueError, match=message):
        FeatureBatches(**(arguments | changes))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_feature_batches_train_under_other_backends(backend):
    pytest.importorskip(backend)
    script = """
import keras, numpy as np
from training.freezing.feature_batches import FeatureBatches
features = [np.random.default_rng(0).standard_normal((40, n)).astype("float16") for n in (5, 3)]
batches = FeatureBatches([features], np.arange(30), np.arange(40) % 4, classes=4, batch_size=8, seed=1, shuffle=True)
inputs = [keras.Input((5,)), keras.Input((3,))]
model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(keras.layers.Concatenate()(inputs)))
model.compile("sgd", "categorical_crossentropy")
assert np.isfinite(model.fit(batches, shuffle=False, verbose=0).history["loss"]).all()
"""
    environment = os.environ | {"KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env=environment, timeout=300)
