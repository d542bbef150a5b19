"""What a process is told before it trains: oneDNN, bfloat16 by the hardware, and freed memory that stays with it."""

import os
import platform
import subprocess
import sys

import pytest

from training import cpu

FAULTS = """
import ctypes, resource, sys
from training.cpu import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
if sys.argv[1] == "kept":
    assert keep_freed_memory()

def step():
    block = libc.malloc(2**26)
    ctypes.memset(block, 1, 2**26)
    libc.free(block)

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_the_same_blocks_again_cost_no_page_faults():
    faults = {
        way: int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, check=True).stdout)
        for way in ("kept", "given back")
    }
    assert faults["kept"] < 100 < faults["given back"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="on other processors TensorFlow decides")
@pytest.mark.parametrize(("chosen", "used"), [(None, True), ("0", False)])
def test_tensorflow_computes_with_onednn_unless_told_not_to(chosen, used):
    script = "import training.run; from tensorflow.python.util import _pywrap_util_port as p; print(p.IsMklEnabled())"
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if chosen is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = chosen
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(used)


@pytest.mark.parametrize(("found", "vectors", "fast"), [
    ([], "AVX2", False), ([], None, False), ([], "AVX-512", True), (["NVIDIA L4"], "AVX2", True),
])  # fmt: skip
def test_bfloat16_is_for_gpus_and_avx512(found, vectors, fast, monkeypatch):
    monkeypatch.setattr(cpu, "gpus", lambda: found)
    monkeypatch.setattr(cpu, "vector_instructions", lambda: vectors)
    assert cpu.computes_bfloat16() is fast
