"""`mountdl demo`: the main job without the internet, narrated.

It makes everything itself: files, a metalink, a torrent, loopback mirrors, a mount. It checks what it claims and leaves
nothing behind, however it ends.
"""

import contextlib
import errno
import shutil
import sys
import tempfile
from pathlib import Path

from mountdl.control import checks, mounttable
from mountdl.control.registry import Registry
from mountdl.control.text import shown, size
from mountdl.demo import story
from mountdl.demo.interrupts import Interrupts
from mountdl.demo.mirrors import Mirrors
from mountdl.demo.mounted import Mount
from mountdl.demo.narrator import Narrator
from mountdl.demo.samples import PIECE_LENGTH, make_samples
from mountdl.demo.story import Story
from mountdl.errors import ExitStatus, StoreError, StoreFull

_ROOM = 160 << 20
"""Bytes that the temporary directory needs: both files twice over, to be sure."""


def main(mountpoint: Path | None) -> int:
    """Run the demo on *mountpoint*, an empty directory, or on one of its own; return the exit status.

    Raises MountdlError when it can't run, KeyboardInterrupt or SystemExit when it is told to end; all is cleaned
    up before.
    """
    checks.check_fuse()
    place = None
    if mountpoint is not None:
        place = mounttable.resolved(mountpoint)
        checks.check_mountpoint(place, Registry.of_user())
    interrupts = Interrupts()
    with interrupts.caught():
        try:
            return _run(place, interrupts)
        except BrokenPipeError:
            raise  # whoever reads our output has enough
        except OSError as error:
            kind = StoreFull if error.errno == errno.ENOSPC else StoreError
            raise kind(f"the demo can't go on: {error.strerror or error}") from error


def _run(mountpoint: Path | None, interrupts: Interrupts) -> int:
    narrator = Narrator(sys.stdout, terminal=sys.stdout.isatty())
    stack = contextlib.ExitStack()
    try:
        with interrupts.held():
            scratch = _scratch(stack)
        told = _prepared(scratch, mountpoint, narrator, interrupts, stack)
        with told.mount.missed():
            story.tell(told)
        if mountpoint is not None and sys.stdin is not None and sys.stdin.isatty() and narrator.terminal:
            story.keep(told)
    finally:
        with interrupts.held():
            stack.close()
    return _conclude(told, scratch)


def _scratch(stack: contextlib.ExitStack) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="mountdl-demo-")).resolve()
    stack.callback(shutil.rmtree, scratch, ignore_errors=True)
    free = shutil.disk_usage(scratch).free
    if free < _ROOM:
        stack.close()
        raise StoreFull(f"{scratch.parent} has {size(free)} left, the demo needs {size(_ROOM)}: set TMPDIR elsewhere")
    for name in ("descriptors", "mnt", "config"):
        (scratch / name).mkdir()
    return scratch


def _prepared(
    scratch: Path, mountpoint: Path | None, narrator: Narrator, interrupts: Interrupts, stack: contextlib.ExitStack
) -> Story:
    narrator.say("mountdl demo: read files before they are here. This takes some seconds.")
    film, disc = make_samples()
    files = {sample.name: sample.data for sample in (film, disc)}
    with interrupts.held():
        mirrors = stack.enter_context(Mirrors(files, PIECE_LENGTH))
        mount = Mount(scratch / "descriptors", mountpoint or scratch / "mnt", scratch, interrupts.held)
        stack.callback(mount.stop)
    return Story(narrator, mirrors, mount, film, disc)


def _conclude(told: Story, scratch: Path) -> int:
    narrator = told.narrator
    narrator.act("Summary")
    left = [str(path) for path in (scratch,) if path.exists()]
    if mounttable.on(told.mount.mountpoint) is not None:
        left.append(str(told.mount.mountpoint))
    told.check(
        not left, "Cleaned up: no mount, no process, no file is left.", f"Left behind: {shown(', '.join(left))}."
    )
    told.check(
        not told.failed,
        f"All held: every byte that was read was right. {narrator.elapsed:.1f} s.",
        f"{len(told.failed)} of the claims above did not hold.",
    )
    return ExitStatus.UNKNOWN if told.failed else ExitStatus.OK
