"""A real nginx on free loopback ports, and certificates of a made-up authority."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import await_port, end, free_port

_CONFIGURATION = """
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
{user}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000; output_buffers 2 512k;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
  uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{ listen 127.0.0.1:{plain}; root {root}; {login} }}
  server {{ listen 127.0.0.1:{tls} ssl; root {root}; ssl_certificate {pem}; ssl_certificate_key {key}; {verify} }}
}}
"""


@dataclass(frozen=True)
class Certificate:
    """Files of one certificate: *authority* is what a client must trust."""

    authority: Path
    pem: Path
    key: Path


@dataclass(frozen=True)
class Nginx:
    """A running nginx that serves one directory."""

    plain: str
    tls: str
    certificate: Certificate
    pid: int


def available() -> bool:
    """Say whether nginx and openssl are installed."""
    return (
        shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is not None
        and shutil.which("openssl") is not None
    )


def certificate(home: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> Certificate:
    """Make an authority and a certificate for *names* in *home*."""
    home.mkdir(parents=True, exist_ok=True)
    made = Certificate(home / "authority.pem", home / "server.pem", home / "server.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"]
    authority = ["-keyout", "authority.key", "-out", made.authority.name, "-subj", "/CN=Test authority"]
    uses = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl(home, "req", "-x509", *curve, *authority, *uses)
    _openssl(home, "req", *curve, "-keyout", made.key.name, "-out", "server.csr", "-subj", "/CN=server")
    (home / "extensions").write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n")
    signer = ["-CA", made.authority.name, "-CAkey", "authority.key", "-CAcreateserial", "-days", "3650"]
    _openssl(home, "x509", "-req", "-in", "server.csr", *signer, "-extfile", "extensions", "-out", made.pem.name)
    return made


@contextlib.contextmanager
def serving(root: Path, home: Path, *, guarded: bool = False) -> Iterator[Nginx]:
    """Serve *root* with its files in *home* until the block ends.

    *guarded*: the plain server asks for a login of the file "users" in *home*, the other one for a certificate.
    """
    made = certificate(home)
    plain, tls = free_port(), free_port()
    user = "user root;" if Path("/root").is_dir() and _root() else ""
    text = _CONFIGURATION.format(
        home=home,
        root=root,
        plain=plain,
        tls=tls,
        pem=made.pem,
        key=made.key,
        user=user,
        login=f"auth_basic x; auth_basic_user_file {home}/users;" if guarded else "",
        verify=f"ssl_verify_client on; ssl_client_certificate {made.authority};" if guarded else "",
    )
    (home / "nginx.conf").write_text(text)
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "nginx"
    with (home / "output").open("wb") as output:
        command = [binary, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        await_port(process, tls)
        yield Nginx(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", made, process.pid)
    finally:
        end(process)


def _root() -> bool:
    import os

    return os.geteuid() == 0


def _openssl(home: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)
