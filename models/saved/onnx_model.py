"""An ONNX model, run by onnxruntime without Keras or TensorFlow."""

import os
from pathlib import Path
from typing import Any

import numpy as np


class OnnxModel:
    """An `.onnx` file in onnxruntime on the CPU, with the part of `keras.Model`'s interface that evaluation uses.

    It runs in `threads` threads, by default one per core.

    Raises:
        ValueError: if onnxruntime cannot read the file, or it has more than one input.
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        # Set before the import: onnxruntime's official builds report to Microsoft and keep a database in the user's cache.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no public base
            raise ValueError(f"onnxruntime cannot read {path}: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1:
            raise ValueError(f"{path} must have one input, a batch of images. Received: {len(inputs)} inputs")
        self._input = inputs[0].name
        self.input_shape = _shape(inputs[0])  # (None, S, S, 3); None stands for any size
        self.output_count = len(outputs)
        self.output_shape = _shape(outputs[0])  # (None, classes) for a classifier

    def outputs(self, x: np.ndarray) -> list[np.ndarray]:
        """Return all outputs for images (b, S, S, 3), float32 in 0..255."""
        return self._session.run(None, {self._input: np.asarray(x, np.float32)})

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        """Return the first output, a classifier's probabilities (b, classes), for images (b, S, S, 3) in 0..255."""
        return self.outputs(x)[0]


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(side if isinstance(side, int) else None for side in value.shape)
