"""Floating-point operations of an ONNX model."""

from pathlib import Path

import numpy as np

KERNELS = {"Conv", "Gemm", "MatMul"}


def count_flops(path: str | Path) -> int:
    """Return the floating-point operations of the first output for one image, two for each multiply-add.

    Only convolutions and matrix products count.

    Raises:
        ValueError: a shape depends on more than the batch.
    """
    import onnx

    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1  # the batch
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    shapes = {value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim) for value in values}
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
