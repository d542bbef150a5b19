"""The saved models that are at hand: which there are, and each loaded when it is first asked for."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from inference.classifier import Classifier, load_classifier
from models.saved.card import CARD_FILE, Card, ModelFileError, default_model, read_card

SAVED_MODELS = Path(__file__).resolve().parent.parent / "saved_models"


class UnknownModelError(ValueError):
    """No saved model has that name. The message lists the names."""


class ModelStore:
    """The models in the folders of one folder, by the folders' names. Threads may share it.

    Attributes:
        cards: the models' cards by name, the default model's first, the others by name.
        default: the name of the model that answers where none is named.
    """

    def __init__(
        self,
        root: str | os.PathLike = SAVED_MODELS,
        *,
        default: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
    ):
        """Read the cards; no model is loaded yet. `default` None takes `models.saved.card.default_model`.

        Raises:
            ModelFileError: if there is no model in `root`, or no default of that name, or a card cannot be read.
        """
        root = Path(root)
        cards = {path.parent.name: read_card(path) for path in sorted(root.glob(f"*/{CARD_FILE}"))}
        if not cards:
            raise ModelFileError(f"There is no saved model in {root}: no folder in it holds a {CARD_FILE}.")
        if default is not None and default not in cards:
            raise ModelFileError(f"The default model must be one of {', '.join(cards)}. Received: {default!r}")
        self.default = default or default_model(cards)
        self.cards: Mapping[str, Card] = {self.default: cards.pop(self.default), **cards}
        self._open = lambda name: load_classifier(root / name, engine, threads=threads)
        self._loaded: dict[str, Classifier] = {}
        self._lock = threading.Lock()

    def get(self, name: str | None = None) -> Classifier:
        """Return a model by name, or the default one; the first call loads it.

        Raises:
            UnknownModelError: if there is none of that name.
            ModelFileError: if it cannot be run.
        """
        name = name or self.default
        if name not in self.cards:
            raise UnknownModelError(f"model must be one of {', '.join(self.cards)}. Received: {name!r}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._open(name)
            return self._loaded[name]

    def is_loaded(self, name: str) -> bool:
        """Whether a model is in memory."""
        return name in self._loaded
