"""Go to the background, and tell the one who started it honestly whether that worked.

The parent leaves with 0 only after the child said that reads work; a child that fails or dies before that
makes it fail with the child's reason. Forks before trio starts; no thread runs then.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from mountdl.errors import ExitStatus, MountdlError, UsageError

_END = 15.0
"""Seconds that a child gets to end after it was told to."""

LONG = 5.0
"""Seconds after which who waits is told what for."""

Run = Callable[[Callable[[], None]], None]


def in_background(run: Run, where_to_look: str, waited_for: str, *, in_group: bool = False) -> None:
    """Call *run* in a child and return once it called its argument, "ready".

    Raises the UsageError that the child ended with, or that it died; *where_to_look* tells where its log is.
    Interrupted, it ends the child first. *waited_for* is told on standard error when it takes long. The child has a
    session of its own, *in_group* only once it is ready: until then it belongs to our process group.
    """
    ear, mouth = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # Held back over the fork: a Ctrl-C between fork and wait would leave a child that nobody ends.
    with _interruptible_by(signal.SIGTERM, signal.SIGHUP):
        child = os.fork()
        if child == 0:
            os.close(ear)
            _live(run, mouth, in_group=in_group)
        os.close(mouth)
        try:
            with open(ear, "rb") as heard:  # noqa: PTH123  # a descriptor
                if not select.select([heard], [], [], LONG)[0]:
                    print(f"mountdl: {waited_for}; Ctrl-C gives up", file=sys.stderr, flush=True)
                message = heard.readline(1 << 20)
        except BaseException:
            _end(child)
            raise
    _judge(message, child, where_to_look)


def _judge(message: bytes, child: int, where_to_look: str) -> None:
    try:
        said = json.loads(message)
    except ValueError:
        said = None
    if said == {"ready": True}:
        return
    _, code = os.waitpid(child, 0)
    if isinstance(said, dict):
        raise UsageError(str(said.get("error")), ExitStatus(said.get("exit_status", 1)))
    ended = os.waitstatus_to_exitcode(code)
    how = f"was killed by {signal.Signals(-ended).name}" if ended < 0 else f"ended with status {ended}"
    raise UsageError(f"the daemon {how} before reads worked, without a reason; {where_to_look}", ExitStatus.UNKNOWN)


def _live(run: Run, mouth: int, *, in_group: bool) -> NoReturn:
    """Be the daemon."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if not in_group:
            os.setsid()
        os.chdir("/")
        _to_null(0)
        told = [False]

        def ready() -> None:
            _to_null(1, 2)
            if in_group:
                os.setsid()
            told[0] = True
            _say(mouth, {"ready": True})

        status = int(_outcome(run, ready, lambda reason: None if told[0] else _say(mouth, reason)))
    finally:
        # Not sys.exit: the parent's cleanups, which this process inherited, are not its own to run.
        os._exit(status)


def _outcome(run: Run, ready: Callable[[], None], tell: Callable[[dict[str, object]], None]) -> ExitStatus:
    try:
        run(ready)
    except MountdlError as error:
        tell({"error": str(error), "exit_status": int(error.exit_status)})
        return error.exit_status
    except Exception as error:
        import logging

        logging.getLogger(__name__).exception("the daemon ends: a defect of mountdl")
        tell({"error": f"a defect of mountdl: {type(error).__name__}: {error}", "exit_status": 1})
        return ExitStatus.UNKNOWN
    tell({"error": "it was unmounted before reads worked", "exit_status": 1})
    return ExitStatus.OK


def _say(mouth: int, message: dict[str, object]) -> None:
    # A parent that was killed no longer listens; the mount is none the worse for it.
    with contextlib.suppress(BrokenPipeError):
        os.write(mouth, json.dumps(message).encode() + b"\n")
    os.close(mouth)


def _to_null(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)


class _interruptible_by(contextlib.ContextDecorator):  # noqa: N801  # used like a verb
    """Have *numbers* interrupt as Ctrl-C does while the context lasts."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._old: dict[signal.Signals, object] = {}

    def __enter__(self) -> None:
        for number in self._numbers:
            self._old[number] = signal.signal(number, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave


def _end(child: int) -> None:
    """Have *child* unmount and end; kill it if it does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)
        deadline = time.monotonic() + _END
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    time.sleep(0.02)
                    continue
            return
