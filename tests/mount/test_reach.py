"""A file behind a proxy with a password and a server with another, at a limited rate: read, and nothing is told."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from tests.support import nginx, proxies
from tests.support.mounts import Mounts, mountdl, needs_fuse

pytestmark = needs_fuse

SECRET = "hunter2"  # noqa: S105  # that it is known is the point
RATE = 2 << 20


@pytest.mark.skipif(not (nginx.available() and proxies.available("squid")), reason="nginx or squid is not installed")
def test_a_mirror_behind_a_proxy_at_a_limited_rate(mounted: Mounts, tmp_path: Path) -> None:
    """Bytes come right and no faster than allowed; log, status and why show no password, token or header."""
    data = os.urandom(3 * RATE)
    for name in ("root", "home", "source"):
        (tmp_path / name).mkdir()
    (tmp_path / "root" / "a.bin").write_bytes(data)
    (tmp_path / "home" / "users").write_text(f"me:{{PLAIN}}{SECRET}\n")
    with nginx.serving(tmp_path / "root", tmp_path / "home", guarded=True) as server:
        with proxies.squid(tmp_path / "squid", login=True) as port:
            url = f"{server.plain.replace('://', f'://me:{SECRET}@')}/a.bin?token={SECRET}"
            (tmp_path / "source" / "a.meta4").write_text(
                f'<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a.bin"><size>{len(data)}</size>'
                f'<hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash><url>{url}</url></file></metalink>'
            )
            mount = mounted(
                tmp_path / "source",
                log_level="debug",
                http_proxy=f"http://me:{SECRET}@127.0.0.1:{port}",
                header=f"X-Token: {SECRET}",
                max_overall_download_limit=RATE,
            )
            began = time.monotonic()
            assert mount.read("a.bin") == data
            elapsed = time.monotonic() - began
            told = [
                mount.log.read_text(),
                mount.why("a.bin"),
                mountdl("status", "--json", mount / "a.bin").stdout,
            ]
    assert len(data) / elapsed < 1.3 * RATE
    assert told[0]
    assert SECRET not in "".join(told)
