"""gunicorn's threaded worker with a read timeout, and a listening socket that closes on SIGTERM."""

import contextlib
import os

from gunicorn.workers.gthread import ThreadWorker

BODY_SECONDS = float(os.environ.get("THAW_BODY_SECONDS") or 10)


class Worker(ThreadWorker):
    """Disconnect clients that stall for `BODY_SECONDS`; after SIGTERM, serve accepted connections and refuse new ones.

    gunicorn's own worker waits for the rest of a body without a timeout, so a few stalled clients can block all threads.
    After SIGTERM it keeps the listening socket open until its last response is sent. Until then the kernel accepts
    connections that nobody serves and that are reset when the worker exits.
    """

    def handle_request(self, req, conn):
        conn.sock.settimeout(BODY_SECONDS)
        try:
            return super().handle_request(req, conn)
        finally:
            with contextlib.suppress(OSError):  # the socket may be closed by now
                conn.sock.setblocking(True)

    def set_accept_enabled(self, enabled):
        super().set_accept_enabled(enabled)
        if self.alive or enabled:
            return
        for listener in self.sockets:
            listener.setblocking(False)
            before = -1
            while before != self.nr_conns:  # accept the connections that are already waiting
                before = self.nr_conns
                with contextlib.suppress(OSError):
                    self.accept(listener)
            listener.close()
