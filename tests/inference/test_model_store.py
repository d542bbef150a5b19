"""The saved models at hand: the best is the default, each is loaded once, when it is first asked for."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from image_files import photograph

from inference import model_store as store
from inference.model_store import ModelStore, UnknownModelError
from models.saved.card import ModelFileError


@pytest.fixture
def folder(saved_models, tmp_path):
    """A copy of the saved models, to be changed."""
    return shutil.copytree(saved_models, tmp_path / "models")


def set_accuracy(folder, name, value):
    path = folder / name / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"val_accuracy": value, "test_accuracy": 1 - value}))


@pytest.mark.parametrize(("accuracy", "best"), [(0.1, "tiny_a"), (0.99, "tiny_b")])
def test_the_default_is_the_most_accurate_on_validation_images(folder, accuracy, best):
    set_accuracy(folder, "tiny_b", accuracy)
    models = ModelStore(folder)
    assert models.default == best
    assert next(iter(models.cards)) == best
    assert set(models.cards) == {"tiny_a", "tiny_b"}
    assert models.get() is models.get(best)


def test_another_default_can_be_named(folder):
    models = ModelStore(folder, default="tiny_b")
    assert list(models.cards) == ["tiny_b", "tiny_a"]
    assert models.get() is models.get("tiny_b")
    with pytest.raises(ModelFileError, match="default model must be one of tiny_a, tiny_b. Received: 'tiny_c'"):
        ModelStore(folder, default="tiny_c")


def test_a_model_is_loaded_when_it_is_first_asked_for(folder):
    (folder / "tiny_b" / "model.onnx").write_bytes(b"not even read")
    (folder / "tiny_b" / "model.keras").write_bytes(b"not even read")
    models = ModelStore(folder)
    assert not models.is_loaded("tiny_a")
    assert models.get("tiny_a").classify(photograph()).top
    assert models.is_loaded("tiny_a") and not models.is_loaded("tiny_b")
    with pytest.raises(ModelFileError):
        models.get("tiny_b")
    assert not models.is_loaded("tiny_b")


def test_the_engine_is_handed_on(folder):
    assert ModelStore(folder, engine="keras").get().engine.name.startswith("keras")
    assert ModelStore(folder, threads=1).get().engine.name == "onnxruntime"


@pytest.mark.parametrize("name", ["tiny", "TINY_A", "../models/tiny_a", "tiny_a/", "\0", "x" * 10_000])
def test_an_unknown_name_lists_the_names(folder, name):
    with pytest.raises(UnknownModelError, match="model must be one of tiny_a, tiny_b. Received: "):
        ModelStore(folder).get(name)


def test_threads_load_a_model_once(folder, monkeypatch):
    loaded, original = [], store.load_classifier

    def slowly(path, *arguments, **options):
        loaded.append(path.name)
        time.sleep(0.05)
        return original(path, *arguments, **options)

    monkeypatch.setattr(store, "load_classifier", slowly)
    models, together = ModelStore(folder), threading.Barrier(8)

    def get(_):
        together.wait()
        return models.get("tiny_b")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get, range(8)))
    assert loaded == ["tiny_b"]
    assert all(each is found[0] for each in found)


def test_a_folder_without_models(tmp_path):
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ModelFileError, match=r"no folder in it holds a card\.json"):
            ModelStore(root)


def test_a_card_that_cannot_be_read_is_told_at_the_start(folder):
    (folder / "tiny_b" / "card.json").write_text("{")
    with pytest.raises(ModelFileError, match=r"tiny_b/card\.json is not a model card"):
        ModelStore(folder)
