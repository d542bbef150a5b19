"""Who loses what when a worker is killed under load, and when the server is told to stop."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.server.load import load, multipart
from benchmarks.server.server_process import ServerProcess

CONNECTIONS, SECONDS = 8, 6.0
NOT_TAKEN = "ConnectionRefusedError"  # a request that was never begun: the server had closed its door


def stopping(models: Path, picture: Path, repeats: int = 5) -> dict:
    """Kill a worker (SIGKILL) and stop the server (SIGTERM) in the middle of a load, several times each.

    Args:
        models: the folder of saved models.
        picture: what is sent.
        repeats: of each.
    """
    rows = []
    for name in ("SIGKILL to one of two workers", "SIGTERM to the server"):
        for _ in range(repeats):
            with ServerProcess(environment={"THAW_MODELS": str(models.resolve()), "WEB_CONCURRENCY": "2"}) as server:
                act = _kill_worker(server) if name.startswith("SIGKILL") else _stop(server)
                rows.append({"event": name} | _under_load(server, picture, act))
    lost = {row["event"]: [each["lost"] for each in rows if each["event"] == row["event"]] for row in rows}
    return {"connections": CONNECTIONS, "repeats": repeats, "lost": lost, "runs": rows}


def _kill_worker(server: ServerProcess) -> Callable[[], None]:
    victim = server.workers[0]
    return lambda: os.kill(victim, signal.SIGKILL)


def _stop(server: ServerProcess) -> Callable[[], None]:
    return lambda: server.process.send_signal(signal.SIGTERM)


def _under_load(server: ServerProcess, picture: Path, act: Callable[[], None]) -> dict:
    timer = threading.Timer(SECONDS / 2, act)
    timer.start()
    body = multipart(picture.read_bytes())
    report = load(f"{server.url}/predict", [body], connections=CONNECTIONS, seconds=SECONDS)
    timer.join()
    errors = Counter(report.errors)
    refused = errors.pop(NOT_TAKEN, 0)
    return {"answered": len(report.latencies), "lost": errors.total(), "errors": dict(errors), "refused_after": refused}
