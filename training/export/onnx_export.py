"""Export a Keras model to ONNX and compare the outputs of both."""

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
OPSET = 18  # the newest that tf2onnx writes; onnxruntime 1.14 and later read it
PARITY_BATCH = 32
SMALL = 10_000  # values; a smaller matrix may be stored twice


class OnnxExportError(RuntimeError):
    """The Keras model could not be exported to an equivalent ONNX model."""


class OnnxParityError(OnnxExportError):
    """The outputs of the ONNX model and the Keras model differ."""


def export_served(model: "keras.Model", path: str | Path, images: np.ndarray) -> float:
    """Export `model` as `export_onnx` does, with the outputs for Grad-CAM if its head has a closed form."""
    from models.grad_cam import with_grad_cam

    with contextlib.suppress(NotExplainableError):
        model = with_grad_cam(model)
    return export_onnx(model, path, images)


def export_onnx(model: "keras.Model", path: str | Path, images: np.ndarray, tolerance: float = 1e-4) -> float:
    """Export `model` atomically as an ONNX file with a free batch size.

    The input is named `images`, each output after its layer. An older file at `path` is deleted first, because it belongs to
    another model; if the export fails, no file is left.

    Args:
        model: a functional model with one (batch, S, S, 3) input and one or more outputs.
        path: the file.
        images: (n, H, W, 3), n at least 1, uint8 or float32 in 0..255, resized to S×S. Use real images: on noise, outputs
            hardly vary.
        tolerance: largest difference allowed, for single images and batches: absolute for outputs up to 1, such as
            probabilities, else relative to the output's largest value.

    Returns:
        The largest difference between the outputs of the two models.

    Raises:
        OnnxParityError: the difference exceeds `tolerance` or is NaN.
        OnnxExportError: the converter does not support an operation.
    """
    import keras

    path = Path(path)
    path.unlink(missing_ok=True)
    size = model.input_shape[1]
    # Keras exports only models that have been called, which this does.
    expected = _outputs(lambda x: keras.tree.flatten(model.predict_on_batch(x)), images, size, PARITY_BATCH)
    with atomic_write(path) as partial:
        try:
            with quiet():
                _convert(model, partial)
            exported = OnnxModel(partial).outputs
        except Exception as error:  # of TensorFlow, tf2onnx, onnx or onnxruntime
            raise OnnxExportError(f"{model.name} cannot be converted to ONNX: {error}") from error
        in_batches = _outputs(exported, images, size, PARITY_BATCH)
        alone = _outputs(exported, images[:1], size, 1)
        difference = max(_difference(in_batches, expected), _difference(alone, [part[:1] for part in expected]))
        if not difference <= tolerance:  # written so that NaN fails
            raise OnnxParityError(
                f"The ONNX model must agree with the Keras model within {tolerance:g} on {len(images)} images. "
                f"Received: a difference of {difference:.3g}"
            )
    logger.info("%s agrees with the Keras model within %.2g on %d images.", path.name, difference, len(images))
    return difference


def _outputs(
    predict: Callable[[np.ndarray], list[Any]], images: np.ndarray, size: int, batch_size: int
) -> list[np.ndarray]:
    from training.data.image_batches import resize  # imports TensorFlow

    if len(images) == 0:
        raise ValueError(f"images must hold at least one image. Received: an array of shape {images.shape}")
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    outputs = [[np.asarray(output) for output in predict(np.asarray(resize(batch, size)))] for batch in batches]
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference, relative to an output's largest value where that exceeds 1."""
    pairs = zip(found, expected, strict=True)
    return float(np.max([np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in pairs]))


def _convert(model: "keras.Model", path: Path) -> None:
    import keras
    import onnx

    signature = [keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32", name=INPUT_NAME)]
    model.export(path, format="onnx", verbose=False, input_signature=signature, opset_version=OPSET)
    # The converters name outputs after operations of TensorFlow or PyTorch, and the batch dimension after a counter.
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
    """Replace large matrices that are transposes of others, as Grad-CAM's are of the head's kernels, by Transpose nodes."""
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
            node = onnx.helper.make_node("Transpose", [source], [name], name=f"{name}_turned", perm=[1, 0])
            graph.node.insert(0, node)
