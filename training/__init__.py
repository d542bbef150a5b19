"""Training: recipes, data, the freeze boundary, phases, evaluation and export."""

import os
import platform

# TensorFlow reads this once, when it is imported. By default it uses oneDNN only on processors with AVX-512.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
