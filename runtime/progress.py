"""Progress of long work: a bar on a terminal, else a log line at least every minute."""

import io
import logging
import sys

from tqdm import tqdm

log = logging.getLogger(__name__)

INTERVAL = 60  # most seconds between two log lines
LINE = "{desc}: {n_fmt}/{total_fmt}{unit}, {rate_fmt}, {elapsed} elapsed, {remaining} left{postfix}"


class ProgressBar(tqdm):
    """A `tqdm.tqdm`, with the same arguments, that writes log lines where standard error is not a terminal.

    Work of less than `INTERVAL` seconds logs nothing. `disable=None` disables nothing.
    """

    def __init__(self, *args, **options):
        self._logs = not sys.stderr.isatty()
        if self._logs:
            # tqdm's monitor thread refreshes after `maxinterval` even without updates.
            pace = {"delay": INTERVAL / 2, "mininterval": INTERVAL / 2, "maxinterval": INTERVAL}
            options |= {"file": io.StringIO(), "bar_format": LINE, **pace}
        super().__init__(*args, **{"dynamic_ncols": True, **options, "disable": options.get("disable") or False})

    def display(self, msg=None, pos=None):
        """Draw the bar or log its line."""
        if not self._logs:
            return super().display(msg, pos)
        log.info("%s", msg or str(self))
        return True

    def finish(self, result: str) -> None:
        """Close the bar with a result, which is logged where there is no terminal."""
        if self._logs:
            log.info("%s: %s", self.desc, result)
            self.delay = float("inf")  # so that `close` logs no second line
        else:
            self.set_postfix_str(result)
        self.close()
