"""The model store: the best model is the default, and each model is loaded once, on first use."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from image_files import photograph

from inference import model_store
from inference.model_store import ModelStore, UnknownModelError
from models.saved.card import ModelFileError


@pytest.fixture
def folder(saved_models, tmp_path):
    """A copy of the saved models that a test may change."""
    return shutil.copytree(saved_models, tmp_path / "models")


@pytest.mark.parametrize(("accuracy", "best"), [(0.1, "tiny_a"), (0.99, "tiny_b")])
def test_the_default_has_the_highest_validation_accuracy(folder, accuracy, best):
    path = folder / "tiny_b" / "card.json"
    changes = {"val_accuracy": accuracy, "test_accuracy": 1 - accuracy}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    store = ModelStore(folder)
    assert store.default == next(iter(store.cards)) == best
    assert set(store.cards) == {"tiny_a", "tiny_b"}
    assert store.get() is store.get(best)


def test_another_default_can_be_named(folder):
    store = ModelStore(folder, default="tiny_b")
    assert list(store.cards) == ["tiny_b", "tiny_a"]
    assert store.get() is store.get("tiny_b")
    with pytest.raises(ModelFileError, match="tiny_c"):
        ModelStore(folder, default="tiny_c")


def test_a_model_is_loaded_on_first_use(folder):
    for name in ("model.onnx", "model.keras"):
        (folder / "tiny_b" / name).write_bytes(b"damaged")
    store = ModelStore(folder)
    assert not store.is_loaded("tiny_a")
    assert store.get("tiny_a").classify(photograph()).top
    assert store.is_loaded("tiny_a")
    with pytest.raises(ModelFileError):
        store.get("tiny_b")
    assert not store.is_loaded("tiny_b")


def test_engine_and_threads_are_passed_on(folder, monkeypatch):
    received = []
    monkeypatch.setattr(model_store, "load_classifier", lambda *args, **options: received.append((*args, options)))
    ModelStore(folder, engine="keras", threads=1).get("tiny_b")
    assert received == [(folder / "tiny_b", "keras", {"threads": 1})]


@pytest.mark.parametrize("name", ["tiny", "TINY_A", "../models/tiny_a", "tiny_a/", "\0", "x" * 10_000])
def test_an_unknown_name_is_an_error(folder, name):
    with pytest.raises(UnknownModelError, match="tiny_a, tiny_b"):
        ModelStore(folder).get(name)


def test_threads_load_a_model_once(folder, monkeypatch):
    loaded = []

    def slow_load(path, *arguments, **options):
        loaded.append(path.name)
        time.sleep(0.05)
        return object()

    monkeypatch.setattr(model_store, "load_classifier", slow_load)
    store, barrier = ModelStore(folder), threading.Barrier(8)

    def get(_):
        barrier.wait()
        return store.get("tiny_b")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get, range(8)))
    assert loaded == ["tiny_b"]
    assert all(each is found[0] for each in found)


def test_a_folder_without_models_or_with_a_damaged_card_is_an_error(folder, tmp_path):
    (folder / "tiny_b" / "card.json").write_text("{")
    for root, file in ((tmp_path, "card.json"), (tmp_path / "missing", "card.json"), (folder, "tiny_b/card.json")):
        with pytest.raises(ModelFileError, match=file):
            ModelStore(root)
