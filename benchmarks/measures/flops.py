"""The floating-point operations of a model, counted in its ONNX file."""

from pathlib import Path

import numpy as np

KERNELS = {"Conv", "Gemm", "MatMul"}


def count_flops(path: str | Path) -> int:
    """Return the floating-point operations of one image, two for each multiply-add.

    Convolutions and matrix products count; activations, pooling, scaling and unfolded normalisation do not. Of several
    outputs only the first counts.

    Raises:
        ValueError: a shape in the file depends on more than the batch.
    """
    import onnx

    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1  # the batch
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    needed = {graph.output[0].name}
    operations = 0
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        needed.update(node.input)
        if node.op_type in KERNELS:
            operations += 2 * _multiplications(node, shapes)
    return operations


def _multiplications(node, shapes: dict[str, tuple]) -> int:
    """Return the size of the output times the number of products in each value."""
    out, kernel = shapes.get(node.output[0]), shapes.get(node.input[1])
    if not out or not kernel or 0 in out or 0 in kernel:
        raise ValueError(f"The shapes of node {node.name} ({node.op_type}) are unknown. Received: {out}, {kernel}")
    if node.op_type == "Conv":
        summed = np.prod(kernel[1:])  # (out, in / groups, height, width)
    else:
        turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        summed = kernel[-1] if turned else kernel[-2]
    return int(np.prod(out) * summed)


def _shape(value) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
