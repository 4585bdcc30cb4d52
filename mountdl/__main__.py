"""Where `mountdl` and `mount.mountdl` begin: the commands, with what only the top row knows given to them."""

import sys
from collections.abc import Callable
from pathlib import Path

from mountdl.control import cli
from mountdl.settings import Settings


def main() -> None:
    """Run `mountdl`."""
    sys.exit(cli.main(sys.argv[1:], _serve, _demo))


def mount_helper() -> None:
    """Run `mount.mountdl`, which mount(8) calls."""
    sys.exit(cli.mount_helper(sys.argv[1:], _serve))


def _serve(settings: Settings, ready: Callable[[], None]) -> None:
    from mountdl.app import serve

    serve(settings, ready)


def _demo(mountpoint: Path | None) -> int:
    from mountdl.demo import main as demo

    return demo(mountpoint)


if __name__ == "__main__":
    main()
