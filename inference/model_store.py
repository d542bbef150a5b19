"""The model store: a folder of saved models, each loaded when it is first used."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from inference.classifier import Classifier, load_classifier
from models.saved.card import CARD_FILE, Card, ModelFileError, default_model, read_card

SAVED_MODELS = Path(__file__).resolve().parent.parent / "saved_models"


class UnknownModelError(ValueError):
    """The store has no model of that name; the message lists the names."""


class ModelStore:
    """The saved models in a folder, by the names of their subfolders. Thread-safe.

    Attributes:
        cards: the cards by name, the default model's first, then in alphabetical order.
        default: name of the default model.
    """

    def __init__(
        self,
        root: str | os.PathLike = SAVED_MODELS,
        *,
        default: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
    ):
        """Read the cards of a folder with a subfolder per model; load no model yet. `engine`, `threads`: as in `open_engine`.

        Raises:
            ModelFileError: `root` holds no model or no model named `default`, or a card cannot be read.
        """
        root = Path(root)
        cards = {path.parent.name: read_card(path) for path in sorted(root.glob(f"*/{CARD_FILE}"))}
        if not cards:
            raise ModelFileError(f"There is no saved model in {root}: no folder in it holds a {CARD_FILE}.")
        if default is not None and default not in cards:
            raise ModelFileError(f"The default model must be one of {', '.join(cards)}. Received: {default!r}")
        self.default = default or default_model(cards)
        self.cards: Mapping[str, Card] = {self.default: cards.pop(self.default), **cards}
        self._load = lambda name: load_classifier(root / name, engine, threads=threads)
        self._loaded: dict[str, Classifier] = {}
        self._lock = threading.Lock()

    def get(self, name: str | None = None) -> Classifier:
        """Return a model by name, by default the default model; the first call loads it.

        Raises:
            UnknownModelError: the store has no model of that name.
            ModelFileError: the model cannot be run.
        """
        name = name or self.default
        if name not in self.cards:
            raise UnknownModelError(f"model must be one of {', '.join(self.cards)}. Received: {name!r}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def is_loaded(self, name: str) -> bool:
        return name in self._loaded


def open_classifier(model: str | None = None, engine: str = "auto") -> Classifier:
    """Load a model by its folder, or by its name in `saved_models/`; None for the default model there."""
    if model is not None and Path(model).is_dir():
        return load_classifier(model, engine)
    return ModelStore(engine=engine).get(model)
