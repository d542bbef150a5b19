"""What an operator may set, by environment variables; every one has a default that suits a small host."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from inference.decode import MAX_PIXELS
from inference.engines import ENGINES
from inference.model_store import SAVED_MODELS


@dataclass(frozen=True)
class Settings:
    """The API's limits and models. Each field is read from the variable THAW_ and its name in capitals.

    Attributes:
        models: the folder of saved models.
        model: the model that answers where a request names none; empty for the one with the best validation accuracy.
        engine: "auto", "onnxruntime" or "keras".
        threads: of onnxruntime, for one answer.
        max_bytes: the largest request body.
        max_pixels: the most pixels that are decoded of one image.
        max_batch: the most images in one request to /predict/batch.
        max_top_k: the most classes that a request may ask to have named.
        concurrency: requests that one process answers at the same time; there is a process for each core, and each further
            request that is decoded at once takes up to 250 MB.
        queue: requests that may wait for that; the next one gets 503.
        queue_seconds: how long one waits at most; then it gets 503.
        cors: comma-separated origins whose pages may call the API, or `*`; empty for none.
    """

    models: Path = SAVED_MODELS
    model: str = ""
    engine: str = "auto"
    threads: int = 1
    max_bytes: int = 8 * 2**20
    max_pixels: int = MAX_PIXELS
    max_batch: int = 16
    max_top_k: int = 10
    concurrency: int = 1
    queue: int = 16
    queue_seconds: float = 10.0
    cors: str = ""

    def __post_init__(self):
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}. Received: engine={self.engine!r}")
        for name in ("threads", "max_bytes", "max_pixels", "max_batch", "max_top_k", "concurrency"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1. Received: {name}={getattr(self, name)!r}")
        for name in ("queue", "queue_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0. Received: {name}={getattr(self, name)!r}")

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of `cors`."""
        return tuple(origin.strip() for origin in self.cors.split(",") if origin.strip())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; a variable that is unset or empty leaves the default.

        Raises:
            ValueError: a value of the wrong type or out of range; the message names the variable.
        """
        given = {}
        for field in fields(cls):
            variable = f"THAW_{field.name.upper()}"
            if text := environment.get(variable):
                kind = type(field.default) if field.name != "models" else Path
                try:
                    given[field.name] = kind(text)
                except ValueError:
                    raise ValueError(f"{variable} must be of type {kind.__name__}. Received: {text!r}") from None
        return cls(**given)
