"""What a mount may need some day, loaded a few seconds after its start, when nobody waits for it.

Law: what is ours is in memory from then on, so that an upgrade gives no mount that has run for months one half of each
version. Libraries that only few mounts use (libtorrent, asyncssh, 25 MB together) come when they are needed.
"""

from importlib import import_module

import trio

AFTER = 5.0
"""Seconds from the start of a mount, in which its first readers come."""
MODULES = (
    *(f"mountdl.descriptors.{name}" for name in ("document", "linkheader", "links", "magnet", "torrent", "urilist")),
    *(f"mountdl.digests.{name}" for name in ("librhash", "md4", "tiger", "trees")),
    *(f"mountdl.sources.http.{name}" for name in ("loading", "probing")),
    *(f"mountdl.sources.{name}.transport" for name in ("ftp", "sftp", "swarm")),
)


async def load() -> None:
    """Load them, one by one, in a thread."""
    await trio.sleep(AFTER)
    for name in MODULES:
        await trio.to_thread.run_sync(import_module, name, abandon_on_cancel=True)
