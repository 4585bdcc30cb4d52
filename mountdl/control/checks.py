"""What must be true before a mount is tried, so that a refusal is one sentence about its cause."""

import errno
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from mountdl.control import mounttable
from mountdl.control.configuration import home_netrc
from mountdl.control.registry import Registry, left
from mountdl.control.text import shown
from mountdl.descriptors import SUFFIXES
from mountdl.errors import ExitStatus, UsageError, write_status
from mountdl.openfiles import FEW, OWN, attainable
from mountdl.settings import CredentialSettings, RpcSettings, Settings, is_remote
from mountdl.sources.credentials import EXPOSED, exposed

_DEVICE = Path("/dev/fuse")
_FUSE_CONF = Path("/etc/fuse.conf")
ENDING = 60.0
"""Seconds that a daemon whose mount is gone gets to put its store on record."""
LEFT = 3.0
"""Seconds after which one that has its mount no more is taken for one that stays for open files."""
_LOOK = 0.02
_LOOKED_AT = 20_000
"""Names below a source that are looked at for the hint that it holds no descriptor."""


def check(settings: Settings, registry: Registry) -> list[str]:
    """Return hints for the user. Raises UsageError for the first thing that makes a mount impossible."""
    mount = settings.mount
    check_fuse()
    if not is_remote(mount.source) and mounttable.resolved(Path(mount.source)) == mount.mountpoint:
        raise UsageError(f"{shown(mount.mountpoint)} is SOURCE and MOUNTPOINT: choose another directory to mount on")
    check_mountpoint(mount.mountpoint, registry)
    check_outside(settings)
    if mount.allow_other:
        check_allow_other()
    check_rpc(settings.rpc)
    hints = [*check_places(settings), *check_open_files(), *check_seen(mount.mountpoint)]
    if is_remote(mount.source):
        return hints
    check_apart(Path(mount.source), settings.store.directory)
    return hints + check_source(Path(mount.source))


def check_fuse() -> None:
    """Raise UsageError unless this process can mount FUSE file systems."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no {_DEVICE}: install FUSE (apt install fuse3) and load it (modprobe fuse); in a container,"
            " start it with --device /dev/fuse --cap-add SYS_ADMIN",
            ExitStatus.UNKNOWN,
        ) from error
    except PermissionError as error:
        raise UsageError(
            f"{_DEVICE} can't be opened: {error.strerror}; as root, let everybody use it (chmod 0666 {_DEVICE}); in a"
            " container, start it with --device /dev/fuse --cap-add SYS_ADMIN",
            ExitStatus.UNKNOWN,
        ) from error
    except OSError as error:
        raise UsageError(
            f"{_DEVICE} can't be opened: {error.strerror}; load the module (modprobe fuse), or in a container start it"
            " with --device /dev/fuse --cap-add SYS_ADMIN",
            ExitStatus.UNKNOWN,
        ) from error
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        raise UsageError("fusermount3 is missing: apt install fuse3", ExitStatus.UNKNOWN)


def check_mountpoint(mountpoint: Path, registry: Registry) -> None:
    """Raise UsageError unless *mountpoint* is an empty directory; a dead mount of ours is cleared away first."""
    _check_free(mountpoint, registry)
    try:
        names = os.listdir(mountpoint)  # noqa: PTH208  # scandir's errors are the same, names suffice
    except FileNotFoundError as error:
        raise UsageError(f"{shown(mountpoint)} does not exist: mkdir it first", ExitStatus.NOT_FOUND) from error
    except NotADirectoryError as error:
        raise UsageError(f"{shown(mountpoint)} is not a directory") from error
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise UsageError(
                f"{shown(mountpoint)} is a mount whose daemon is dead: mountdl unmount {shown(mountpoint)}",
                ExitStatus.UNKNOWN,
            ) from error
        raise UsageError(f"{shown(mountpoint)} can't be read: {error.strerror}", ExitStatus.IO) from error
    if os.geteuid() != 0 and not os.access(mountpoint, os.W_OK):
        why = "only root may mount on what you can't write in"
        raise UsageError(f"{shown(mountpoint)}: {why}; choose a directory of yours", ExitStatus.UNKNOWN)
    if names:
        raise UsageError(f"{shown(mountpoint)} is not empty ({shown(min(names))} is in it): choose another directory")


def check_outside(settings: Settings) -> None:
    """Raise UsageError when the daemon would have files of its own in the mount: it would wait for itself, for ever."""
    mount = settings.mount
    own = {"the store": settings.store.directory, "--graduate:": settings.store.graduate, "--log:": mount.log}
    own["--save-cookies:"] = settings.http.save_cookies
    for name, path in own.items():
        try:
            inside = path is not None and path.resolve().is_relative_to(mount.mountpoint)
        except (OSError, RuntimeError):
            continue  # a loop of links: whoever opens it says so
        if inside:
            other = "--cache-dir" if name == "the store" else "place"
            raise UsageError(f"{name} {shown(path)} would be inside the mount: choose another {other}")


def check_rpc(rpc: RpcSettings) -> None:
    """Raise UsageError when anybody in the network could control the mount."""
    if rpc.enabled and rpc.listen_all and rpc.secret is None:
        raise UsageError(
            "--rpc-listen-all: anybody in the network could control this mount: give --rpc-secret too, best as"
            " MOUNTDL_RPC_SECRET or in the configuration file"
        )


def check_apart(source: Path, store: Path) -> None:
    """Raise UsageError when *source* lies in *store*, which is never searched: nothing of it would be shown."""
    try:
        inside = source.is_dir() and source.resolve().is_relative_to(store.resolve())
    except (OSError, RuntimeError):
        return
    if inside:
        raise UsageError(f"the source {shown(source)} lies in the store {shown(store)}: choose another --cache-dir")


def check_places(settings: Settings) -> list[str]:
    """Return hints about what options name. Raises UsageError when one can't be used, before it is needed."""
    graduate, cookies = settings.store.graduate, settings.http.save_cookies
    for option, file in _named_files(settings):
        _check_file(option, file)
    if graduate is not None:
        try:
            graduate.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--graduate: {shown(graduate)} can't be made: {error.strerror}", write_status(error)
            ) from error
        if not os.access(graduate, os.W_OK):
            raise UsageError(f"--graduate: nothing can be written in {shown(graduate)}", ExitStatus.IO)
    if cookies is not None and not os.access(cookies.absolute().parent, os.W_OK):
        raise UsageError(f"--save-cookies: nothing can be written in {shown(cookies.absolute().parent)}", ExitStatus.IO)
    return [*_netrc_hints(settings.credentials), *_interface_hints(settings.swarm.interface)]


def _netrc_hints(login: CredentialSettings) -> list[str]:
    if login.use_netrc and login.netrc_path is not None:
        with suppress(OSError):
            about = login.netrc_path.stat()
            if stat.S_ISREG(about.st_mode) and exposed(about):
                return [f"{shown(login.netrc_path)} is not used: {EXPOSED}"]
    return []


def _interface_hints(interface: str | None) -> list[str]:
    if interface is not None and not _is_address(interface) and interface not in _devices():
        return [f"--interface={shown(interface)}: no device has this name now; no peer is reached until one has"]
    return []


def check_open_files() -> list[str]:
    """Return a hint where few files may be open. Raises UsageError where they are too few to read one."""
    most = attainable()
    if most >= FEW:
        return []
    if most < OWN:
        why = f"only {most} files may be open here (ulimit -Hn), and a mount needs {OWN} to serve one"
        raise UsageError(f"{why}; have it raised to 1024", ExitStatus.UNKNOWN)
    return [f"only {most} files may be open here (ulimit -Hn): many that are read at once fail; have it raised to 1024"]


def check_seen(mountpoint: Path) -> list[str]:
    """Return a hint where a service of systemd is to mount what nobody else will see."""
    if "INVOCATION_ID" not in os.environ or not mounttable.hidden(mountpoint):
        return []
    why = "this service has a mount table of its own (PrivateTmp=, ProtectSystem= or the like, see systemd.exec(5))"
    return [f"nobody else sees what is mounted on {shown(mountpoint)}: {why}"]


def _named_files(settings: Settings) -> list[tuple[str, Path]]:
    """Return the options that name a file to be read, and what they name."""
    http, login = settings.http, settings.credentials
    named = {
        "--load-cookies": http.load_cookies,
        "--ca-certificate": http.ca_certificate,
        "--certificate": http.certificate,
        "--private-key": http.private_key,
        # Nobody need have a .netrc at home.
        "--netrc-path": login.netrc_path if login.use_netrc and login.netrc_path != home_netrc() else None,
    }
    return [(option, file) for option, file in named.items() if file is not None]


def _check_file(option: str, file: Path) -> None:
    try:
        # Not to wait at a pipe that nobody writes to.
        os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        problem = "is a directory" if file.is_dir() else None
    except FileNotFoundError as error:
        raise UsageError(f"{option}: {shown(file)} does not exist", ExitStatus.NOT_FOUND) from error
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
    if problem is not None:
        raise UsageError(f"{option}: {shown(file)} {problem}", ExitStatus.IO)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _devices() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def _check_free(mountpoint: Path, registry: Registry) -> None:
    await_end(mountpoint, registry)
    mounted = mounttable.on(mountpoint)
    if mounted is None:
        return
    free = _deserted(mountpoint, registry) and mounted.ours and mounttable.dead(mountpoint)
    if free and mounttable.unmount(mountpoint, lazy=True) is None:
        return
    by = (
        "mountdl unmount it first" if mounted.ours else f"of type {shown(mounted.filesystem)}; choose another directory"
    )
    raise UsageError(f"{shown(mountpoint)} is busy: something is mounted there ({by})", ExitStatus.UNKNOWN)


def _deserted(mountpoint: Path, registry: Registry) -> bool:
    """Say whether no daemon serves *mountpoint*, once a killed one is gone: its threads may wait for the disk."""
    serving = registry.serving(mountpoint)
    if serving is not None and serving.state in {"Z", "X", None}:
        return registry.gone(serving, ENDING) and registry.serving(mountpoint) is None
    return serving is None


def await_end(mountpoint: Path, registry: Registry) -> None:
    """Return once no daemon puts away what it served on *mountpoint*: who unmounts and mounts again has not waited.

    One that stays for files that are open, whose mount was taken away regardless (umount -l), is not waited for long.
    """
    start = time.monotonic()
    while mounttable.on(mountpoint) is None:
        daemon = next((each for each in registry.alive() if each.mountpoint == str(mountpoint)), None)
        patience = 0.0 if daemon is None else LEFT if left(daemon) else ENDING
        if time.monotonic() - start >= patience:
            return
        time.sleep(_LOOK)


def check_allow_other() -> None:
    """Raise UsageError unless fusermount3 lets this user open the mount to others."""
    if os.geteuid() == 0:
        return
    try:
        allowed = (
            re.search(r"^\s*user_allow_other\s*$", _FUSE_CONF.read_text(errors="replace"), re.MULTILINE) is not None
        )
    except OSError:
        allowed = False
    if not allowed:
        raise UsageError(
            f"--allow-other: root must first put the line user_allow_other into {_FUSE_CONF}", ExitStatus.UNKNOWN
        )


def check_source(source: Path) -> list[str]:
    """Return hints about a source that is a path. Raises UsageError when it is missing or unreadable."""
    try:
        if source.is_dir():
            os.scandir(source).close()
        else:
            with source.open("rb"):
                return []
    except FileNotFoundError as error:
        raise UsageError(f"{shown(source)} does not exist", ExitStatus.NOT_FOUND) from error
    except OSError as error:
        raise UsageError(f"{shown(source)} can't be read: {error.strerror}", ExitStatus.IO) from error
    for count, name in enumerate(_names(source)):
        if count >= _LOOKED_AT or Path(name).suffix.lower() in SUFFIXES:
            return []
    return [f"{shown(source)} holds no descriptor ({', '.join(sorted(SUFFIXES))}) yet; those put there will appear"]


def _names(source: Path) -> Iterator[str]:
    for _, _, files in os.walk(source):
        yield from files
