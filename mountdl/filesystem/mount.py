"""Put the file system into the kernel's tree, serve it and take it out again."""

import contextlib
import os
import pwd
import re
import select
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyfuse3
import trio

from mountdl.catalog.tree import Inode
from mountdl.errors import ExitStatus, UsageError
from mountdl.filesystem.limits import raise_limits
from mountdl.filesystem.operations import Operations

MOST_REQUESTS = 1000
"""Requests served at once: each waiting read takes one, and an interrupt never reaches a handler."""
NAMES_LOOK = 5.0
"""Seconds between two looks for names that are gone and that the kernel still keeps."""
KERNEL_LOOK = 0.5
"""Seconds between two looks whether the mount is there."""
MOST_NAMES = 1000
"""Of them at once: each takes it 10 us, and us the same to hear that it forgot."""


def name(source: str, *, by_mount8: bool) -> str:
    """Return what the kernel is to call a mount of *source*."""
    # A ":" marks it as remote, so that indexers and thumbnailers keep away. But mount(8) notes what the kernel has no
    # word for, like _netdev, under the source that it was given, and systemd looks there under what the kernel says: by
    # another name a mount of fstab was taken for a local one, once mounted, and no longer unmounted before the network.
    return source if by_mount8 else f"mountdl:{source}"


def attach(operations: Operations, name: str, mountpoint: Path, *, allow_other: bool) -> Callable[[], None]:
    """Mount; return what unmounts, if it still is mounted. Raises UsageError when the kernel or fusermount3 refuses."""
    options = {_named(name), "subtype=mountdl"}
    if allow_other:
        options.add("allow_other")
    try:
        pyfuse3.init(operations, str(mountpoint), options)
    except RuntimeError as error:
        raise UsageError(
            f"can't mount on {mountpoint}: {error}; {_advice()}",
            ExitStatus.UNKNOWN,
        ) from error

    return partial(_detach, mountpoint, _device(str(mountpoint)))


def _advice() -> str:
    """Return what to look at where fusermount3 refused, which has said more on standard error."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:  # as in a container that is run by a number
        return f"fusermount3 mounts for whom it knows by name: user {os.getuid()} must be in /etc/passwd"
    return "is /dev/fuse there, fuse3 installed, and the place free and yours?"


def _detach(mountpoint: Path, device: str | None) -> None:
    # After umount -l another one may be mounted there by now.
    pyfuse3.close(unmount=_device(str(mountpoint)) == device)


def _named(name: str) -> str:
    """Return the option that calls a mount *name*."""
    # pyfuse3 takes ASCII only, and a comma would begin the next option.
    return "fsname=" + "".join(ch if ch.isascii() and ch != "," else "_" for ch in name)


async def answers(mountpoint: Path) -> None:
    """Return once the mount answers; raise what the kernel lets us raise of its limits."""
    # In threads, as the answers come from this loop. The limits can't be raised before the kernel and we
    # have agreed on a protocol, which the first answer shows: until then that agreement lowers them again.
    await trio.to_thread.run_sync(os.stat, mountpoint)
    device = _device(str(mountpoint))
    if device is not None:
        await trio.to_thread.run_sync(raise_limits, device)


async def serve(operations: Operations, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
    """Answer the kernel until somebody unmounts or `terminate` is called."""
    task_status.started()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operations.free_killed)
        nursery.start_soon(_forget_names, operations)
        nursery.start_soon(_end_with_kernel, operations)
        await pyfuse3.main(min_tasks=4, max_tasks=MOST_REQUESTS)
        nursery.cancel_scope.cancel()


async def _end_with_kernel(operations: Operations) -> None:
    """End reads that wait once the kernel takes no answers any more, as after umount; until cancelled.

    Who reads can't be told by looking where /proc is closed to us (hidepid=), or somebody has a file of that name open
    elsewhere: such a read kept the daemon until --read-timeout, when its reader was killed and it was unmounted.
    """
    channel = _channel()
    while channel is not None:
        if _hung_up(channel):
            operations.end_reads()
            return
        await trio.sleep(KERNEL_LOOK)


def _channel(descriptors: Path = Path("/proc/self/fd")) -> int | None:
    """Return by which descriptor the kernel asks us."""
    with contextlib.suppress(OSError):
        for each in descriptors.iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(each) == "/dev/fuse":  # noqa: PTH115  # as text
                    return int(each.name)
    return None


def _hung_up(channel: int) -> bool:
    looks = select.poll()
    looks.register(channel, 0)
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in looks.poll(0))


async def _forget_names(operations: Operations) -> None:
    """Have the kernel let go of names that are gone, until cancelled."""
    while True:
        await trio.sleep(NAMES_LOOK)
        gone = operations.gone(MOST_NAMES)
        if gone:
            # In a thread, for the kernel may wait for an answer to somebody who looks into the folder at the moment.
            await trio.to_thread.run_sync(_drop, gone, abandon_on_cancel=True)


def _drop(gone: Sequence[tuple[Inode, bytes]]) -> None:
    for folder, name in gone:
        with contextlib.suppress(OSError):  # it knows it no more
            pyfuse3.invalidate_entry(pyfuse3.InodeT(folder), pyfuse3.FileNameT(name))


def terminate(operations: Operations) -> None:
    """End `serve`. Reads that wait end with EIO: their mirrors may never answer."""
    operations.end_reads()
    with contextlib.suppress(RuntimeError):
        pyfuse3.terminate()


async def forget_pages(inode: Inode) -> None:
    """Have the kernel drop its pages of *inode*: their bytes turned out wrong."""
    # In a thread: the kernel waits for reads under way, which this loop has to answer.
    with contextlib.suppress(OSError):
        await trio.to_thread.run_sync(pyfuse3.invalidate_inode, pyfuse3.InodeT(inode), False)


def _device(mountpoint: str, table: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return MAJOR:MINOR of a mount, without asking the mount itself."""
    found = None
    with contextlib.suppress(OSError):
        for line in table.read_bytes().splitlines():
            fields = line.split(b" ")
            # proc_pid_mountinfo(5): space, tab, line break and backslash are octal escapes, all else is as it is.
            plain = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 255]), fields[4])
            if plain == os.fsencode(mountpoint):
                found = fields[2].decode()
    return found
