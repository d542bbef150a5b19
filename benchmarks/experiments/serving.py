"""The API against what tutorials serve a Keras model with, side by side: requests, memory, size, time to the first answer."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from benchmarks.server.load import load, multipart
from benchmarks.server.server_process import ROOT, ServerProcess, procfile_command

log = logging.getLogger(__name__)

WORKERS, CONNECTIONS = 2, 8
REQUIREMENTS = ROOT / "requirements-serve.txt"


def serving(model: Path, picture: Path, seconds: float = 60.0) -> dict:
    """Measure both servers on this machine, one after the other for each kind of image; they share the load's settings.

    Ours runs in a fresh environment with the serving requirements alone. Both have two workers.

    Args:
        model: the folder of a saved model, with `model.keras` and `model.onnx`.
        picture: a photograph; it is sent as a 32×32 PNG and as a 1024×768 JPEG.
        seconds: of load, for each.
    """
    with tempfile.TemporaryDirectory() as folder:
        python = _fresh_environment(Path(folder))
        store = Path(folder) / "models"
        store.mkdir()
        (store / model.name).symlink_to(model.resolve())
        shared = {"WEB_CONCURRENCY": str(WORKERS)}
        ours = ServerProcess(procfile_command(python), {**shared, "THAW_MODELS": str(store)})
        plain_command = [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--no-control-socket"]
        plain = ServerProcess(
            [*plain_command, "benchmarks.server.plain_app:app"],
            {"THAW_PLAIN_MODEL": str(model.resolve() / "model.keras"), "TF_CPP_MIN_LOG_LEVEL": "2"},
            patience=120.0,
        )
        rows = []
        for kind, body in _bodies(picture):
            for name, server in (("thaw", ours), ("plain", plain)):
                log.info("%s, %s: %.0f s of load.", name, kind, seconds)
                rows.append({"app": name, "image": kind} | _loaded(server, body, seconds))
        return {
            "model": model.name,
            "workers": WORKERS,
            "connections": CONNECTIONS,
            "seconds": seconds,
            "installed_mb": round(_size_mb(Path(folder) / "environment"), 1),
            "tensorflow_installed": _imports(python, "tensorflow"),
            "runs": rows,
            "ratios": _ratios(rows),
        }


def _fresh_environment(folder: Path) -> str:
    """Make a virtual environment with the serving requirements, and return its Python."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS], check=True)
    return str(python)


def _imports(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0


def _size_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def _bodies(picture: Path) -> Iterator[tuple[str, tuple[bytes, dict[str, str]]]]:
    image = Image.open(picture).convert("RGB")
    for kind, size, form in (("32×32 PNG", (32, 32), "PNG"), ("1024×768 JPEG", (1024, 768), "JPEG")):
        buffer = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, form, quality=90)
        yield kind, multipart(buffer.getvalue())


def _loaded(server: ServerProcess, body: tuple[bytes, dict[str, str]], seconds: float) -> dict:
    """Start a server, time its first answer, put it under load and watch its memory."""
    with server:
        started = time.perf_counter()
        request = urllib.request.Request(f"{server.url}/predict", body[0], body[1])
        with urllib.request.urlopen(request) as response:
            json.load(response)
        first = server.start_seconds + time.perf_counter() - started
        with _watched(server) as peak:
            report = load(f"{server.url}/predict", [body], connections=CONNECTIONS, seconds=seconds)
    return report.as_dict() | {"first_answer_s": round(first, 2), "resident_mb": round(max(peak), 1)}


@contextlib.contextmanager
def _watched(server: ServerProcess) -> Iterator[list[float]]:
    """Note a server's resident memory twice a second during the block."""
    seen, done = [server.resident_mb()], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            seen.append(server.resident_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _ratios(rows: list[dict]) -> dict[str, float]:
    rates = {(row["app"], row["image"]): row["requests_per_second"] for row in rows}
    images = dict.fromkeys(row["image"] for row in rows)
    return {image: round(rates["thaw", image] / rates["plain", image], 1) for image in images}
