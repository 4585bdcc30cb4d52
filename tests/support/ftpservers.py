"""Real FTP servers on loopback: vsftpd and ProFTPD as Debian packs them, pyftpdlib in a thread."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import nginx
from tests.support.ports import await_port, free_port

_VSFTPD = """
listen={four}
listen_ipv6={six}
{address}
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={root}
ftp_username=daemon
secure_chroot_dir={empty}
seccomp_sandbox=NO
xferlog_enable=NO
use_localtime=NO
max_per_ip={most}
"""
_VSFTPD_TLS = """
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
implicit_ssl={implicit}
rsa_cert_file={pem}
rsa_private_key_file={key}
"""
_BUILT_IN = ("mod_delay", "mod_ls", "mod_xfer")
"""Parts of ProFTPD that Debian 12 has in the program and Debian 13 beside it."""
_PROFTPD = """
ModulePath {modules}
{loads}
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port {port}
UseIPv6 off
User nobody
Group nogroup
PidFile {home}/pid
ScoreboardFile {home}/scoreboard
DelayTable {home}/delay
SystemLog {home}/log
WtmpLog off
UseReverseDNS off
UseFtpUsers off
AuthOrder mod_auth_unix.c
<Anonymous {root}>
  User nobody
  Group nogroup
  UserAlias anonymous nobody
  RequireValidShell off
  AllowRetrieveRestart on
</Anonymous>
"""

_PROFTPD_TLS = """
LoadModule mod_tls.c
TLSEngine on
TLSRequired on
TLSOptions {options}
TLSRSACertificateFile {pem}
TLSRSACertificateKeyFile {key}
TLSVerifyClient off
TLSLog {home}/tls.log
"""


@dataclass(frozen=True)
class FtpServer:
    """A running server: *port* on loopback, *pid* of the process to be killed, 0 for none."""

    port: int
    pid: int = 0
    authority: Path | None = None


def vsftpd_missing() -> str:
    """Say why vsftpd can't be run here; "" when it can."""
    if os.geteuid() != 0:
        return "vsftpd needs root"
    return "" if shutil.which("vsftpd", path="/usr/sbin:/usr/bin") else "vsftpd is not installed"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that servers may enter as nobody."""
    path = Path(tempfile.mkdtemp(prefix="mountdl-ftp-"))
    try:
        for name in ("root", "empty", "home"):
            (path / name).mkdir()
            (path / name).chmod(0o755)
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def vsftpd(
    home: Path, tls: str = "", *, ipv6: bool = False, most: int = 0, rate: int = 0, port: int = 0
) -> Iterator[FtpServer]:
    """Serve the `root` in *home*; *tls* is "", "explicit" or "implicit"; *rate* in bytes a second of each transfer."""
    port = port or free_port()
    address = "listen_address6=::1" if ipv6 else "listen_address=127.0.0.1"
    four, six = ("NO", "YES") if ipv6 else ("YES", "NO")
    text = _VSFTPD.format(
        four=four, six=six, address=address, port=port, root=home / "root", empty=home / "empty", most=most
    )
    text += f"\nanon_max_rate={rate}\n"
    authority = None
    if tls:
        made = nginx.certificate(home / "home")
        text += _VSFTPD_TLS.format(implicit="YES" if tls == "implicit" else "NO", pem=made.pem, key=made.key)
        authority = made.authority
    configuration = home / "vsftpd.conf"
    configuration.write_text(text)
    with _running(["/usr/sbin/vsftpd", str(configuration)], port, "::1" if ipv6 else "127.0.0.1") as process:
        yield FtpServer(port, process.pid, authority)


@contextlib.contextmanager
def proftpd(home: Path, packed: Path, tls: str = "") -> Iterator[FtpServer]:
    """Serve the `root` in *home* by the ProFTPD that is unpacked in *packed*; *tls* is "", "explicit" or "implicit"."""
    port = free_port()
    configuration = home / "proftpd.conf"
    modules = packed / "usr/lib/proftpd"
    loads = "\n".join(f"LoadModule {name}.c" for name in _BUILT_IN if (modules / f"{name}.so").exists())
    text = _PROFTPD.format(port=port, home=home / "home", root=home / "root", modules=modules, loads=loads)
    authority = None
    if tls:
        made = nginx.certificate(home / "home")
        options = "UseImplicitSSL" if tls == "implicit" else "EnableDiags"
        text += _PROFTPD_TLS.format(options=options, pem=made.pem, key=made.key, home=home / "home")
        authority = made.authority
    configuration.write_text(text)
    command = [str(packed / "usr/sbin/proftpd"), "-n", "-c", str(configuration)]
    with _running(command, port, "127.0.0.1", {"LD_LIBRARY_PATH": libraries(packed)}) as process:
        yield FtpServer(port, process.pid, authority)


def below(pid: int) -> list[int]:
    """Return the processes below *pid*."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *below(child))]


def libraries(packed: Path) -> str:
    """Return where the libraries of what is unpacked in *packed* are."""
    return ":".join(sorted({str(path.parent) for path in packed.glob("usr/lib/**/*.so*")}))


@contextlib.contextmanager
def pyftpdlib(
    root: Path, certificate: nginx.Certificate | None = None, user: str = "", password: str = ""
) -> Iterator[FtpServer]:
    """Serve *root* from a thread; with *certificate* TLS is demanded, with *user* anonymous ones are refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of asyncore, which it uses
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
        from pyftpdlib.servers import FTPServer

    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    authorizer = DummyAuthorizer()
    if user:
        authorizer.add_user(user, password, str(root))
    else:
        authorizer.add_anonymous(str(root))
    base = TLS_FTPHandler if certificate else FTPHandler
    # It answers a wrong password 3 s late if not told otherwise.
    names: dict[str, object] = {"authorizer": authorizer, "banner": "here", "auth_failed_timeout": 0.01}
    if certificate is not None:
        names |= {
            "certfile": str(certificate.pem),
            "keyfile": str(certificate.key),
            "tls_control_required": True,
            "tls_data_required": True,
        }
    handler = type("Handler", (base,), names)
    server = FTPServer(("127.0.0.1", free_port()), handler)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            server.serve_forever(timeout=0.05, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield FtpServer(server.address[1], 0, certificate.authority if certificate else None)
    finally:
        ended.set()
        thread.join(60)
        assert not thread.is_alive()


@contextlib.contextmanager
def _running(
    command: list[str], port: int, host: str, more: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | (more or {}),
        )
        try:
            await_port(process, port, host)
            yield process
        finally:
            for pid in [*below(process.pid), process.pid]:  # vsftpd's sessions are in process groups of their own
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(60)
