"""How a network learns: recipes, data, the freeze boundary, the phases, evaluation and export."""

import os
import platform

# TensorFlow reads this once, at its import. By itself it computes with oneDNN only on processors with AVX-512.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
