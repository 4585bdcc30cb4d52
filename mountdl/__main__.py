"""Where `mountdl` and the helpers of mount(8) and umount(8) begin: what only the top row knows is given to them."""

import gc
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mountdl.control.fetch import Order
    from mountdl.control.fetch_report import Report
    from mountdl.settings import Settings

_INTERRUPTED = 130


def main() -> None:
    """Run `mountdl`."""
    sys.exit(_interruptible(_main))


def mount_helper() -> None:
    """Run `mount.mountdl`, which mount(8) calls."""
    sys.exit(_interruptible(_mount_helper))


def unmount_helper() -> None:
    """Run `umount.fuse.mountdl`, which umount(8) calls."""
    sys.exit(_interruptible(_unmount_helper))


def _interruptible(run: Callable[[], int]) -> int:
    _prepare_standard_streams()
    # Modules, and later a catalog, are many small values that stay: looking through them for garbage at the usual
    # rate took a tenth of the start and a third of the time that 10,000 descriptors need, and stopped the loop for
    # 0.1 s at each change.
    gc.set_threshold(100_000, 20, 100)
    # What follows is imported in here: a Ctrl-C during the 0.1 s that this takes deserves no traceback either.
    try:
        return run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except RuntimeError as error:
        # What Python before 3.12 makes of one that came while a class was made (type.__set_name__).
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _INTERRUPTED
        raise
    finally:
        # What is left goes with the process. To look through it for garbage once more, as Python does at its end, takes
        # 50 ms after a fetch.
        gc.freeze()


def _prepare_standard_streams() -> None:
    """Open what is closed of standard input, output and error: else files that we open get their numbers.

    A letter that the locale of the terminal does not have is escaped: names come from everywhere.
    """
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:
            setattr(sys, stream, Path(os.devnull).open(mode))  # noqa: SIM115  # for life
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _main() -> int:
    from mountdl.control import cli

    return cli.main(sys.argv[1:], cli.Jobs(_serve, _fetch, _demo))


def _mount_helper() -> int:
    from mountdl.control import cli

    return cli.mount_helper(sys.argv[1:], _serve)


def _unmount_helper() -> int:
    from mountdl.control import cli

    return cli.unmount_helper(sys.argv[1:])


def _serve(settings: "Settings", ready: Callable[[], None], ending: Callable[[], None]) -> None:
    from mountdl.app import serve

    serve(settings, ready, ending)


def _fetch(settings: "Settings", order: "Order", report: "Report") -> int:
    from mountdl.fetching import fetch

    return fetch(settings, order, report)


def _demo(mountpoint: Path | None) -> int:
    from mountdl.demo import main as demo

    return demo(mountpoint)


if __name__ == "__main__":
    main()
