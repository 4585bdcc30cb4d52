"""Programs that control aria2 show, add, pause and remove what a mount shows."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import urllib.error
import urllib.request
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from tests.support.content import pattern
from tests.support.mirrors import Mirrors, paced
from tests.support.mounts import Mount, Mounts, eventually, mountdl, mounted_on, needs_fuse
from tests.support.ports import free_port
from tests.support.samples import publish

pytestmark = needs_fuse

NAME = "film.bin"
SECRET = "what only clients know"


class Client:
    """What asks by JSON-RPC."""

    def __init__(self, port: int, secret: str | None = SECRET) -> None:
        self.url = f"http://127.0.0.1:{port}/jsonrpc"
        self.secret = secret

    def __call__(self, method: str, *params: object) -> Any:
        token = [] if self.secret is None else [f"token:{self.secret}"]
        body = json.dumps({"jsonrpc": "2.0", "id": "x", "method": f"aria2.{method}", "params": [*token, *params]})
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, body.encode()), timeout=60) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                said = json.load(error)
        if "error" in said:
            raise ValueError(said["error"]["message"])
        return said["result"]

    def row(self, name: str) -> dict[str, Any]:
        rows = self("tellActive") + self("tellWaiting", 0, 100) + self("tellStopped", 0, 100)
        return next(row for row in rows if row["files"][0]["path"].endswith(f"/{name}"))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def mount(mounted: Mounts, source: Path, port: int) -> Mount:
    return mounted(source, enable_rpc=True, rpc_listen_port=port, rpc_secret=SECRET)


@pytest.fixture
def client(mount: Mount, port: int) -> Client:
    return Client(port)


@pytest.fixture
def url(mirrors: Mirrors, film_bytes: bytes) -> str:
    return mirrors.add("one", {NAME: film_bytes}, paced(8 << 20)).of(NAME)


def test_what_is_added_appears_is_fetched_whole_and_can_be_removed(
    mount: Mount, client: Client, url: str, film_bytes: bytes, source: Path
) -> None:
    """One URI becomes a descriptor in SOURCE, a file of the mount, and then nothing again."""
    gid = client("addUri", [url], {"gid": "00112233445566aa"})

    assert gid == "00112233445566aa"
    assert client("tellStatus", gid)["status"] in {"waiting", "active"}
    eventually(60, lambda: client("tellStatus", gid, ["status"]) == {"status": "complete"})
    told = client("tellStatus", gid)
    assert told["files"][0]["path"] == str(mount / NAME)
    assert told["totalLength"] == told["completedLength"] == str(len(film_bytes))
    assert told["bitfield"] == "ffff80"
    assert told["files"][0]["uris"] == [{"uri": url, "status": "waiting"}]
    assert mount.file(NAME)["state"] == "complete"
    assert mount.read(NAME) == film_bytes

    assert client("remove", gid) == gid
    eventually(10, lambda: not (mount / NAME).exists())
    assert list(source.iterdir()) == []
    assert client("tellStatus", gid, ["status", "errorCode"]) == {"status": "removed", "errorCode": "31"}
    assert client("removeDownloadResult", gid) == "OK"
    with pytest.raises(ValueError, match="not found"):
        client("tellStatus", gid)


def test_what_is_paused_waits_and_goes_on(client: Client, url: str) -> None:
    """A client pauses what it added, and has it go on."""
    gid = client("addUri", [url], {"pause": "true", "out": "slow.bin"})
    eventually(20, lambda: client("tellStatus", gid, ["status", "totalLength"])["status"] == "paused")
    assert client("getGlobalStat")["numWaiting"] == "1"

    assert client("unpause", gid) == gid
    eventually(60, lambda: client("tellStatus", gid)["status"] == "complete")


def test_files_of_descriptors_that_others_put_there(
    mounted: Mounts, source: Path, mirrors: Mirrors, film_bytes: bytes, port: int
) -> None:
    """They are shown and can be paused, have the same gid after a restart, and no client removes them."""
    publish(source, NAME, film_bytes, [mirrors.add("one", {NAME: film_bytes}).of(NAME)])
    mount = mounted(source, enable_rpc=True, rpc_listen_port=port)
    client = Client(port, None)
    row = client.row(NAME)

    assert (row["status"], row["completedLength"]) == ("waiting", "0")
    with pytest.raises(ValueError, match=f"was not added by RPC: remove its descriptor .*{NAME}"):
        client("remove", row["gid"])
    with pytest.raises(ValueError, match="mountdl unmount"):
        client("shutdown")
    assert client("pause", row["gid"][:6]) == row["gid"]
    assert client.row(NAME)["status"] == "paused"
    assert client("unpauseAll") == "OK"
    assert mount.read(NAME) == film_bytes
    eventually(20, lambda: client.row(NAME)["status"] == "complete")
    mount.unmount()
    mounted(source, enable_rpc=True, rpc_listen_port=port)
    assert client.row(NAME)["gid"] == row["gid"]


def test_xmlrpc_client(mount: Mount, port: int, url: str) -> None:
    """Python's own client adds, sees and removes."""
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/rpc", allow_none=True) as server:
        gid: Any = server.aria2.addUri(f"token:{SECRET}", [url])
        eventually(60, lambda: server.aria2.tellStatus(f"token:{SECRET}", gid)["status"] == "complete")
        assert server.aria2.remove(f"token:{SECRET}", gid) == gid
        with pytest.raises(xmlrpc.client.Fault, match="Unauthorized"):
            server.aria2.getVersion("token:wrong")


def test_aria2p(mount: Mount, port: int, url: str) -> None:
    """The client of PyPI adds, lists, counts and removes."""
    aria2p = pytest.importorskip("aria2p")
    api = aria2p.API(aria2p.Client("http://127.0.0.1", port, SECRET))
    added = api.add_uris([url])
    eventually(60, lambda: api.get_download(added.gid).is_complete)
    [download] = api.get_downloads()
    assert download.name == NAME
    assert api.get_stats().num_stopped == 1
    api.remove([download], force=True, files=False)
    eventually(10, lambda: api.get_downloads() == [] or api.get_downloads()[0].is_removed)


def test_aria2p_listens(mount: Mount, port: int, url: str) -> None:
    """It shows no token where it listens: that it shows elsewhere is enough."""
    aria2p = pytest.importorskip("aria2p")
    api = aria2p.API(aria2p.Client("http://127.0.0.1", port, SECRET))
    heard: list[str] = []
    api.listen_to_notifications(threaded=True, on_download_complete=lambda _, gid: heard.append(gid), timeout=1)

    def heard_of_another() -> bool:
        # Its thread may not have connected yet when the first was complete.
        gid = api.add_uris([url], {"out": f"{time.monotonic()}.bin"}).gid
        eventually(60, lambda: api.get_download(gid).is_complete)
        time.sleep(2)
        return gid in heard

    try:
        eventually(60, heard_of_another)
    finally:
        api.stop_listening()


def test_a_port_that_is_taken_is_an_error_at_the_start(mount: Mount, port: int, source: Path, tmp_path: Path) -> None:
    """Nothing is mounted then, and the sentence names the option."""
    other = tmp_path / "other"
    other.mkdir()

    done = mountdl("mount", "--enable-rpc", f"--rpc-listen-port={port}", f"--cache-dir={tmp_path / 'c'}", source, other)

    assert done.returncode == 17
    assert f"port {port}" in done.stderr
    assert "--rpc-listen-port" in done.stderr
    assert not mounted_on(other)


def test_the_secret_shows_nowhere(mount: Mount, client: Client) -> None:
    """Neither log nor status nor options tell it."""
    assert SECRET not in json.dumps(client("getGlobalOption"))
    assert SECRET not in json.dumps(mount.status())
    assert SECRET not in (mount.log.read_text() if mount.log.exists() else "")


def test_torrents_and_magnet_links_are_added(mount: Mount, client: Client, tmp_path: Path) -> None:
    """Each file is a download with the torrent's own words; the gid that is told is that of the first."""
    pytest.importorskip("libtorrent")
    from tests.support.swarms import info_hash, many_files, one_file, seeding

    def stopped() -> list[str]:
        return [row["files"][0]["path"] for row in client("tellStopped", 0, 10)]

    one = one_file(tmp_path / "one", pattern(3_000_000, 1), name="one.bin")
    many = many_files(tmp_path / "many", {"a.bin": pattern(300_000, 2), "b.bin": pattern(300_000, 3)})
    with seeding(one, tmp_path / "one") as first, seeding(many, tmp_path / "many") as second:
        link = f"magnet:?xt=urn:btih:{info_hash(many)}&dn=many&x.pe={second.address}"
        by_link = client("addUri", [link])
        by_file = client("addTorrent", base64.b64encode(one).decode())
        with_peer = client("addUri", [f"magnet:?xt=urn:btih:{info_hash(one)}&x.pe={first.address}"])
        eventually(60, lambda: client("tellStatus", by_link)["status"] == "complete")
        eventually(60, lambda: client("tellStatus", by_file)["status"] == "complete")
        # The gid of a torrent is that of its first file: the others may be complete later.
        eventually(60, lambda: len([path for path in stopped() if path.startswith(str(mount.path))]) >= 3)

    told = client("tellStatus", by_file)
    assert told["infoHash"] == info_hash(one)
    assert told["bittorrent"]["info"]["name"]
    assert told["files"][0]["path"].endswith("one.bin")
    assert client("getPeers", by_file) == []
    for gid in (by_link, by_file, with_peer):
        client("remove", gid)
    eventually(20, lambda: list(mount.path.iterdir()) == [])
    assert list(mount.source.iterdir()) == []


def test_a_metalink_is_added(mount: Mount, client: Client, url: str, film_bytes: bytes) -> None:
    """As many gids as it has files; it is verified by what it says."""
    digest = hashlib.sha256(film_bytes).hexdigest()
    file = '<file name="{}"><size>{}</size><hash type="sha-256">{}</hash><url>{}</url></file>'
    files = [file.format(name, len(film_bytes), digest, url) for name in ("one.bin", "two.bin")]
    text = f'<metalink xmlns="urn:ietf:params:xml:ns:metalink">{"".join(files)}</metalink>'

    gids = client("addMetalink", base64.b64encode(text.encode()).decode())

    assert len(gids) == 2
    eventually(60, lambda: {client("tellStatus", gid)["status"] for gid in gids} == {"complete"})
    assert {client("tellStatus", gid)["files"][0]["path"] for gid in gids} == {
        str(mount / "one.bin"), str(mount / "two.bin")
    }  # fmt: skip
    assert mount.xattr("two.bin", "verified") == str(len(film_bytes))


def test_rubbish_leaves_no_file(mount: Mount, client: Client, url: str) -> None:
    """What is no descriptor, or leads out of the mount, is an error; an address that nobody serves is one a little later."""
    for method, *params in (
        ("addUri", []),
        ("addUri", ["gopher://a/b"]),
        ("addUri", [url], {"out": "../../x"}),
        ("addTorrent", "cnViYmlzaA=="),
        ("addMetalink", "!"),
    ):
        with pytest.raises(ValueError, match="."):
            client(method, *params)
    assert list(mount.source.iterdir()) == []

    gid = client("addUri", [f"{url}.not-there"])
    told = eventually(60, lambda: (t := client("tellStatus", gid))["status"] == "error" and t)
    assert told["errorMessage"]
    assert client("remove", gid) == gid


def test_what_is_begun_before_a_restart_goes_on(mounted: Mounts, source: Path, port: int, url: str) -> None:
    """What was added is fetched by the next mount, under the same gid."""
    mount = mounted(source, enable_rpc=True, rpc_listen_port=port, max_download_limit="1M")
    client = Client(port, None)
    gid = client("addUri", [url])
    eventually(60, lambda: client("tellStatus", gid)["status"] == "active")
    mount.unmount()

    mounted(source, enable_rpc=True, rpc_listen_port=port)
    assert int(client("tellStatus", gid)["completedLength"]) > 0
    eventually(60, lambda: client("tellStatus", gid)["status"] == "complete")
