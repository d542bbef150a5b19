"""One tensor of every dtype, layout and kind of view that a checkpoint can contain."""

from collections import OrderedDict

import numpy as np

BASE = np.arange(24, dtype="float32").reshape(4, 6)
BLOCK = np.arange(120, dtype="float32").reshape(2, 3, 4, 5)


def every_dtype(torch) -> OrderedDict:
    """Return the tensors as PyTorch makes them; `torch` is the module."""
    base, block = torch.from_numpy(BASE.copy()), torch.from_numpy(BLOCK.copy())
    return OrderedDict(
        float32=base,
        transposed=base.T,
        offset=base[1:, 2:4],
        expanded=torch.ones(1, 3).expand(5, 3),
        channels_last=block.to(memory_format=torch.channels_last),
        scalar=torch.tensor(7),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.tensor([0.5, -1.5])),
        float64=torch.tensor([0.1, 2.0], dtype=torch.float64),
        float16=torch.tensor([0.5, 3.0]).half(),
        bfloat16=torch.tensor([1.5, -2.0, float("inf")]).bfloat16(),
        int64=torch.tensor([2**40, -1]),
        uint8=torch.tensor([255], dtype=torch.uint8),
        boolean=torch.tensor([True, False]),
    )


EXPECTED = {  # bfloat16, which NumPy lacks, is read as float32
    "float32": BASE,
    "transposed": BASE.T,
    "offset": BASE[1:, 2:4],
    "expanded": np.ones((5, 3), "float32"),
    "channels_last": BLOCK,
    "scalar": np.array(7),
    "empty": np.zeros((0, 3), "float32"),
    "parameter": np.array([0.5, -1.5], "float32"),
    "float64": np.array([0.1, 2.0]),
    "float16": np.array([0.5, 3.0], "float16"),
    "bfloat16": np.array([1.5, -2.0, np.inf], "float32"),
    "int64": np.array([2**40, -1]),
    "uint8": np.array([255], "uint8"),
    "boolean": np.array([True, False]),
}
