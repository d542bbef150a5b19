"""The activation cache: right values, computed once, verified, bounded in size, and safe to interrupt."""

import json
import logging
import os
import shutil
import subprocess
import time

import numpy as np
import pytest

from models.registry import create_model
from training.data.image_batches import resize
from training.data.transforms import apply_view
from training.freezing import activation_cache as boundary_cache
from training.freezing.activation_cache import CacheSpaceError, boundary_activations
from training.freezing.boundary import choose_cut, freeze, prefix_model
from training.freezing.frozen_forward import FrozenForward


@pytest.fixture
def model(tiny_network):
    model = create_model(tiny_network, classes=3, weights=None)
    freeze(model, 1)
    return model


@pytest.fixture
def forwards(monkeypatch):
    """Count the images that go through the frozen layers, and spare the tests the ONNX export."""
    counted = []

    def forward(self, images):
        counted.append(len(images))
        return [np.asarray(self.model.predict_on_batch(images))]

    monkeypatch.setattr(FrozenForward, "__call__", forward)
    return counted


def activations(model, images, **options):
    return boundary_activations(model, [choose_cut(model)], images, **options)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("float32", 1e-5)])
def test_values_are_those_of_the_frozen_layers_for_every_view(model, dataset, cache, dtype, tolerance):
    cut = choose_cut(model)
    found = activations(model, dataset.x_train, views=("identity", "mirror"), dtype=dtype)
    for view, row in zip(("identity", "mirror"), found.views, strict=True):
        images = np.asarray(resize(apply_view(dataset.x_train, view), 16))
        expected = np.asarray(prefix_model(model, [cut]).predict(images, verbose=0))
        assert row[0].dtype == dtype
        np.testing.assert_allclose(row[0], expected, atol=tolerance, rtol=tolerance)
    assert not np.array_equal(found.views[0][0], found.views[1][0])


@pytest.mark.parametrize(("tolerance", "engine"), [(1e-4, "onnxruntime"), (-1.0, "keras")])
def test_onnxruntime_computes_unless_it_differs_from_keras(model, monkeypatch, tolerance, engine):
    monkeypatch.setattr("training.freezing.frozen_forward.TOLERANCE", tolerance)
    forward = FrozenForward(prefix_model(model, [choose_cut(model)]))
    images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype("float32")
    (found,) = forward(images)
    assert forward.engine == engine
    np.testing.assert_allclose(found, forward.model.predict_on_batch(images), atol=1e-4)


def test_a_second_run_computes_nothing(model, dataset, cache, forwards):
    first = activations(model, dataset.x_train)
    assert sum(forwards) == len(dataset.x_train)
    assert first.seconds > 0
    again = activations(model, dataset.x_train)
    assert sum(forwards) == len(dataset.x_train)
    assert again.seconds == 0
    np.testing.assert_array_equal(first.views[0][0], again.views[0][0])


def test_another_weight_cut_view_dtype_or_image_is_another_cache(model, dataset, cache, forwards):
    images = dataset.x_train[:8].copy()
    activations(model, images)
    activations(model, images, dtype="float32")
    activations(model, images, views=("mirror",))
    images[0, 0, 0, 0] ^= 1
    activations(model, images)
    freeze(model, 0)
    activations(model, images)
    kernel = model.get_layer("block_1_conv").weights[0]
    kernel.assign(kernel + 1e-3)
    activations(model, images)
    assert sum(forwards) == 6 * len(images)


def test_the_phases_share_a_cache_whatever_learns_behind_the_cut(model, dataset, cache, forwards):
    cut = choose_cut(model)
    boundary_activations(model, [cut], dataset.x_train)
    freeze(model, 0)
    boundary_activations(model, [cut], dataset.x_train)
    assert sum(forwards) == len(dataset.x_train)


def test_a_flipped_byte_is_found_and_computed_again(model, dataset, cache, forwards, caplog):
    whole = np.array(activations(model, dataset.x_train).views[0][0])
    (file,) = cache.glob("boundary/*/identity-0.npy")
    damaged = bytearray(file.read_bytes())
    damaged[-7] ^= 1
    file.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        mended = activations(model, dataset.x_train).views[0][0]
    assert "is damaged" in caplog.text
    np.testing.assert_array_equal(mended, whole)


def test_a_cache_whose_removal_was_interrupted_is_made_anew(model, dataset, cache, forwards):
    whole = np.array(activations(model, dataset.x_train).views[0][0])
    (manifest,) = cache.glob("boundary/*/manifest.json")
    manifest.unlink()
    np.testing.assert_array_equal(activations(model, dataset.x_train).views[0][0], whole)


def test_a_partly_written_row_is_computed_again(model, dataset, cache, forwards, tmp_path):
    whole = np.array(activations(model, dataset.x_train).views[0][0])
    (folder,) = (path.parent for path in cache.glob("boundary/*/manifest.json"))
    torn = folder.with_suffix(".partial")
    folder.rename(torn)
    (torn / "manifest.json").unlink()
    content = (torn / "identity-0.npy").read_bytes()
    (torn / "identity-0.npy").write_bytes(content[: len(content) * 2 // 3 + 1])
    forwards.clear()
    np.testing.assert_array_equal(activations(model, dataset.x_train).views[0][0], whole)
    assert 0 < sum(forwards) < len(dataset.x_train)


def test_a_request_that_can_never_fit_is_an_error_and_evicts_nothing(model, dataset, cache, forwards, monkeypatch):
    activations(model, dataset.x_train[:10])
    monkeypatch.setenv("THAW_CACHE_GB", "1e-5")
    with pytest.raises(CacheSpaceError, match="THAW_CACHE_GB"):
        activations(model, dataset.x_train)
    assert len(list(cache.glob("boundary/*/manifest.json"))) == len(list(cache.glob("boundary/*/*.npy"))) == 1


def test_an_interrupted_build_resumes(model, dataset, cache, monkeypatch):
    monkeypatch.setattr(boundary_cache, "CHUNK", 50)
    counted = []

    def interrupted(self, images):
        counted.append(len(images))
        if len(counted) == 4:
            raise KeyboardInterrupt
        return [np.asarray(self.model.predict_on_batch(images))]

    monkeypatch.setattr(FrozenForward, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        activations(model, dataset.x_train)
    assert not list(cache.glob("boundary/*/manifest.json"))
    resumed = np.array(activations(model, dataset.x_train).views[0][0])
    assert sum(counted[:3]) + sum(counted[4:]) == len(dataset.x_train)
    shutil.rmtree(cache)
    np.testing.assert_array_equal(resumed, activations(model, dataset.x_train).views[0][0])


def test_the_least_recently_used_cache_goes_first(model, dataset, cache, forwards, monkeypatch):
    sizes = []
    for n in (40, 41, 42):
        images = dataset.x_train[:n]
        activations(model, images)
        time.sleep(0.02)  # file systems keep the time of last use in steps
        sizes.append(sum(file.stat().st_size for file in cache.glob("boundary/*/*.npy")))
    activations(model, dataset.x_train[:40])  # used again: now 41 is the oldest
    monkeypatch.setenv("THAW_CACHE_GB", str((sizes[2] + 8000) / 1e9))
    activations(model, dataset.x_train[:43])
    kept = {json.loads(file.read_text())["shapes"][0][0] for file in cache.glob("boundary/*/manifest.json")}
    assert 41 not in kept
    assert {40, 43} <= kept


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk]).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_is_an_error_and_leaves_nothing(model, dataset, small_disk, monkeypatch, forwards, foreseen):
    monkeypatch.setenv("THAW_CACHE", str(small_disk))
    if not foreseen:  # something else fills the disk after its free space was checked
        monkeypatch.setattr(boundary_cache, "free_bytes", lambda folder: 1 << 40)
    with pytest.raises(CacheSpaceError, match="disk"):
        activations(model, dataset.x_train)
    assert not list(small_disk.glob("boundary/*/*.npy"))


def test_values_beyond_float16_are_refused(model, dataset, cache):
    kernel = model.get_layer("block_1_BN").weights[0]
    kernel.assign(kernel * 1e9)
    with pytest.raises(FloatingPointError, match="--cache-dtype float32"):
        activations(model, dataset.x_train)
    assert np.isfinite(activations(model, dataset.x_train, dtype="float32").views[0][0]).all()
