"""From exceptions to errno: the one table, and the decorator that every handler wears.

Any exception but FUSEError in a handler would end pyfuse3's main loop and with it the mount.
"""

import errno
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import pyfuse3

from mountdl.errors import ContentChanged, ContentUnavailable, MountdlError, StoreBusy, StoreError

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# EIO, never EAGAIN: callers would spin on that for ever. The reason is in user.mountdl.error.
_ERRNO: tuple[tuple[type[MountdlError], int], ...] = (
    (ContentChanged, errno.ESTALE),
    (ContentUnavailable, errno.EIO),
    (StoreBusy, errno.EBUSY),
    (StoreError, errno.EIO),
)


def errno_of(error: MountdlError) -> int:
    """Return the errno that stands for *error*."""
    return next((number for kind, number in _ERRNO if isinstance(error, kind)), errno.EIO)


def answering(handler: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let a handler raise anything: what is no FUSEError becomes one."""

    @functools.wraps(handler)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except MountdlError as error:
            raise pyfuse3.FUSEError(errno_of(error)) from error
        except Exception as error:
            log.exception("%s: a defect of mountdl", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from error

    return answered
