"""Real proxies on free loopback ports."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.ports import await_port, end, free_port

_PATH = "/usr/sbin:/usr/bin:/usr/local/bin"

_SQUID = """
http_port 127.0.0.1:{port}
pid_filename {home}/squid.pid
cache_log {home}/cache.log
access_log none
cache deny all
coredump_dir {home}
shutdown_lifetime 0 seconds
{access}
"""
_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 600
Allow 127.0.0.1
PidFile "{home}/tinyproxy.pid"
LogFile "{home}/tinyproxy.log"
MaxClients 50
{more}
"""


def available(name: str) -> bool:
    """Say whether the proxy *name* is installed."""
    return shutil.which(name, path=_PATH) is not None


@contextlib.contextmanager
def squid(home: Path, *, login: bool = False) -> Iterator[int]:
    """Run squid; with *login* for the user "me" with the password "hunter2" only. Yields its port."""
    del home  # started by root it is the user "proxy", to whom the folders of tests are closed
    with TemporaryDirectory(prefix="squid-", dir="/tmp") as name:
        own = Path(name)
        own.chmod(0o777)
        port = free_port()
        access = _login_program(own) if login else "http_access allow all"
        (own / "squid.conf").write_text(_SQUID.format(port=port, home=own, access=access))
        with _running(["squid", "-N", "-n", f"mountdl{port}", "-f", str(own / "squid.conf")], port, own):
            yield port


def _login_program(home: Path) -> str:
    program = home / "login"
    program.write_text('#!/bin/sh\nwhile read pair; do [ "$pair" = "me hunter2" ] && echo OK || echo ERR; done\n')
    program.chmod(0o755)
    rules = "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all"
    return f"auth_param basic program {program}\nauth_param basic children 1\n{rules}"


@contextlib.contextmanager
def tinyproxy(home: Path, *, login: bool = False) -> Iterator[int]:
    """Run tinyproxy; see `squid`."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    more = "BasicAuth me hunter2" if login else ""
    (home / "tinyproxy.conf").write_text(_TINYPROXY.format(port=port, home=home, more=more))
    with _running(["tinyproxy", "-d", "-c", str(home / "tinyproxy.conf")], port, home):
        yield port


@contextlib.contextmanager
def microsocks(home: Path, *, login: bool = False) -> Iterator[int]:
    """Run microsocks, which speaks SOCKS5; see `squid`."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    who = ["-u", "me", "-P", "hunter2"] if login else []
    with _running(["microsocks", "-i", "127.0.0.1", "-p", str(port), *who], port, home):
        yield port


@contextlib.contextmanager
def _running(command: list[str], port: int, home: Path) -> Iterator[None]:
    binary = shutil.which(command[0], path=_PATH) or command[0]
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [binary, *command[1:]], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=home
        )
    try:
        try:
            await_port(process, port)
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {(home / 'output').read_text()[-500:]}") from error
        yield
    finally:
        end(process)
