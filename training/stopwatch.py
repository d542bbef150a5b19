"""What something took, by the clock on the wall and by the work of all cores."""

import time


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self):
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    @property
    def seconds(self) -> float:
        """Wall-clock time so far."""
        return time.perf_counter() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """Time that this process's threads have computed so far, added up: up to `seconds` times the cores."""
        return time.process_time() - self._cpu
