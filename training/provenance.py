"""Provenance of a result: hardware, commit, versions, checksums and peak memory."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core._multiarray_umath import __cpu_features__  # what numpy.show_runtime prints

_VECTORS = {"AVX-512": "AVX512F", "AVX2": "AVX2"}  # NumPy's names of the features, which it detects on every system
ROOT = Path(__file__).resolve().parent.parent


def hardware() -> dict[str, Any]:
    """Return what speed depends on, without host name or paths.

    Keys: `cpu` (model), `vectors` (see `vector_instructions`), `cores` (usable), `memory_gib` (None where unknown), `gpus` (see
    `gpus`), `platform`, `python`.
    """
    try:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        memory = None
    return {
        "cpu": _cpu_model(),
        "vectors": vector_instructions(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": memory,
        "gpus": gpus(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def describe_hardware() -> str:
    """Return `hardware()` as one line, such as "AMD EPYC 9B14 (AVX-512), 2 cores, 24 GiB, Linux x86_64"."""
    found = hardware()
    memory = [] if found["memory_gib"] is None else [f"{found['memory_gib']} GiB"]
    cores = f"{found['cores']} core" + ("s" if found["cores"] != 1 else "")
    cpu = f"{found['cpu']} ({found['vectors']})" if found["vectors"] else found["cpu"]
    return ", ".join([cpu, cores, *memory, *found["gpus"], found["platform"]])


def git_commit() -> str | None:
    """Return the commit of this checkout, 40 hexadecimal digits, and `-dirty` if tracked files outside `results/` changed.

    None without git, without a commit, or if the code is not in its own repository.
    """
    # Inside a git hook, GIT_DIR and the like would point git at the hook's repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=30)
        return run.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return None
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
        return git("rev-parse", "--verify", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Return the versions of `python` and `keras`, and the name of Keras's `backend`."""
    import keras  # here, because commands use this module before they load Keras

    return {"python": platform.python_version(), "keras": keras.version(), "backend": keras.backend.backend()}


def arrays_sha256(arrays: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of the concatenated bytes of arrays."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def peak_memory_mb() -> float | None:
    """Return the peak resident memory of this process in MB (10^6 bytes); None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)  # macOS counts bytes, Linux KiB


def vector_instructions() -> str | None:
    """Return the widest vector instructions of this processor, "AVX-512" or "AVX2"; None where it has neither."""
    return next((name for name, feature in _VECTORS.items() if __cpu_features__.get(feature)), None)


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown CPU"


def gpus() -> list[str]:
    """Return the names of the GPUs that the imported frameworks see; none is imported here, which would take seconds."""
    tensorflow, jax, torch = (sys.modules.get(name) for name in ("tensorflow", "jax", "torch"))
    found: list[str] = []
    if tensorflow is not None:
        devices = tensorflow.config.list_physical_devices("GPU")
        details = [tensorflow.config.experimental.get_device_details(device) for device in devices]
        found = [detail.get("device_name", "GPU") for detail in details]
    if not found and jax is not None:
        found = [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    if not found and torch is not None:
        found = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return found
