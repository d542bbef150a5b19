"""Suppress what libraries write to standard error, unless something fails."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Loggers of libraries that are too verbose at level INFO.
VERBOSE_LOGGERS = ("absl", "tensorflow", "h5py", "matplotlib", "tf2onnx", "httpx", "httpx2", "huggingface_hub")


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and what is written to stderr, from C++ too; show it only if the block fails."""
    converter = logging.getLogger("tf2onnx")
    level = converter.level
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter.setLevel(logging.ERROR)
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            converter.setLevel(level)
            if failed:
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))
