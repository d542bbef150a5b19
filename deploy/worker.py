"""gunicorn's threaded worker, with a door that shuts at once when it is told to stop."""

import contextlib

from gunicorn.workers.gthread import ThreadWorker


class PromptlyClosingWorker(ThreadWorker):
    """Answer every connection that was made before SIGTERM, and have later ones refused.

    gunicorn's own worker stops accepting too, but keeps the listening socket open until its last answer is out: the kernel
    goes on taking connections, which nobody will answer, and which are reset when the worker ends.
    """

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
