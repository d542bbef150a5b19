"""A run's model, card and reports are written atomically and load again."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import tiny_backbone

from models.heads import attach_head
from models.saved.calibration import Calibration
from models.saved.card import Card, ModelFileError, read_card
from models.saved.onnx_model import OnnxModel
from runtime.files import sha256_of
from training.config import make_config
from training.export.onnx_export import export_onnx
from training.export.saved_model import load_saved, parameter_counts, save_keras, write_card, write_json

FACTS = {
    **{"name": "tiny", "version": "1", "labels": ("a", "b", "c"), "resize_mode": "bilinear", "test_accuracy": 0.5},
    **{"val_accuracy": 0.75, "command": "python train.py", "recipe": "reference", "seed": 4, "weights": "none"},
    **{"data": "made up", "seconds": 12.3, "calibration": Calibration(1.25, 1.5)},
}


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    backbone = tiny_backbone(16, "keras")
    return keras.Model(backbone.input, attach_head("dense", backbone.output, 3), name="tiny")


@pytest.fixture
def folder(tmp_path, model):
    """A folder with a saved model and its card."""
    save_keras(model, tmp_path / "tiny" / "model.keras")
    write_card(tmp_path / "tiny", model, **FACTS)
    return tmp_path / "tiny"


class TestSaveKeras:
    def test_the_loaded_model_predicts_the_same_and_has_the_same_frozen_layers(self, tmp_path, model, dataset):
        model.get_layer("block_1_conv").trainable = False
        save_keras(model, tmp_path / "model.keras")
        images = dataset.x_test[:4].repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))
        assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
        assert parameter_counts(loaded) == parameter_counts(model)

    def test_the_optimizer_is_left_out(self, tmp_path, model):
        save_keras(model, tmp_path / "plain.keras")
        model.compile("adam", "categorical_crossentropy")
        model.optimizer.build(model.trainable_variables)  # two further values per parameter
        save_keras(model, tmp_path / "trained.keras")
        plain, trained = ((tmp_path / name).stat().st_size for name in ("plain.keras", "trained.keras"))
        assert trained < 1.05 * plain
        with zipfile.ZipFile(tmp_path / "trained.keras") as file:
            assert not json.loads(file.read("config.json")).get("compile_config")
        assert model.compiled  # the model itself is unchanged

    def test_a_failed_write_keeps_the_old_file(self, tmp_path, model, monkeypatch):
        (tmp_path / "model.keras").write_bytes(b"old")

        def full_disk(self, path, **_):
            Path(path).write_bytes(b"half")
            raise OSError("No space left on device")

        monkeypatch.setattr(keras.Model, "save", full_disk)
        with pytest.raises(OSError, match="No space"):
            save_keras(model, tmp_path / "model.keras")
        assert (tmp_path / "model.keras").read_bytes() == b"old"
        assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]

    def test_another_suffix_is_an_error(self, tmp_path, model):
        with pytest.raises(ValueError, match=r"model\.h5"):
            save_keras(model, tmp_path / "model.h5")


class TestWriteCard:
    def test_the_card_describes_the_model(self, folder, model):
        card = read_card(folder / "card.json")
        assert (card.labels, card.input_size, card.calibration) == (("a", "b", "c"), 16, Calibration(1.25, 1.5))
        assert card.parameters == parameter_counts(model)
        assert datetime.fromisoformat(card.date).date() == datetime.now(UTC).date()
        assert "core" in card.hardware

    def test_the_card_holds_the_checksum_of_each_model_file(self, tmp_path, model):
        names = ("model.keras", "model.onnx", "ood.npz")
        for name in names:
            (tmp_path / name).write_bytes(name.encode())
        card: Card = write_card(tmp_path, model, **FACTS)
        assert card.sha256 == {name: sha256_of(tmp_path / name) for name in names}

    def test_a_wrong_fact_is_an_error_before_anything_is_written(self, tmp_path, model):
        with pytest.raises(ValueError, match=r"test_accuracy.*90\.6"):
            write_card(tmp_path, model, **FACTS | {"test_accuracy": 90.6})
        with pytest.raises(TypeError, match="colour"):
            write_card(tmp_path, model, **FACTS, colour="red")
        assert not list(tmp_path.iterdir())


class TestWriteJson:
    def test_numpy_becomes_plain_numbers(self, tmp_path):
        path = tmp_path / "new" / "metrics.json"
        write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "c": "Zürich"})
        assert json.loads(path.read_text(encoding="utf-8")) == {"a": 0.5, "b": [0, 1, 2], "c": "Zürich"}

    def test_a_value_without_a_json_form_keeps_the_old_file(self, tmp_path):
        path = tmp_path / "metrics.json"
        write_json(path, {"a": 1})
        with pytest.raises(TypeError, match="object"):
            write_json(path, {"a": object()})
        assert json.loads(path.read_text()) == {"a": 1}
        assert len(list(tmp_path.iterdir())) == 1


class TestLoadSaved:
    def test_a_folder_and_its_file_are_the_same_model(self, folder):
        for path in (folder, folder / "model.keras", str(folder)):
            saved = load_saved(path)
            assert (saved.file, saved.image_size, saved.limit) == (folder / "model.keras", 16, None)
            assert saved.card == read_card(folder / "card.json")

    def test_a_model_needs_no_card(self, tmp_path, model):
        save_keras(model, tmp_path / "any.keras")
        saved = load_saved(tmp_path / "any.keras")
        assert (saved.card, saved.image_size) == (None, 16)

    def test_a_folder_with_only_an_onnx_file_is_a_model(self, tmp_path, model, dataset):
        export_onnx(model, tmp_path / "model.onnx", dataset.x_test[:8])
        saved = load_saved(tmp_path)
        assert isinstance(saved.model, OnnxModel)
        assert saved.image_size == 16

    def test_the_limit_of_the_run_is_read_from_its_config(self, folder):
        make_config(model="custom_cnn", limit=2000).save(folder / "config.json", {})
        assert load_saved(folder).limit == 2000
        (folder / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(ModelFileError, match=r"config\.json"):
            load_saved(folder)

    def test_for_a_folder_of_models_the_error_names_them(self, folder):
        (folder.parent / "empty").mkdir()
        with pytest.raises(ModelFileError, match=r"tiny\."):
            load_saved(folder.parent)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("missing", None),
            ("notes.txt", b"hello"),
            ("model.keras", b"PK\x03\x04 and then nothing"),
            ("model.onnx", b"\x00\x01\x02"),
        ],
    )
    def test_a_file_that_is_no_model_is_an_error(self, tmp_path, name, content):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=name):
            load_saved(tmp_path / name)

    @pytest.mark.parametrize(
        ("shape", "layer", "message"),
        [
            ((8,), keras.layers.Dense(3), r"\(None, 8\)"),
            ((8, 8, 1), keras.layers.Flatten(), r"\(None, 8, 8, 1\)"),
            ((8, 4, 3), keras.layers.Flatten(), r"\(None, 8, 4, 3\)"),
            ((8, 8, 3), keras.layers.Conv2D(3, 1), r"probabilities.*\(None, 8, 8, 3\)"),
            ((None, None, 3), keras.layers.GlobalAveragePooling2D(), "any size"),
        ],
    )
    def test_a_model_that_is_no_image_classifier_is_an_error(self, tmp_path, shape, layer, message):
        image = keras.Input(shape)
        save_keras(keras.Model(image, layer(image)), tmp_path / "model.keras")
        with pytest.raises(ModelFileError, match=message):
            load_saved(tmp_path)
