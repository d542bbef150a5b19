"""The two-phase trainer: the suffix learns what the full model would, and what is frozen does not move."""

import dataclasses

import keras
import numpy as np
import pytest

from models.registry import create_model
from training.checkpoint import Checkpoint, TrainingState, assign, values
from training.config import make_config
from training.freezing.activation_cache import boundary_activations
from training.freezing.boundary import choose_cut, cuts, freeze, prefix_model, suffix_model
from training.freezing.feeds import Split, make_feed, prepare_caches, thaw
from training.phases import NonFiniteLossError, run_phase, solve_phase
from training.recipes.recipe import PhaseConfig


@pytest.fixture
def split(dataset):
    return Split(dataset, *dataset.split(0, 24))


def train(model, config, split, tmp_path):
    caches = prepare_caches(model, config, config.phases, split.dataset.x_train)
    state = TrainingState()
    for phase in config.phases:
        feed = make_feed(model, config, phase, split, caches.get(phase.name))
        assert (feed.cut is None) == (phase.name not in caches)
        run_phase(model, phase, feed, state, images=len(split.training), checkpoint_path=tmp_path / "checkpoint.npz")
    return state


def observe(model, phase, split, tmp_path, observed):
    """Train one phase without a cache; return its state and what `observed()` gave after each epoch."""
    config = make_config("scratch", "custom_cnn", image_size=16)
    feed, state, seen = make_feed(model, config, phase, split), TrainingState(), []
    options = {"images": len(split.training), "checkpoint_path": tmp_path / "checkpoint.npz"}
    run_phase(model, phase, feed, state, on_epoch=lambda _: seen.append(observed()), **options)
    return state, seen


@pytest.mark.parametrize("unfreeze", [0, 1, 4])
def test_loss_and_gradients_of_the_suffix_are_those_of_the_full_model(tiny_network, unfreeze):
    import tensorflow as tf

    model = create_model(tiny_network, classes=3, weights=None, head="linear")
    model.get_layer("head_dropout").rate = 0.0
    freeze(model, unfreeze)
    cut = choose_cut(model)
    images = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype("float32")
    labels = np.eye(3, dtype="float32")[np.arange(8) % 3]
    boundary = prefix_model(model, [cut]).predict_on_batch(images)

    def loss_and_gradients(network, inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(labels, network(inputs, training=True)))
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        return float(loss), [np.asarray(gradient) for gradient in gradients]

    loss, gradients = loss_and_gradients(model, images)
    suffix_loss, suffix_gradients = loss_and_gradients(suffix_model(model, cut), boundary)
    assert len(gradients) >= 2
    assert suffix_loss == pytest.approx(loss, abs=1e-5)
    for expected, found in zip(gradients, suffix_gradients, strict=True):
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("cached", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_is_frozen_is_bit_identical_after_training(tiny_network, split, cache, tmp_path, cached):
    model = create_model(tiny_network, classes=3, weights=None)
    config = make_config("finetune", tiny_network, epochs=2, batch_size=16, cache=cached)
    thaw(model, config, config.phases[-1])
    learning = {variable.path for variable in model.trainable_variables}
    before = {weight.path: weight.numpy() for weight in model.weights}
    train(model, config, split, tmp_path)
    moved = {weight.path for weight in model.weights if not np.array_equal(before[weight.path], weight.numpy())}
    assert moved == learning
    assert any("conv" in path for path in moved)
    assert not any("BN" in path for path in moved)


def test_scratch_trains_everything_and_its_batch_norm(tiny_network, dataset):
    model = create_model(tiny_network, classes=3, weights=None)
    config = make_config("scratch", "custom_cnn")
    thaw(model, config, config.phases[0])
    assert {weight.path for weight in model.trainable_weights} == {
        weight.path for weight in model.weights if "moving" not in weight.path
    }


@pytest.mark.parametrize(
    "views", [pytest.param((), marks=pytest.mark.slow), ("identity", "flip+translate_1_0", "translate_0_-1")]
)
def test_cached_and_plain_training_give_the_same_model(tiny_network, split, cache, tmp_path, views):
    results = []
    for cached in (True, False):
        keras.utils.set_random_seed(1)
        model = create_model(tiny_network, classes=3, weights=None)
        config = make_config("finetune", tiny_network, epochs=3, cache=cached, cache_dtype="float32", views=views)
        results.append((train(model, config, split, tmp_path), model.get_weights()))
    (state, cached_weights), (plain_state, plain_weights) = results
    assert [row["epoch"] for row in state.history] == [row["epoch"] for row in plain_state.history]
    for row, plain in zip(state.history, plain_state.history, strict=True):
        assert row["val_loss"] == pytest.approx(plain["val_loss"], abs=1e-4)
    for found, expected in zip(cached_weights, plain_weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_network_learns(tiny_network, split, cache, tmp_path):
    keras.utils.set_random_seed(0)
    model = create_model(tiny_network, classes=3, weights=None)
    state = train(model, make_config("head", tiny_network, epochs=40, augment="flip"), split, tmp_path)
    assert max(row["val_accuracy"] for row in state.history) > 0.9


@pytest.mark.parametrize(("augment", "gigabytes"), [("flip,crop", "1"), ("none", "1e-6")])
def test_without_a_cache_training_runs_the_frozen_layers(
    tiny_network, split, cache, tmp_path, monkeypatch, caplog, augment, gigabytes
):
    monkeypatch.setenv("THAW_CACHE_GB", gigabytes)
    model = create_model(tiny_network, classes=3, weights=None)
    state = train(model, make_config("head", tiny_network, epochs=1, augment=augment), split, tmp_path)
    assert "No cache" in caplog.text
    assert len(state.history) == 1
    assert not list(cache.glob("boundary/*/*.npy"))


def test_the_best_epoch_is_kept_and_the_phase_stops_without_progress(tiny_network, split, cache, tmp_path):
    model = create_model(tiny_network, classes=3, weights=None)
    phase = PhaseConfig("head", learning_rate=30.0, epochs=20, patience=2)  # far too high: the loss soon rises
    state, seen = observe(model, phase, split, tmp_path, lambda: values(model.trainable_variables))
    losses = [row["val_loss"] for row in state.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 20
    for kept, then in zip(values(model.trainable_variables), seen[best], strict=True):
        np.testing.assert_array_equal(kept, then)


def test_from_scratch_the_best_epoch_keeps_its_batch_norm_statistics_too(tiny_network, split, tmp_path):
    model = create_model(tiny_network, classes=3, weights=None)
    labels = np.random.default_rng(0).permutation(split.dataset.y_train)  # nothing to learn: the loss soon rises
    split = dataclasses.replace(split, dataset=dataclasses.replace(split.dataset, y_train=labels))
    phase = PhaseConfig("scratch", learning_rate=0.01, epochs=50, patience=1)  # stops right after its best epoch
    _, seen = observe(model, phase, split, tmp_path, lambda: values(model.weights))
    statistics = [index for index, weight in enumerate(model.weights) if "moving" in weight.path]
    assert not any(np.array_equal(seen[-1][index], seen[-2][index]) for index in statistics)
    for kept, then in zip(values(model.weights), seen[-2], strict=True):
        np.testing.assert_array_equal(kept, then)


def test_a_cosine_schedule_falls_to_zero_by_the_last_step(tiny_network, split, tmp_path):
    model = create_model(tiny_network, classes=3, weights=None)
    phase = PhaseConfig("scratch", learning_rate=1e-3, epochs=4, schedule="cosine")
    _, rates = observe(model, phase, split, tmp_path, lambda: float(model.optimizer.learning_rate))
    assert rates == pytest.approx([1e-3 * (1 + np.cos(np.pi * epoch / 4)) / 2 for epoch in (1, 2, 3, 4)], abs=1e-9)


SPEEDRUN = {
    "schedule": "triangle",
    "optimizer": "sgd",
    "average": "lookahead",
    "patience": None,
    "freeze_at": (("block_1_conv", 3),),
}
DISCRIMINATIVE = {
    "schedule": "cosine",
    "optimizer": "adamw",
    "average": "ema",
    "weight_decay": 0.1,
    "first_layer_rate": 0.3,
}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"schedule": "cosine"}, marks=pytest.mark.slow),
        SPEEDRUN,
        pytest.param(DISCRIMINATIVE, marks=pytest.mark.slow),
    ],
    ids=["adam", "speedrun", "discriminative"],
)
def test_a_run_under_a_schedule_resumes_to_the_same_weights(tiny_network, split, tmp_path, settings):
    keras.utils.set_random_seed(0)
    model = create_model(tiny_network, classes=3, weights=None)
    start, config = values(model.variables), make_config("scratch", "custom_cnn", image_size=16)
    phase = PhaseConfig("scratch", learning_rate=1e-3, epochs=3.5, **settings)

    def sitting(state, resumed=None, on_epoch=lambda state: None):
        assign(model.variables, resumed.model if resumed else start)
        run_phase(
            model,
            phase,
            make_feed(model, config, phase, split),
            state,
            images=len(split.training),
            checkpoint_path=tmp_path / "c.npz",
            resumed=resumed,
            on_epoch=on_epoch,
        )
        return values(model.weights)

    def interrupt(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    whole = sitting(TrainingState())
    with pytest.raises(KeyboardInterrupt):
        sitting(TrainingState(), on_epoch=interrupt)
    resumed = Checkpoint.load(tmp_path / "c.npz")
    for found, expected in zip(sitting(resumed.state, resumed), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_last_epoch_is_cut_short_and_its_weights_are_kept(tiny_network, split, tmp_path):
    model = create_model(tiny_network, classes=3, weights=None)
    phase = PhaseConfig("scratch", epochs=2.5, batch_size=27, patience=None)  # 8 steps in each whole epoch
    _, seen = observe(model, phase, split, tmp_path, lambda: (int(model.optimizer.iterations), values(model.weights)))
    assert [steps for steps, _ in seen] == [8, 16, 20]
    for kept, then in zip(values(model.weights), seen[-1][1], strict=True):
        np.testing.assert_array_equal(kept, then)


def test_a_layer_stops_learning_at_its_epoch(tiny_network, split, tmp_path):
    model = create_model(tiny_network, classes=3, weights=None)
    phase = PhaseConfig("scratch", epochs=3, patience=None, freeze_at=(("block_1_conv", 2),))
    _, seen = observe(
        model, phase, split, tmp_path, lambda: values([model.get_layer(f"block_{n}_conv").kernel for n in (1, 2)])
    )
    assert not np.array_equal(seen[0][0], seen[1][0])
    np.testing.assert_array_equal(seen[1][0], seen[2][0])
    assert not np.array_equal(seen[1][1], seen[2][1])


@pytest.mark.parametrize("cached", [True, False])
def test_a_solved_head_is_one_epoch_and_fits_the_training_images(tiny_network, split, cache, tmp_path, cached):
    model = create_model(tiny_network, classes=3, weights=None, head="linear")
    config = make_config("finetune", tiny_network, "strong", cache=cached)
    phase = config.phases[0]
    caches = prepare_caches(model, config, [phase], split.dataset.x_train)
    feed, state = make_feed(model, config, phase, split, caches.get("head")), TrainingState()
    solve_phase(model, phase, feed, split, state, checkpoint_path=tmp_path / "c.npz", activations=caches.get("head"))
    (row,) = state.history
    assert (row["phase"], row["epoch"], state.phase) == ("head", 1, 1)
    assert row["accuracy"] > 0.9
    assert row["val_accuracy"] > 0.8


def test_a_head_is_solved_for_from_a_cut_some_layers_before_it(tiny_network, split, cache, tmp_path):
    config = make_config("finetune", tiny_network, "strong", image_size=4)
    model = create_model(tiny_network, classes=3, weights=None, head="linear", image_size=4)
    caches = prepare_caches(model, config, config.phases[:1], split.dataset.x_train)
    feed = make_feed(model, config, config.phases[0], split, caches["head"])
    early = next(cut for cut in cuts(model) if cut.name == "block_2_add")
    activations = boundary_activations(model, [early], split.dataset.x_train)[0]
    feed, state = dataclasses.replace(feed, cut=early), TrainingState()
    solve_phase(
        model, config.phases[0], feed, split, state, checkpoint_path=tmp_path / "c.npz", activations=activations
    )
    assert state.history[0]["accuracy"] > 0.8


def test_random_augmentation_beside_views_is_not_cached(tiny_network, split, cache):
    model = create_model(tiny_network, classes=3, weights=None)
    config = make_config("head", tiny_network, views=("identity", "mirror"), augment="translate")
    assert prepare_caches(model, config, config.phases, split.dataset.x_train) == {}


def test_mixup_of_activations_needs_them(tiny_network, split):
    config = make_config("head", tiny_network)
    phase = dataclasses.replace(config.phases[0], mixup=0.2)
    with pytest.raises(ValueError, match="needs the cache"):
        make_feed(create_model(tiny_network, classes=3, weights=None), config, phase, split)


def test_the_history_holds_the_plain_cross_entropy(tiny_network, split, tmp_path):
    model = create_model(tiny_network, classes=3, weights=None)
    phase = PhaseConfig("scratch", epochs=1, label_smoothing=0.3, patience=None)
    feed = make_feed(model, make_config("scratch", "custom_cnn", image_size=16), phase, split)
    state = TrainingState()
    run_phase(model, phase, feed, state, images=len(split.training), checkpoint_path=tmp_path / "c.npz")
    model.compile(loss="categorical_crossentropy")
    found = model.evaluate(feed.validation, verbose=0, return_dict=True)
    assert state.history[0]["val_loss"] == pytest.approx(found["loss"], abs=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(tiny_network, split, cache, tmp_path):
    model = create_model(tiny_network, classes=3, weights=None)
    config = make_config("head", tiny_network)
    feed = make_feed(model, config, config.phases[0], split)
    kernel = model.get_layer("head_probabilities").weights[0]
    kernel.assign(kernel * np.nan)
    with pytest.raises(NonFiniteLossError, match="learning rate"):
        run_phase(model, config.phases[0], feed, TrainingState(), images=216, checkpoint_path=tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()
