"""What `fit` is handed: the same batches as the feed makes, from datasets whose end waits for no autotuning thread."""

import numpy as np
import pytest

from training.data.pipeline import FeatureBatches, for_fit, image_batches


@pytest.fixture
def batches():
    arrays = [
        np.random.default_rng(t).normal(size=(20, *shape)).astype("float16") for t, shape in enumerate([(3,), (2, 4)])
    ]
    return FeatureBatches([arrays], np.arange(3, 17), np.arange(20) % 5, classes=5, batch_size=4, seed=1, shuffle=True)


def test_the_batches_are_those_of_the_feed(batches):
    dataset = for_fit(batches)
    assert len(dataset) == len(batches) == 4
    for (found, targets), number in zip(dataset, range(4), strict=True):
        expected, expected_targets = batches[number]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(targets, expected_targets)


def test_it_can_be_gone_through_again(batches):
    dataset = for_fit(batches)
    first, second = ([targets.numpy() for _, targets in dataset] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_autotunes(batches):
    images = image_batches(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, int), classes=2, image_size=8, batch_size=2)
    for dataset in (for_fit(batches), images):
        assert dataset.options().autotune.enabled is False
        assert dataset.options().deterministic is True
