"""A limiter in front of the work: a few inside, some waiting, and a quick refusal for the rest."""

import contextlib
import threading
from collections.abc import Iterator


class BusyError(RuntimeError):
    """There is no room: the queue is full, or the wait was too long."""


class ConcurrencyLimiter:
    """Let `concurrency` threads in at a time and `queue` wait, each for at most `seconds`.

    Without it a burst of requests would all decode at once, and memory, not patience, would be what runs out.
    """

    def __init__(self, concurrency: int, queue: int, seconds: float):
        self._room = threading.BoundedSemaphore(concurrency + queue)
        self._slots = threading.BoundedSemaphore(concurrency)
        self._seconds = min(seconds, threading.TIMEOUT_MAX)  # beyond which waiting is an error

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Wait for a place and hold it for the block.

        Raises:
            BusyError: if there is no room to wait, or no place came free in time.
        """
        if not self._room.acquire(blocking=False):
            raise BusyError("The queue is full.")
        try:
            if not self._slots.acquire(timeout=self._seconds):
                raise BusyError(f"No place came free within {self._seconds:g} s.")
            try:
                yield
            finally:
                self._slots.release()
        finally:
            self._room.release()
