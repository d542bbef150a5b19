"""ONNX files: made from a Keras model, checked against it, and run behind the interface that evaluation uses."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.noise import noise_held_back
from models.storage import written_whole

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

INPUT_NAME, BATCH_NAME = "images", "batch"
OPSET = 18  # the newest that tf2onnx writes; onnxruntime reads it since 1.14
PARITY_BATCH = 32


class OnnxExportError(RuntimeError):
    """No ONNX model could be made that stands for the Keras model."""


class OnnxParityError(OnnxExportError):
    """The ONNX model does not answer as the Keras model does."""


class OnnxModel:
    """An `.onnx` file under onnxruntime on the CPU, with what evaluation uses of a `keras.Model`.

    Attributes:
        input_shape: (None, S, S, 3); None stands for any size.
        output_shape: of the first output: (None, classes) for a classifier.
    """

    def __init__(self, path: str | Path):
        """Open the file. Raises ValueError where onnxruntime cannot read it or it has more than one input."""
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no public base
            raise ValueError(f"onnxruntime cannot read {path}: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{path} must have one input, a batch of images. Received: {len(inputs)} inputs")
        self._input = inputs[0].name
        self.input_shape = _shape(inputs[0])
        self.output_shape = _shape(self._session.get_outputs()[0])

    def outputs(self, x: np.ndarray) -> list[np.ndarray]:
        """Return every output for images (b, S, S, 3), float32 in 0..255."""
        return self._session.run(None, {self._input: np.asarray(x, np.float32)})

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        """Return the first output, a classifier's probabilities (b, classes), for images (b, S, S, 3), 0..255."""
        return self.outputs(x)[0]


def export_onnx(model: "keras.Model", path: str | Path, images: np.ndarray, tolerance: float = 1e-4) -> float:
    """Write `model` as an ONNX file with a free batch size; return the largest difference between the two's outputs.

    The input is named `images`; the outputs are named after the layers that make them. An older file at `path` is
    removed first, because it belongs to another model.

    Args:
        model: a functional model from one (batch, S, S, 3) input to one or more outputs.
        path: where the file goes, whole or not at all.
        images: (n, H, W, 3), n at least 1, uint8 or float32 in 0..255, resized to S×S where they have another size.
            Take real ones: on noise a network's outputs hardly differ from one image to the next.
        tolerance: the largest absolute difference allowed, on any image, alone and in batches.

    Raises:
        OnnxParityError: the outputs differ by more, or are not numbers; no file is left.
        OnnxExportError: the model holds an operation that the converter does not know; no file is left.
    """
    import keras

    path = Path(path)
    path.unlink(missing_ok=True)
    size = model.input_shape[1]
    # Keras exports only a model that was called; this calls it.
    expected = _answers(lambda x: keras.tree.flatten(model.predict_on_batch(x)), images, size, PARITY_BATCH)
    with written_whole(path) as partial:
        try:
            with noise_held_back():
                _convert(model, partial)
            served = OnnxModel(partial).outputs
        except Exception as error:  # of TensorFlow, tf2onnx, onnx or onnxruntime
            raise OnnxExportError(f"{model.name} cannot be converted to ONNX: {error}") from error
        in_batches = _answers(served, images, size, PARITY_BATCH)
        alone = _answers(served, images[:1], size, 1)
        difference = max(_difference(in_batches, expected), _difference(alone, [part[:1] for part in expected]))
        if not difference <= tolerance:  # so written, a NaN fails
            raise OnnxParityError(
                f"The ONNX model must agree with the Keras model within {tolerance:g} on {len(images)} images. "
                f"Received: a difference of {difference:.3g}"
            )
    logger.info("%s agrees with the Keras model within %.2g on %d images.", path.name, difference, len(images))
    return difference


def _answers(
    predict: Callable[[np.ndarray], list[Any]], images: np.ndarray, size: int, batch_size: int
) -> list[np.ndarray]:
    """Return each output of `predict` over all images."""
    from training.pipeline import resize  # here, because it imports TensorFlow, and an OnnxModel needs none

    if len(images) == 0:
        raise ValueError(f"images must hold at least one image. Received: an array of shape {images.shape}")
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    answers = [[np.asarray(output) for output in predict(np.asarray(resize(batch, size)))] for batch in batches]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return float(np.max([np.abs(a - b).max() for a, b in zip(found, expected, strict=True)]))


def _convert(model: "keras.Model", path: Path) -> None:
    import keras
    import onnx

    signature = [keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32", name=INPUT_NAME)]
    model.export(path, format="onnx", verbose=False, input_signature=signature, opset_version=OPSET)
    # The converters name outputs after operations of TensorFlow or PyTorch, and the batch after a counter.
    proto = onnx.load(path)
    names = dict(zip([output.name for output in proto.graph.output], model.output_names, strict=True))
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in proto.graph.output:
        output.name = names[output.name]
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH_NAME
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(side if isinstance(side, int) else None for side in value.shape)
