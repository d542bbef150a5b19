"""What a process is told before it trains: oneDNN, and bfloat16 by the hardware."""

import os
import platform
import subprocess
import sys

import pytest

from training import cpu


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="on other processors TensorFlow decides")
@pytest.mark.parametrize(("chosen", "used"), [(None, True), ("0", False)])
def test_tensorflow_computes_with_onednn_unless_told_not_to(chosen, used):
    script = "import training.run; from tensorflow.python.util import _pywrap_util_port as p; print(p.IsMklEnabled())"
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if chosen is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = chosen
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(used)


@pytest.mark.parametrize(
    ("found", "vectors", "fast"),
    [([], "AVX2", False), ([], None, False), ([], "AVX-512", True), (["NVIDIA L4"], "AVX2", True)],
)
def test_bfloat16_is_for_gpus_and_avx512(found, vectors, fast, monkeypatch):
    monkeypatch.setattr(cpu, "gpus", lambda: found)
    monkeypatch.setattr(cpu, "vector_instructions", lambda: vectors)
    assert cpu.computes_bfloat16() is fast
