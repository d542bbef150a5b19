"""Builders, the suffix trainer and saved files under Keras's other backends, where they are installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # every test starts a process that trains
ROOT = Path(__file__).parent.parent
REPRESENTATIVES = ("custom_cnn_bn", "mobilenet_v2", "vit_tiny")  # plain with BN, depthwise with shortcuts, attention
SCRIPT = """
import sys

import keras
import numpy as np
import tiny

from models.registry import create_model, register_model
from training.freezing.activation_cache import boundary_activations
from training.config import make_config
from training.freezing.boundary import choose_cut, freeze, suffix_model
from training.freezing.feature_batches import FeatureBatches

assert keras.backend.backend() == sys.argv[1]
register_model(**vars(tiny.TINY))
dataset = tiny.tiny_dataset()
model = create_model("tiny", classes=3, weights=None)
freeze(model, 1)
cut = choose_cut(model)
(cached,) = boundary_activations(model, [cut], dataset.x_train)
rows = np.arange(len(dataset.x_train))
batches = FeatureBatches(cached.views, rows, dataset.y_train, classes=3, batch_size=16, seed=0, shuffle=True)
suffix = suffix_model(model, cut)
suffix.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
losses = suffix.fit(batches, shuffle=False, epochs=3, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
model.save(sys.argv[2])
images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype("float32")
again = keras.models.load_model(sys.argv[2])
np.testing.assert_allclose(again.predict_on_batch(images), model.predict_on_batch(images), atol=1e-5)
"""
CONTRACT = """
import sys

import keras
import numpy as np

from models.registry import build_model, model_spec

_, backend, *names = sys.argv
assert keras.backend.backend() == backend
for name in names:
    print(name, file=sys.stderr)
    keras.utils.set_random_seed(0)
    spec = model_spec(name)
    model = build_model(spec, classes=10, image_size=spec.minimum_size)
    images = np.random.default_rng(0).uniform(0, 255, (4, spec.minimum_size, spec.minimum_size, 3)).astype("float32")
    labels = np.eye(10, dtype="float32")[:4]
    model.compile(keras.optimizers.SGD(1e-3), "categorical_crossentropy")
    probabilities = model.predict_on_batch(images)
    assert probabilities.shape == (4, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    for layer in model.layers:  # training computes what inference does, so that the two losses compare
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    model.compile(keras.optimizers.SGD(1e-3), "categorical_crossentropy")
    first = model.test_on_batch(images, labels)
    model.train_on_batch(images, labels)
    assert model.test_on_batch(images, labels) < first
"""
PHASES = """
import sys
from pathlib import Path

import keras
import numpy as np
import tiny

from models.registry import create_model, register_model
from training.checkpoint import TrainingState
from training.config import make_config
from training.freezing.feeds import Split, make_feed, prepare_caches
from training.phases import run_phase, solve_phase
from training.recipes.recipe import PhaseConfig

_, backend, folder, *averages = sys.argv
assert keras.backend.backend() == backend
register_model(**vars(tiny.TINY))
dataset = tiny.tiny_dataset()
split = Split(dataset, *dataset.split(0, 24))
for average in averages:
    print(average, file=sys.stderr)
    keras.utils.set_random_seed(0)
    model = create_model("tiny", classes=3, weights=None, head="linear")
    config = make_config("finetune", "tiny", "strong", weights="none", unfreeze=4)
    head, state, path = config.phases[0], TrainingState(), Path(folder) / f"{average}.npz"
    finetune = PhaseConfig(
        "finetune", epochs=3.5, optimizer="sgd", learning_rate=0.01, momentum=0.9, first_layer_rate=0.5, patience=None,
        average=average, freeze_at=(("block_2_conv", 2),), schedule="triangle", label_smoothing=0.1,
    )
    caches = prepare_caches(model, config, (head, finetune), dataset.x_train)
    feed = make_feed(model, config, head, split, caches["head"])
    solve_phase(model, head, feed, split, state, checkpoint_path=path, activations=caches["head"])
    assert state.history[0]["accuracy"] > 0.8, state.history
    feed = make_feed(model, config, finetune, split, caches["finetune"])
    kernel, seen = model.get_layer("block_2_conv").kernel, []
    run_phase(
        model, finetune, feed, state, images=len(split.training), checkpoint_path=path,
        on_epoch=lambda _: seen.append(np.array(keras.ops.convert_to_numpy(kernel))),
    )
    assert not np.array_equal(seen[0], seen[1])
    np.testing.assert_allclose(seen[2], seen[3], atol=1e-6)  # lookahead rounds
    feed.trainee.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    kept = feed.trainee.evaluate(feed.validation, verbose=0, return_dict=True)
    np.testing.assert_allclose(kept["loss"], state.history[-1]["val_loss"], atol=1e-5)
    assert kept["accuracy"] > 0.6, kept  # of 24 pictures of three classes
"""


def run(script, backend, cache, *arguments):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "THAW_CACHE": str(cache),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
    }
    command = [sys.executable, "-c", script, backend, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_suffix_trains_and_the_model_is_saved(backend, tmp_path):
    run(SCRIPT, backend, tmp_path / "cache", str(tmp_path / "model.keras"))


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_phases_solve_average_and_freeze_on_the_way(backend, tmp_path):
    run(PHASES, backend, tmp_path / "cache", str(tmp_path), "ema", "lookahead")


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_networks_answer_and_learn(backend, tmp_path):
    run(CONTRACT, backend, tmp_path / "cache", *REPRESENTATIVES)
