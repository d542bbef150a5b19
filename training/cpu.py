"""What lets a processor train as fast as it can: oneDNN's convolutions, memory that is not given back, bfloat16 where it pays.

TensorFlow and glibc leave all three as they are by default, or get them wrong, on the processors of most laptops.
"""

import ctypes
import os
import platform

from training.provenance import gpus, vector_instructions

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # of glibc's malloc.h


def prefer_onednn() -> None:
    """Have TensorFlow compute with oneDNN on any x86 processor; by itself it does so only on those with AVX-512.

    To be called before TensorFlow is imported, which reads `TF_ENABLE_ONEDNN_OPTS` once. What the user sets stands.
    """
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def computes_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: on GPUs, and on processors with AVX-512.

    oneDNN computes bfloat16 on no other processors, and what TensorFlow has instead is far slower than float32.
    """
    return bool(gpus()) or vector_instructions() == "AVX-512"


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory in this process until its end, instead of giving large blocks back to the kernel.

    Activations and gradients are large blocks, and by default each is mapped anew at every step: the kernel then clears
    its pages once more. One arena serves all threads, because those beside it give back whatever they free. See mallopt(3).

    Returns:
        whether it could be done; where the C library isn't glibc (macOS, Windows, Alpine Linux), nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError, OSError):
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**28, _M_ARENA_MAX: 1}
    taken = [mallopt(name, value) for name, value in settings.items()]
    return all(taken)
