"""Smoke test for any platform: `--help` of every command, one prediction, one response of the API.

python .ci/smoke.py
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = Path("deploy/examples/cat.jpg")
COMMANDS = ("train.py", "evaluate.py", "predict.py", "benchmark.py", "gradio_app.py")
PATIENCE = 120  # seconds


def run(*arguments: str) -> str:
    """Run Python with these arguments in the checkout, and return its standard output.

    Raises:
        subprocess.CalledProcessError: the exit status is not 0.
    """
    print("+ python", *arguments, flush=True)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


@contextlib.contextmanager
def api() -> Iterator[str]:
    """Serve the API by Flask's own server, which every platform has, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "flask", "--app", "deploy.api", "run", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_until_ready(address: str) -> None:
    """Return once `/readyz` answers 200.

    Raises:
        TimeoutError: it did not within `PATIENCE` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{address}/readyz", timeout=5)
            return
        time.sleep(0.5)
    raise TimeoutError(f"{address}/readyz did not answer within {PATIENCE} s.")


def main() -> int:
    """Run every check, and return the exit status."""
    os.environ.setdefault("PYTHONUTF8", "1")
    for command in COMMANDS:
        run(command, "--help")
    row = json.loads(run("predict.py", str(EXAMPLE), "--format", "jsonl"))
    assert row["predictions"][0]["label"] == "cat", row
    with api() as address:
        wait_until_ready(address)
        image = {"Content-Type": "image/jpeg"}
        request = urllib.request.Request(f"{address}/predict", (ROOT / EXAMPLE).read_bytes(), image)
        with urllib.request.urlopen(request) as response:
            document = json.load(response)
    assert document["predictions"] == row["predictions"], document
    print(f"The command line and the API agree: {document['predictions'][0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
