"""ONNX files: made from a Keras model and checked against it."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.saved.card import NotExplainableError
from models.saved.onnx_model import OnnxModel
from runtime.files import atomic_write
from runtime.quiet import quiet

if TYPE_CHECKING:
    import keras
    import onnx

logger = logging.getLogger(__name__)

INPUT_NAME, BATCH_NAME = "images", "batch"
OPSET = 18  # the newest that tf2onnx writes; onnxruntime reads it since 1.14
PARITY_BATCH = 32
SMALL = 10_000  # values of a matrix that may stand in a file twice


class OnnxExportError(RuntimeError):
    """No ONNX model could be made that stands for the Keras model."""


class OnnxParityError(OnnxExportError):
    """The ONNX model does not answer as the Keras model does."""


def export_served(model: "keras.Model", path: str | Path, images: np.ndarray) -> float:
    """Write `model` as the ONNX file that is served: with what Grad-CAM needs, where its head is one of a known form.

    Args, returns and raises as `export_onnx`.
    """
    from models.grad_cam import with_grad_cam

    with contextlib.suppress(NotExplainableError):
        model = with_grad_cam(model)
    return export_onnx(model, path, images)


def export_onnx(model: "keras.Model", path: str | Path, images: np.ndarray, tolerance: float = 1e-4) -> float:
    """Write `model` as an ONNX file with a free batch size; return the largest difference between the two's outputs.

    The input is named `images`; the outputs are named after the layers that make them. An older file at `path` is
    removed first, because it belongs to another model.

    Args:
        model: a functional model from one (batch, S, S, 3) input to one or more outputs.
        path: where the file goes, whole or not at all.
        images: (n, H, W, 3), n at least 1, uint8 or float32 in 0..255, resized to S×S where they have another size.
            Take real ones: on noise a network's outputs hardly differ from one image to the next.
        tolerance: the largest difference allowed, on any image, alone and in batches: absolute for values up to 1, such as
            probabilities, and a share of the output's largest value beyond.

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
    with atomic_write(path) as partial:
        try:
            with quiet():
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
    from training.data.pipeline import resize  # here, because it imports TensorFlow, and an OnnxModel needs none

    if len(images) == 0:
        raise ValueError(f"images must hold at least one image. Received: an array of shape {images.shape}")
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    answers = [[np.asarray(output) for output in predict(np.asarray(resize(batch, size)))] for batch in batches]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference, of an output with values above 1 as a share of the largest: activations may be big."""
    pairs = zip(found, expected, strict=True)
    return float(np.max([np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in pairs]))


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
    _share_transposed(proto.graph)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _share_transposed(graph: "onnx.GraphProto") -> None:
    """Keep one of two matrices that are each other's transpose, and turn it where the other was used.

    Grad-CAM reads the head's kernels the other way round, and tf2onnx stores what comes of it as constants of their own.
    """
    import onnx

    matrices = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 2
    }
    kept: dict[str, np.ndarray] = {}
    for name, matrix in matrices.items():
        same = (other for other, kernel in kept.items() if np.array_equal(kernel.T, matrix))
        source = next(same, None) if matrix.size > SMALL else None
        if source is None:
            kept[name] = matrix
        else:
            graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == name))
            graph.node.insert(
                0, onnx.helper.make_node("Transpose", [source], [name], name=f"{name}_turned", perm=[1, 0])
            )
