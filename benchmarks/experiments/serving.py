"""How many requests does the API serve, and in how much memory, against Flask with `model.predict`?

Command: python benchmark.py serving
Cost: 6 minutes
Result: results/serving.json
"""

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

from benchmarks.data.photographs import EXAMPLE
from benchmarks.measures.installed_size import installed_mb
from benchmarks.results import record
from benchmarks.server.load import load, multipart
from benchmarks.server.server_process import ROOT, ServerProcess, procfile_command
from inference.model_store import SAVED_MODELS, ModelStore

log = logging.getLogger(__name__)

WORKERS, CONNECTIONS = 2, 8
REQUIREMENTS = ROOT / "requirements-serve.txt"


def add_arguments(parser) -> None:
    """Add the model and the length of the load."""
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a saved model (default: the API's default)")
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="of load for each row (default: 60)")


def run(options) -> dict:
    """Put both servers under the same load in turn; the API runs in a new environment with only its own requirements."""
    model = options.model or SAVED_MODELS / ModelStore().default
    with tempfile.TemporaryDirectory() as folder:
        python = _fresh_environment(Path(folder) / "environment")
        store = Path(folder) / "models"
        store.mkdir()
        (store / model.name).symlink_to(model.resolve())
        ours = {"WEB_CONCURRENCY": str(WORKERS), "THAW_MODELS": str(store)}
        plain = {"THAW_PLAIN_MODEL": str(model.resolve() / "model.keras"), "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--no-control-socket"]
        servers = {
            "thaw": ServerProcess(procfile_command(python), ours),
            "plain": ServerProcess([*command, "benchmarks.server.plain_app:app"], plain, patience=120.0),
        }
        rows = []
        for kind, body in _bodies():
            for name, server in servers.items():
                log.info("%s, %s: %.0f s of load.", name, kind, options.seconds)
                rows.append({"app": name, "image": kind} | _under_load(server, body, options.seconds))
        installed = installed_mb(Path(folder) / "environment")
    rates = {(row["app"], row["image"]): row["requests_per_second"] for row in rows}
    result = {
        "model": model.name,
        "workers": WORKERS,
        "connections": CONNECTIONS,
        "seconds": options.seconds,
        "installed_mb": installed,
        "runs": rows,
        "ratios": {image: round(rates[app, image] / rates["plain", image], 1) for app, image in rates if app == "thaw"},
    }
    return record(options.results / "serving.json", result)


def _fresh_environment(environment: Path) -> str:
    """Create a virtual environment with the serving requirements, and return its Python."""
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS], check=True)
    return str(python)


def _bodies() -> Iterator[tuple[str, tuple[bytes, dict[str, str]]]]:
    image = Image.open(EXAMPLE).convert("RGB")
    for kind, size, form in (("32×32 PNG", (32, 32), "PNG"), ("1024×768 JPEG", (1024, 768), "JPEG")):
        buffer = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, form, quality=90)
        yield kind, multipart(buffer.getvalue())


def _under_load(server: ServerProcess, body: tuple[bytes, dict[str, str]], seconds: float) -> dict:
    """Start a server, time its first response, put it under load, and record its peak memory."""
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
    """Sample a server's resident memory twice a second during the block."""
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
