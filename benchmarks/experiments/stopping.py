"""How many requests are lost when a worker is killed under load, and when the server is stopped?

Command: python benchmark.py stopping
Cost: 2 minutes
Result: results/stopping.json
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

from benchmarks.data.photographs import EXAMPLE
from benchmarks.results import record
from benchmarks.server.load import load, multipart
from benchmarks.server.server_process import ServerProcess
from inference.model_store import SAVED_MODELS

CONNECTIONS, SECONDS = 8, 6.0
REFUSED = "ConnectionRefusedError"  # the server had closed its socket: not a lost request


def add_arguments(parser) -> None:
    """Add the number of repeats."""
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each event (default: 5)")


def run(options) -> dict:
    """Send SIGKILL to a worker, and SIGTERM to the server, under load, several times each."""
    environment = {"THAW_MODELS": str(SAVED_MODELS.resolve()), "WEB_CONCURRENCY": "2"}
    rows, lost = [], {}
    for name, prepare in (("SIGKILL to one of two workers", _kill_worker), ("SIGTERM to the server", _stop)):
        for _ in range(options.repeats):
            with ServerProcess(environment=environment) as server:
                rows.append({"event": name} | _under_load(server, prepare(server)))
            lost.setdefault(name, []).append(rows[-1]["lost"])
    result = {"connections": CONNECTIONS, "repeats": options.repeats, "lost": lost, "runs": rows}
    return record(options.results / "stopping.json", result)


def _kill_worker(server: ServerProcess) -> Callable[[], None]:
    victim = server.workers[0]
    return lambda: os.kill(victim, signal.SIGKILL)


def _stop(server: ServerProcess) -> Callable[[], None]:
    return lambda: server.process.send_signal(signal.SIGTERM)


def _under_load(server: ServerProcess, event: Callable[[], None]) -> dict:
    timer = threading.Timer(SECONDS / 2, event)
    timer.start()
    body = multipart(EXAMPLE.read_bytes())
    report = load(f"{server.url}/predict", [body], connections=CONNECTIONS, seconds=SECONDS)
    timer.join()
    errors = Counter(report.errors)
    refused = errors.pop(REFUSED, 0)
    return {"answered": len(report.latencies), "lost": errors.total(), "errors": dict(errors), "refused_after": refused}
