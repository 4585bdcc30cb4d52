"""A real sshd with generated keys on a free loopback port, as whoever runs the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from mountdl.settings import SftpSettings
from tests.support.ports import await_port, end, free_port

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
_CONFIGURATION = """
Port {port}
ListenAddress {address}
HostKey {home}/host
PidFile {home}/pid
AuthorizedKeysFile {home}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp {server}
SetEnv HOME={home}
"""
"""A session is begun by the user's shell. At home it would run what the user put there for it, and be late by that."""


@dataclass
class Sshd:
    """A running sshd; *ssh* is what `~/.ssh` is to a client that may log in."""

    process: subprocess.Popen[bytes]
    port: int
    ssh: Path
    root: Path
    host: str = "127.0.0.1"

    def url(self, name: str, port: int | None = None) -> str:
        return f"sftp://{self.host}:{port or self.port}{self.root}/{name}"

    def settings(self, **changes: object) -> SftpSettings:
        values: dict[str, object] = {"directory": self.ssh, "connect_timeout": 20.0, "stall_timeout": 20.0} | changes
        return SftpSettings(**values)  # type: ignore[arg-type]

    def sessions(self, name: str = "sftp-server") -> list[int]:
        """Return the processes called *name* below it; since OpenSSH 9.8 sshd leaves connections to `sshd-session`."""
        return [pid for pid in _below(self.process.pid) if _name(pid) in {name, f"{name}-session"}]

    def signal(self, number: signal.Signals, name: str = "sftp-server") -> int:
        """Send *number* to all of them, and return how many there were."""
        found = self.sessions(name)
        for pid in found:
            os.kill(pid, number)
        return len(found)


def _below(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [each for child in map(int, children) for each in (child, *_below(child))]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def client(home: Path, port: int, host_key: str) -> Path:
    """Make in *home* what a client needs, and return it: its key is `id`, its public half `id.pub`."""
    ssh = home / "ssh"
    ssh.mkdir(parents=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(ssh / "id")
    key.write_public_key(ssh / "id.pub")
    (ssh / "id").chmod(0o600)
    (ssh / "config").write_text(
        f"Host *\n  IdentityFile {ssh}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {ssh}/known_hosts\n"
    )
    know(ssh, port, host_key)
    return ssh


def know(ssh: Path, port: int, host_key: str) -> None:
    with (ssh / "known_hosts").open("a") as known:
        known.write(f"[127.0.0.1]:{port},[::1]:{port} {host_key}\n")


@contextlib.contextmanager
def running(home: Path, root: Path, *, ipv6: bool = False) -> Iterator[Sshd]:
    """Serve *root* (by absolute paths) until left, on one address of loopback."""
    assert SSHD is not None
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    host = asyncssh.generate_private_key("ssh-ed25519")
    host.write_private_key(home / "host")
    (home / "host").chmod(0o600)
    ssh = client(home, port, host.export_public_key().decode().strip())
    shutil.copy(ssh / "id.pub", home / "authorized")
    server, address = "/usr/lib/openssh/sftp-server", "::1" if ipv6 else "127.0.0.1"
    (home / "config").write_text(_CONFIGURATION.format(port=port, home=home, server=server, address=address))
    command = [SSHD, "-D", "-E", str(home / "log"), "-f", str(home / "config")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    made = Sshd(process, port, ssh, root, f"[{address}]" if ipv6 else address)
    try:
        await_port(process, port, address)
        yield made
    finally:
        left = _below(process.pid)
        end(process)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
