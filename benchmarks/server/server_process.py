"""The API as a real process, started as in the Procfile, for tests and experiments."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class ServerProcess:
    """A server on a free port of 127.0.0.1, as a context manager that waits until it is ready.

    Args:
        command: of the server; None for the Procfile's.
        environment: variables besides those of this process; PORT is added.
        ready: a path with status 200 when the server is ready.
        folder: working directory.
        log: a file for its output; None to drop it.
        patience: seconds to wait until it is ready.

    Attributes:
        url: without a slash at the end.
        start_seconds: from the start to the first status 200 of `ready`.
    """

    def __init__(
        self,
        command: list[str] | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        ready: str = "/readyz",
        folder: Path = ROOT,
        log: Path | None = None,
        patience: float = 60.0,
    ):
        self._command = command or procfile_command()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._environment = {**os.environ, **(environment or {}), "PORT": str(port)}
        self.url = f"http://127.0.0.1:{port}"
        self._ready, self._folder, self._log, self._patience = ready, folder, log, patience

    def __enter__(self) -> "ServerProcess":
        """Start the server and wait until it is ready; RuntimeError if it ends before or takes longer than `patience`."""
        started = time.perf_counter()
        with open(self._log or os.devnull, "ab") as output:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )
        while not self._is_ready():
            if self.process.poll() is not None or time.perf_counter() - started > self._patience:
                self.__exit__()
                output = self._log.read_text(errors="replace")[-10_000:] if self._log else ""
                raise RuntimeError(f"The server did not become ready: {shlex.join(self._command)}\n{output}")
            time.sleep(0.02)
        self.start_seconds = time.perf_counter() - started
        return self

    def __exit__(self, *exception) -> None:
        """Stop the server."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self._ready, timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    @property
    def workers(self) -> list[int]:
        """The process ids of the server's children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def resident_mb(self) -> float:
        """Return the resident memory of the server and its children in MB (10^6 bytes); shared pages count in each."""
        pages = 0
        for pid in (self.process.pid, *self.workers):
            with contextlib.suppress(OSError):  # the process has just ended
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def procfile_command(python: str | None = None) -> list[str]:
    """Return the Procfile's command for `web`, run by `python` (None: this interpreter)."""
    line = next(line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("web:"))
    return [python or sys.executable, "-m", *shlex.split(line.removeprefix("web:"))]
