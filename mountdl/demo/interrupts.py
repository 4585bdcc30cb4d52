"""Ctrl-C, a hang-up and a request to end, turned into exceptions where the demo can clean up after them."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Raises KeyboardInterrupt, or SystemExit(128 + signal), for the signals that ask a command to end."""

    def __init__(self) -> None:
        self._held = 0
        self._came: int | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Answer signals while the context lasts; those that are ignored, as under nohup(1), stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing interrupt the context; what came meanwhile is raised after it."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held and self._came is not None:
            self._raise(self._came)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._held:
            self._came = number
        else:
            self._raise(number)

    def _raise(self, number: int) -> None:
        self._came = None
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)
