"""Weight files of every format reach the layers of their names; a file of another network changes nothing."""

import dataclasses
import hashlib

import h5py
import keras
import numpy as np
import pytest
from weight_files import (
    DECLARED,
    DOWNLOAD,
    assert_same,
    load_weights,
    save,
    tiny_model,
    weights_of,
    write_legacy,
    zeroed,
)

from models.layers import SelfAttention
from models.pretrained import downloads
from models.pretrained.downloads import WeightsUnavailableError
from models.pretrained.mismatch import WeightsMismatchError
from models.pretrained.unpickling import CheckpointError

ALL_FORMATS = ["a.keras", "a.weights.h5", "a.safetensors", "a.pt"]
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_the_backbone_is_loaded_from_every_format(tmp_path, name):
    trained = tiny_model()
    path = save(trained, tmp_path / name)
    model = zeroed(tiny_model())
    record = load_weights(model, str(path), DECLARED)
    assert_same(weights_of(model, "conv", "norm"), weights_of(trained, "conv", "norm"))
    assert record == {"weights": str(path), "file": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5"])
def test_a_trained_and_compiled_model_gives_its_head_too(tmp_path, name):
    trained = tiny_model()
    trained.compile("adam", "mse")
    trained.fit(np.zeros((4, 8, 8, 3)), np.zeros((4, 3)), verbose=0)
    model = zeroed(tiny_model())
    load_weights(model, save(trained, tmp_path / name))
    assert_same(model.get_weights(), trained.get_weights())


def test_a_head_of_other_classes_is_left_out_with_a_warning(tmp_path, caplog):
    trained, model = tiny_model(classes=7), tiny_model(classes=3)
    head = weights_of(model, "head_probabilities")
    load_weights(model, save(trained, tmp_path / "a.keras"))
    assert_same(weights_of(model, "conv", "norm"), weights_of(trained, "conv", "norm"))
    assert_same(weights_of(model, "head_probabilities"), head)
    assert "head_probabilities/0" in caplog.text


def assert_refused(error, match, path):
    """Load a file, and check the error and that the model keeps its weights."""
    model = tiny_model()
    before = model.get_weights()
    with pytest.raises(error, match=match):
        load_weights(model, path, DECLARED)
    assert_same(model.get_weights(), before)


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_a_backbone_of_other_shapes_changes_nothing(tmp_path, name):
    of_keras = name in ("a.keras", "a.weights.h5")
    shapes = (
        r"conv/0 .*\(3, 3, 3, 4\).*\(3, 3, 3, 6\)" if of_keras else r"conv\.weight .*\(4, 3, 3, 3\).*\(6, 3, 3, 3\)"
    )
    assert_refused(WeightsMismatchError, shapes, save(tiny_model(filters=6), tmp_path / name))


@pytest.mark.parametrize(("setting", "reason"), [({"epsilon": 1e-3}, "norm.*epsilon"), ({"scale": 1.0}, "scale")])
def test_a_keras_file_of_another_convention_is_refused_though_it_fits(tmp_path, setting, reason):
    assert_refused(WeightsMismatchError, reason, save(tiny_model(**setting), tmp_path / "a.keras"))


@pytest.mark.parametrize("name", ALL_FORMATS)
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    path = save(tiny_model(), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"<html>404</html>"}[damage])
    assert_refused(CheckpointError, name, path)


def test_attention_with_another_number_of_heads_is_refused_though_it_fits(tmp_path):
    def attention(heads):
        tokens = keras.Input((5, 24), name="tokens")
        x = SelfAttention(heads, name="attention")(tokens)  # without weights
        return keras.Model(tokens, keras.layers.Dense(2, name="dense")(x))

    attention(2).save(tmp_path / "a.keras")
    load_weights(attention(2), tmp_path / "a.keras")
    with pytest.raises(WeightsMismatchError, match="attention.*heads"):
        load_weights(attention(4), tmp_path / "a.keras")


def test_layers_inside_layers_are_found_by_name(tmp_path):
    def attention():
        x = tokens = keras.Input((5, 4), name="tokens")
        x = keras.layers.MultiHeadAttention(2, 2, name="attention")(x, x)
        x = keras.layers.Bidirectional(keras.layers.GRU(3, name="gru"), name="both_ways")(x)
        return keras.Model(tokens, keras.layers.Dropout(0.1, name="drop")(x))

    trained, model = attention(), attention()
    for suffix in (".keras", ".weights.h5"):
        load_weights(zeroed(model), save(trained, tmp_path / f"a{suffix}"))
        assert_same(model.get_weights(), trained.get_weights())


@pytest.mark.parametrize("trick", ["external", "virtual", "huge"])
def test_an_hdf5_file_that_points_elsewhere_or_claims_too_much_is_refused(tmp_path, trick):
    path, other = tmp_path / "a.weights.h5", str(tmp_path / "other")
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group.attrs["name"] = "conv"
        if trick == "external":
            group.create_dataset("0", (4,), "float32", external=[(other, 0, 16)])
        elif trick == "virtual":
            layout = h5py.VirtualLayout((4,), "float32")
            layout[:] = h5py.VirtualSource(other, "w", (4,))
            group.create_virtual_dataset("0", layout)
        else:
            group.create_dataset("0", (1 << 40,), "float32", chunks=(1 << 20,))
    with pytest.raises(CheckpointError, match="another file|claims"):
        load_weights(tiny_model(), path)


@pytest.mark.parametrize("weights", ["nonsense", "missing.keras", ".", "file.txt"])
def test_other_values_are_refused(tmp_path, monkeypatch, weights):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("weights")
    with pytest.raises(ValueError, match=f"weights='{weights}'"):
        load_weights(tiny_model(), weights, DECLARED)


def test_a_network_without_declared_weights_takes_only_keras_files(tmp_path):
    for weights in ("imagenet", "keras"):
        with pytest.raises(ValueError, match=f"tiny.*weights='{weights}'"):
            load_weights(tiny_model(), weights)
    with pytest.raises(ValueError, match="a.safetensors"):
        load_weights(tiny_model(), save(tiny_model(), tmp_path / "a.safetensors"))


def fake_download(monkeypatch, write):
    """Replace Keras's download by `write`, and return the list of the requested addresses."""
    calls = []

    def get_file(name, origin, cache_dir, cache_subdir, file_hash):
        calls.append(origin)
        path = downloads.Path(cache_dir, cache_subdir, name)
        write(path)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return calls


def test_keras_weights_are_downloaded_once_and_carried_over_by_name(monkeypatch):
    trained = tiny_model()
    calls = fake_download(monkeypatch, lambda path: write_legacy(trained, path, ("conv", "norm")))
    for _ in range(2):
        model = zeroed(tiny_model())
        record = load_weights(model, "keras", DECLARED)
        assert_same(weights_of(model, "conv", "norm"), weights_of(trained, "conv", "norm"))
        assert not np.any(weights_of(model, "head_probabilities")[0])
    assert calls == [DOWNLOAD.origin]
    assert record["file"] == "tiny_no_top.h5"


def test_the_legacy_format_written_here_is_the_one_that_keras_reads(tmp_path):
    trained, model = tiny_model(), zeroed(tiny_model())
    write_legacy(trained, tmp_path / "a.h5")
    model.load_weights(tmp_path / "a.h5")
    assert_same(model.get_weights(), trained.get_weights())


def test_a_failed_download_names_the_file_its_path_and_an_alternative(monkeypatch):
    def unreachable(path):
        path.write_bytes(b"partial")
        raise Exception("URL fetch failure")

    fake_download(monkeypatch, unreachable)
    with pytest.raises(
        WeightsUnavailableError, match="tiny_no_top.h5.*URL fetch failure.*--weights imagenet"
    ) as caught:
        load_weights(tiny_model(), "keras", DECLARED)
    assert str(DOWNLOAD.cached) in str(caught.value)
    assert not DOWNLOAD.cached.exists()


def test_a_keras_file_of_another_checksum_is_fetched_again(monkeypatch):
    known = dataclasses.replace(DOWNLOAD, md5=hashlib.md5(b"the known file").hexdigest())
    known.cached.write_bytes(b"half of the known fi")
    calls = fake_download(monkeypatch, lambda path: path.write_bytes(b"the known file"))
    for _ in range(2):
        assert known.fetch().read_bytes() == b"the known file"
    assert len(calls) == 1
