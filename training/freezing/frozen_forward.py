"""The frozen part of a network as a function on NumPy arrays, in ONNX Runtime or Keras."""

import logging
import tempfile
from pathlib import Path

import keras
import numpy as np

from models.saved.onnx_model import OnnxModel
from runtime.progress import ProgressBar
from training.data.image_batches import resize
from training.export.onnx_export import export_onnx

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
PARITY_IMAGES = 8
CHUNK = 100  # images in one forward pass


class FrozenForward:
    """Run a frozen model forward: with ONNX Runtime where its outputs agree within 1e-4, else with Keras.

    Call it with float32 images (batch, S, S, 3) in 0..255; it returns a list of float32 arrays, one per output. The first
    call compares both on its images and sets `engine` to "onnxruntime" or "keras".
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.engine: str | None = None
        self._onnx_model: OnnxModel | None = None

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        if self.engine is None:
            self._choose_engine(images[:PARITY_IMAGES])
        if self._onnx_model is not None:
            return self._onnx_model.outputs(images)
        return [np.asarray(output) for output in keras.tree.flatten(self.model.predict_on_batch(images))]

    def over(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the model's outputs for uint8 images (n, H, W, 3), resized to its input."""
        side = self.model.input_shape[1]
        starts = ProgressBar(range(0, len(images), CHUNK), desc="Frozen layers", unit=" batches", leave=False)
        parts = [self(np.asarray(resize(images[start : start + CHUNK], side))) for start in starts]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _choose_engine(self, images: np.ndarray) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "frozen.onnx"
                difference = export_onnx(self.model, path, images, tolerance=TOLERANCE)
                self._onnx_model = OnnxModel(path)
        except Exception as error:  # ONNX Runtime only saves time, so any failure falls back to Keras
            self.engine = "keras"
            log.info("The frozen layers run with Keras: %s", error)
        else:
            self.engine = "onnxruntime"
            log.info("The frozen layers run with ONNX Runtime (max abs difference from Keras %.1e).", difference)
