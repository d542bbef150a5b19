"""Settings of the API from environment variables. The defaults suit a small host."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from inference.decode import MAX_PIXELS
from inference.engines import ENGINES
from inference.model_store import SAVED_MODELS
from runtime.validation import require


@dataclass(frozen=True)
class Settings:
    """The API's models and limits. Each field is read from the environment variable THAW_<FIELD>, in capitals."""

    models: Path = SAVED_MODELS  # folder of saved models
    model: str = ""  # name of the default model; empty for the one with the best validation accuracy
    engine: str = "auto"  # or "onnxruntime" or "keras"
    threads: int = 1  # that onnxruntime uses for one prediction
    max_bytes: int = 8 * 2**20  # of a request body
    max_pixels: int = MAX_PIXELS  # of an image
    max_batch: int = 16  # images in one request to /predict/batch
    max_top_k: int = 10
    concurrency: int = 1  # predictions at the same time per worker; decoding a large image takes up to 250 MB
    queue: int = 16  # requests per worker that may wait for a slot; further ones get 503
    queue_seconds: float = 10.0  # longest wait for a slot; then the request gets 503
    cors: str = ""  # comma-separated origins that may call the API from a browser, or `*`; empty for none

    def __post_init__(self):
        require(self.engine in ENGINES, f"engine must be one of {', '.join(ENGINES)}", engine=self.engine)
        least = dict.fromkeys(("threads", "max_bytes", "max_pixels", "max_batch", "max_top_k", "concurrency"), 1)
        for name, minimum in (least | {"queue": 0, "queue_seconds": 0}).items():
            value = getattr(self, name)
            require(value >= minimum, f"{name} must be at least {minimum}", **{name: value})

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(origin.strip() for origin in self.cors.split(",") if origin.strip())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings. A variable that is unset or empty leaves the default; an invalid one raises a ValueError."""
        values = {}
        for field in fields(cls):
            variable = f"THAW_{field.name.upper()}"
            if text := environment.get(variable):
                kind = type(field.default) if field.name != "models" else Path
                try:
                    values[field.name] = kind(text)
                except ValueError:
                    raise ValueError(f"{variable} must be of type {kind.__name__}. Received: {text!r}") from None
        return cls(**values)
