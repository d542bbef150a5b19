"""gunicorn's threaded worker, with less patience: for clients that stall, and for new ones once it is told to stop."""

import contextlib
import os

from gunicorn.workers.gthread import ThreadWorker

BODY_SECONDS = float(os.environ.get("THAW_BODY_SECONDS") or 10)


class Worker(ThreadWorker):
    """Drop clients that stall for `BODY_SECONDS`; after SIGTERM answer who was there, and refuse who comes later.

    gunicorn's own worker waits for the rest of a body without end, so that a few stalled clients hold all of its threads.
    On SIGTERM it stops accepting, but keeps the listening socket open until its last answer is out: the kernel goes on
    taking connections, which nobody will answer, and which are reset when the worker ends.
    """

    def handle_request(self, req, conn):
        conn.sock.settimeout(BODY_SECONDS)
        try:
            return super().handle_request(req, conn)
        finally:
            with contextlib.suppress(OSError):  # it may be closed by now
                conn.sock.setblocking(True)

    def set_accept_enabled(self, enabled):
        super().set_accept_enabled(enabled)
        if self.alive or enabled:
            return
        for listener in self.sockets:
            listener.setblocking(False)
            before = -1
            while before != self.nr_conns:  # whoever waits at the door is let in first
                before = self.nr_conns
                with contextlib.suppress(OSError):
                    self.accept(listener)
            listener.close()
