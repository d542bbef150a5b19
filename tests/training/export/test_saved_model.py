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

LABELS = ("colour 0", "colour 1", "colour 2")
# "The way of an image" in the design: what serving may rely on.
CARD_KEYS = {
    "schema_version",
    "name",
    "version",
    "labels",
    "input_size",
    "resize_mode",
    "temperature",
    "test_accuracy",
    "val_accuracy",
    "parameters",
    "exponent",
    "sha256",
    "command",
    "recipe",
    "seed",
    "weights",
    "data",
    "hardware",
    "seconds",
    "date",
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
    card(tmp_path / "tiny", model)
    return tmp_path / "tiny"


def card(folder: Path, model: keras.Model, **changes) -> Card:
    facts = {
        "name": "tiny",
        "version": "1",
        "labels": LABELS,
        "resize_mode": "bilinear",
        "calibration": Calibration(1.25, 1.5),
        "test_accuracy": np.float32(0.5),
        "val_accuracy": 0.75,
        "command": "python train.py --model tiny",
        "recipe": "reference",
        "seed": 4,
        "weights": "none",
        "data": "made up",
        "seconds": 12.345,
    }
    return write_card(folder, model, **(facts | changes))


class TestSaveKeras:
    def test_answers_the_same_when_read_again(self, tmp_path, model, dataset):
        save_keras(model, tmp_path / "model.keras")
        images = dataset.x_test[:4].repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(again.predict_on_batch(images), model.predict_on_batch(images))
        assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
        assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]

    def test_leaves_the_optimizer_out(self, tmp_path, model):
        save_keras(model, tmp_path / "plain.keras")
        model.compile("adam", "categorical_crossentropy")
        model.fit(np.zeros((2, 16, 16, 3)), np.eye(3)[:2], verbose=0)
        save_keras(model, tmp_path / "trained.keras")
        plain, trained = ((tmp_path / name).stat().st_size for name in ("plain.keras", "trained.keras"))
        assert trained < 1.05 * plain
        with zipfile.ZipFile(tmp_path / "trained.keras") as file:
            assert not json.loads(file.read("config.json")).get("compile_config")
        assert model.compiled  # the model itself goes on as it was

    def test_keeps_which_layers_are_frozen(self, tmp_path, model):
        model.get_layer("block_1_conv").trainable = False
        save_keras(model, tmp_path / "model.keras")
        assert parameter_counts(keras.saving.load_model(tmp_path / "model.keras")) == parameter_counts(model)

    def test_a_write_that_fails_leaves_the_old_file(self, tmp_path, model, monkeypatch):
        (tmp_path / "model.keras").write_bytes(b"old")

        def full_disk(self, path, **_):
            Path(path).write_bytes(b"half")
            raise OSError("No space left on device")

        monkeypatch.setattr(keras.Model, "save", full_disk)
        with pytest.raises(OSError, match="No space"):
            save_keras(model, tmp_path / "model.keras")
        assert (tmp_path / "model.keras").read_bytes() == b"old"
        assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]

    def test_another_suffix_is_refused(self, tmp_path, model):
        with pytest.raises(ValueError, match=r"end with \.keras.*model\.h5"):
            save_keras(model, tmp_path / "model.h5")


class TestCard:
    def test_has_the_keys_that_serving_reads(self, folder):
        assert set(json.loads((folder / "card.json").read_text())) == CARD_KEYS

    def test_without_an_exponent_it_means_one(self, folder):
        facts = json.loads((folder / "card.json").read_text())
        del facts["exponent"]
        (folder / "card.json").write_text(json.dumps(facts))
        assert read_card(folder / "card.json").calibration == Calibration(1.25, 1)

    def test_averaged_views_have_a_key_only_when_measured(self, tmp_path, model):
        card(tmp_path, model, test_accuracy_tta=0.5625)
        found = json.loads((tmp_path / "card.json").read_text())
        assert set(found) == CARD_KEYS | {"test_accuracy_tta"}
        assert found["test_accuracy_tta"] == 0.5625

    def test_says_what_the_model_is(self, folder, model):
        found = read_card(folder / "card.json")
        assert found.labels == LABELS
        assert found.input_size == 16
        assert found.parameters == parameter_counts(model)
        assert found.sha256 == {"model.keras": sha256_of(folder / "model.keras")}
        assert (found.calibration, found.test_accuracy, found.seconds) == (Calibration(1.25, 1.5), 0.5, 12.3)
        assert datetime.fromisoformat(found.date).date() == datetime.now(UTC).date()
        assert "core" in found.hardware

    def test_sums_both_models(self, tmp_path, model):
        for name in ("model.keras", "model.onnx"):
            (tmp_path / name).write_bytes(name.encode())
        found = card(tmp_path, model).sha256
        assert found == {name: sha256_of(tmp_path / name) for name in ("model.keras", "model.onnx")}

    def test_comes_back_as_it_was_written(self, folder, model):
        assert read_card(folder / "card.json") == card(folder, model)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"labels": ("a",)}, "at least two different names"),
            ({"labels": ("a", "a")}, "at least two different names"),
            ({"test_accuracy": 90.6}, r"test_accuracy must be a share from 0 to 1.*90\.6"),
            ({"val_accuracy": -0.1}, "val_accuracy must be a share"),
        ],
    )
    def test_refuses_what_cannot_be(self, tmp_path, model, change, message):
        with pytest.raises(ValueError, match=message):
            card(tmp_path, model, **change)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("no json", "Expecting value"),
            ("[]", "JSON object"),
            ('{"name": "x"}', "missing"),
            ('{"nonsense": 1}', "nonsense"),
        ],
    )
    def test_a_file_that_is_none_says_why(self, tmp_path, text, message):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(ModelFileError, match=f"card.json is not a model card.*{message}"):
            read_card(tmp_path / "card.json")


class TestWriteJson:
    def test_turns_numpy_into_plain_numbers(self, tmp_path):
        path = tmp_path / "new" / "metrics.json"
        write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "c": "Zürich"})
        assert json.loads(path.read_text(encoding="utf-8")) == {"a": 0.5, "b": [0, 1, 2], "c": "Zürich"}
        assert path.read_text(encoding="utf-8").startswith('{\n  "a"')

    def test_what_has_no_json_form_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "metrics.json"
        write_json(path, {"a": 1})
        with pytest.raises(TypeError, match="object has no JSON form"):
            write_json(path, {"a": object()})
        assert json.loads(path.read_text()) == {"a": 1}
        assert len(list(tmp_path.iterdir())) == 1


class TestLoadSaved:
    def test_a_folder_and_its_file_are_the_same_model(self, folder):
        for path in (folder, folder / "model.keras", str(folder)):
            saved = load_saved(path)
            assert saved.file == folder / "model.keras"
            assert saved.image_size == 16
            assert saved.card == read_card(folder / "card.json")
            assert saved.limit is None

    def test_a_model_without_a_card_is_one_too(self, tmp_path, model):
        save_keras(model, tmp_path / "any.keras")
        saved = load_saved(tmp_path / "any.keras")
        assert (saved.card, saved.image_size) == (None, 16)

    def test_a_folder_with_only_onnx_is_served_by_onnxruntime(self, tmp_path, model, dataset):
        export_onnx(model, tmp_path / "model.onnx", dataset.x_test[:8])
        saved = load_saved(tmp_path)
        assert isinstance(saved.model, OnnxModel)
        assert saved.image_size == 16

    @pytest.mark.parametrize("limit", [None, 2000])
    def test_knows_whether_the_run_was_limited(self, folder, limit):
        make_config(model="custom_cnn", limit=limit).save(folder / "config.json", {})
        assert load_saved(folder).limit == limit

    def test_a_config_of_something_else_says_so(self, folder):
        (folder / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(ModelFileError, match=r"config\.json is not the config of a run: KeyError"):
            load_saved(folder)

    def test_names_the_models_inside_a_folder_of_models(self, folder):
        (folder.parent / "empty").mkdir()
        with pytest.raises(ModelFileError, match=r"neither model\.keras nor model\.onnx.*hold one: tiny\."):
            load_saved(folder.parent)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("missing", None, "There is no file or folder"),
            ("notes.txt", b"hello", r"end with \.keras or \.onnx"),
            ("model.keras", b"PK\x03\x04 and then nothing", "cannot be read as a model"),
            ("model.onnx", b"\x00\x01\x02", "cannot be read as a model"),
            ("model.onnx", b"", "cannot be read as a model"),
        ],
    )
    def test_what_is_no_model_says_so(self, tmp_path, name, content, message):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=message):
            load_saved(tmp_path / name)

    @pytest.mark.parametrize(
        ("shape", "layer", "message"),
        [
            ((8,), keras.layers.Dense(3), r"square RGB images.*\(None, 8\)"),
            ((8, 8, 1), keras.layers.Flatten(), r"square RGB images.*\(None, 8, 8, 1\)"),
            ((8, 4, 3), keras.layers.Flatten(), r"square RGB images.*\(None, 8, 4, 3\)"),
            ((8, 8, 3), keras.layers.Conv2D(3, 1), r"must answer probabilities.*\(None, 8, 8, 3\)"),
            ((None, None, 3), keras.layers.GlobalAveragePooling2D(), "images of any size"),
        ],
    )
    def test_a_model_of_something_else_says_so(self, tmp_path, shape, layer, message):
        image = keras.Input(shape)
        save_keras(keras.Model(image, layer(image)), tmp_path / "model.keras")
        with pytest.raises(ModelFileError, match=message):
            load_saved(tmp_path)
