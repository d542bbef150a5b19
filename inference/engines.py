"""Engines that run a model: onnxruntime if possible, else Keras on an installed backend."""

import contextlib
import ctypes
import functools
import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import Protocol

import numpy as np

from models.saved.card import KERAS_FILE, ONNX_FILE, Card, ModelFileError, NotExplainableError
from runtime.files import sha256_of
from runtime.validation import require

log = logging.getLogger(__name__)

BACKENDS = ("tensorflow", "jax", "torch", "openvino")  # of Keras, in order of preference
ENGINES = ("auto", "onnxruntime", "keras")


class Engine(Protocol):
    """A model that is ready to run.

    Attributes:
        name: "onnxruntime", or "keras" with its backend, as in "keras (jax)".
        explains: whether `outputs` includes what Grad-CAM needs.
    """

    name: str
    explains: bool

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Run the model on images (b, S, S, 3), float32 in 0..255.

        Returns:
            Probabilities (b, classes); if `explains`, also the last feature map (b, h, w, C) and Grad-CAM's channel weights
            (b, classes, C).
        """


def open_engine(folder: Path, card: Card, engine: str = "auto", threads: int | None = None) -> Engine:
    """Open the model in a folder.

    Args:
        folder: with `model.onnx`, `model.keras` or both.
        card: the folder's.
        engine: "onnxruntime", "keras", or "auto": onnxruntime if it is installed and `model.onnx` has the card's checksum, else
            Keras.
        threads: per call, for onnxruntime; None for one per core.

    Raises:
        ValueError: `engine` is unknown.
        ModelFileError: no model can be run; the message says why.
    """
    require(engine in ENGINES, f"engine must be one of {', '.join(ENGINES)}", engine=engine)
    reasons = []
    if engine != "keras":
        if (reason := _why_not("onnxruntime", folder / ONNX_FILE, card)) is None:
            return OnnxEngine(folder / ONNX_FILE, threads)
        reasons.append(reason)
    if engine != "onnxruntime":
        if reasons:
            log.warning("%s Falling back to Keras.", *reasons)
        if (reason := _why_not("keras", folder / KERAS_FILE, card)) is None:
            return KerasEngine(folder / KERAS_FILE)
        reasons.append(reason)
    raise ModelFileError(f"The model in {folder} cannot be run. {' '.join(reasons)}")


def _why_not(package: str, file: Path, card: Card) -> str | None:
    """Return why a package cannot run a model file, or None where it can."""
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed."
    if not file.is_file():
        return f"There is no {file.name}."
    if card.sha256.get(file.name) != sha256_of(file):
        return f"{file.name} is not the file that card.json describes: its checksum differs."
    if package == "keras" and _backend() is None:
        return f"Keras needs one of {', '.join(BACKENDS)}, and none is installed."
    return None


def _backend() -> str | None:
    """Return the backend that Keras uses or would use: $KERAS_BACKEND, else the first that is installed."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    return os.environ.get("KERAS_BACKEND") or next(iter(installed), None)


class OnnxEngine:
    """`model.onnx` under onnxruntime on the CPU."""

    name = "onnxruntime"

    def __init__(self, file: Path, threads: int | None = None):
        from models.saved.onnx_model import OnnxModel

        try:
            self._model = OnnxModel(file, threads)
        except ValueError as error:
            raise ModelFileError(str(error)) from error
        self.explains = self._model.output_count == 3
        # Opening a 14 MB model takes 22 MB of temporary memory, which glibc would not return to the system.
        with contextlib.suppress(OSError, AttributeError):  # glibc only
            ctypes.CDLL(None).malloc_trim(0)

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        return self._model.outputs(images)


class KerasEngine:
    """`model.keras` under Keras: slower, and with more memory."""

    def __init__(self, file: Path):
        os.environ.setdefault("KERAS_BACKEND", _backend() or BACKENDS[0])
        import keras

        if keras.backend.backend() == "openvino":
            _compute_in_float32()
        from models.grad_cam import with_grad_cam
        from models.registry import list_models

        list_models()  # imports every architecture, which registers the custom layers
        try:
            model = keras.saving.load_model(file, compile=False)
        except Exception as error:  # Keras raises nearly anything on a damaged file
            raise ModelFileError(f"{file} cannot be read as a model: {error}") from error
        try:
            self._model, self.explains = with_grad_cam(model), True
        except NotExplainableError:
            self._model, self.explains = model, False
        self.name = f"keras ({keras.backend.backend()})"

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        outputs = self._model.predict_on_batch(images)
        return [np.asarray(output) for output in (outputs if self.explains else [outputs])]


def _compute_in_float32() -> None:
    """Keep OpenVINO from computing in bfloat16, its default on CPUs that support it; Keras has no option for this."""
    import openvino

    if not isinstance(openvino.compile_model, functools.partial):
        config = {"INFERENCE_PRECISION_HINT": "f32"}
        openvino.compile_model = functools.partial(openvino.compile_model, config=config)
