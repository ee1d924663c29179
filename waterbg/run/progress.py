"""One line on a terminal that says how far, how fast, and how long still."""

from __future__ import annotations

import sys
import time


class Progress:
    """Rewritten line on standard error; silent when that is not a terminal.

    Parameters
    ----------
    total : int
        Bytes of the whole work; 0 when unknown (a stream that still grows).
    start : int
        Bytes done before (resume), which do not count for the rate.
    """

    def __init__(self, total: int, start: int) -> None:
        self.total, self.start = total, start
        self.shown = sys.stderr.isatty()
        self.began = time.monotonic()
        self.last = 0.0
        self.chunks = 0

    def update(self, done: int, chunks: int) -> None:
        """``done`` bytes of the input are finished, ``chunks`` more chunks among them."""
        self.chunks += chunks
        now = time.monotonic()
        if not self.shown or now - self.last < 0.2:
            return
        self.last = now
        elapsed = max(now - self.began, 1e-3)
        text = f"{self.chunks} chunks, {self.chunks / elapsed:.1f} per second"
        if self.total and done > self.start:
            left = (self.total - done) * elapsed / (done - self.start)
            text = f"{100 * done / self.total:.0f} %, {text}, {_duration(left)} left"
        self._write(f"waterbg: {text}")

    def clear(self) -> None:
        """Remove the line, so that the summary stands alone."""
        if self.shown and self.last:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
