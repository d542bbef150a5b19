"""Limit how many requests run the model at the same time."""

import contextlib
import threading
from collections.abc import Iterator


class BusyError(RuntimeError):
    """The queue is full, or no slot became free in time."""


class ConcurrencyLimiter:
    """Let `concurrency` threads run at a time and `queue` more wait, each for at most `seconds`.

    Without a limit, a burst of requests would decode all its images at the same time and exhaust the memory.
    """

    def __init__(self, concurrency: int, queue: int, seconds: float):
        self._queue = threading.BoundedSemaphore(concurrency + queue)
        self._slots = threading.BoundedSemaphore(concurrency)
        self._seconds = min(seconds, threading.TIMEOUT_MAX)  # acquire() rejects longer timeouts

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a slot and hold it during the block, or raise a BusyError."""
        if not self._queue.acquire(blocking=False):
            raise BusyError("The queue is full.")
        try:
            if not self._slots.acquire(timeout=self._seconds):
                raise BusyError(f"No slot became free within {self._seconds:g} s.")
            try:
                yield
            finally:
                self._slots.release()
        finally:
            self._queue.release()
