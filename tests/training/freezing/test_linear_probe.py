"""A head that is solved for answers as scikit-learn's classifier does."""

import keras
import numpy as np
import pytest

from training.freezing.linear_probe import fit_linear_probe, solve_head


@pytest.mark.parametrize("classes", [2, 3])
def test_the_layer_answers_as_the_probe(classes):
    random = np.random.default_rng(0)
    labels = np.arange(90) % classes
    features = (5 + random.normal(size=(classes, 6))[labels] + random.normal(size=(90, 6))).astype("float16")
    layer = keras.layers.Dense(classes, activation="softmax")
    layer.build((None, 6))
    solve_head(layer, features, labels)
    probe = fit_linear_probe(features, labels)
    expected = probe.predict_proba(features.astype("float32"))
    np.testing.assert_allclose(np.asarray(layer(features.astype("float32"))), expected, atol=1e-4)
    assert (expected.argmax(axis=1) == labels).mean() > 0.7
