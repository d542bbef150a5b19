"""What lets a processor train as fast as it can: oneDNN's convolutions, and bfloat16 only where it pays.

Left to itself, TensorFlow gets both wrong on the processors of most laptops.
"""

import os
import platform

from training.provenance import gpus, vector_instructions


def prefer_onednn() -> None:
    """Have TensorFlow compute with oneDNN on any x86 processor; by itself it does not where there is AVX2 alone.

    To be called before TensorFlow is imported, which reads `TF_ENABLE_ONEDNN_OPTS` once. What the user sets stands.
    """
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def computes_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: on GPUs, and on processors with AVX-512.

    oneDNN computes bfloat16 on no other processors, and what TensorFlow has instead is far slower than float32.
    """
    return bool(gpus()) or vector_instructions() == "AVX-512"
