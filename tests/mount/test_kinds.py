"""Each kind of descriptor in one source: the right bytes, how well they are verified, from which sources."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from mountdl import digests
from mountdl.digests import trees
from tests.support import torrents
from tests.support.content import pattern
from tests.support.httpserver import Request, Stream, answer
from tests.support.mirrors import Manner, Mirror, Mirrors, head, honest, lying, span
from tests.support.mounts import LONGEST, Mount, Mounts, eventually, mountdl, mounted_on, needs_fuse, run, within
from tests.support.samples import CHUNK, MIB, metalink3, metalink4

pytestmark = needs_fuse

DATA = pattern(MIB + 4321, seed=7)
OTHER = pattern(300_000, seed=8)
FILES = {"f.bin": DATA, "top/f.bin": DATA, "top/sub/o.bin": OTHER, "f1.bin": DATA, "f2.bin": OTHER}


def own(algorithm: str, data: bytes = DATA) -> bytes:
    made = digests.hasher(algorithm)
    made.update(data)
    return made.digest()


def base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=")


SHA1 = hashlib.sha1(DATA).digest()
TOPICS = {
    "sha1": f"sha1:{base32(SHA1)}",
    "md5": f"md5:{hashlib.md5(DATA).hexdigest()}",
    "sha256": f"sha256:{hashlib.sha256(DATA).hexdigest()}",
    "sha512": f"sha512:{hashlib.sha512(DATA).hexdigest()}",
    "tree": f"tree:tiger:{base32(own('tth'))}",
    "bitprint": f"bitprint:{base32(SHA1)}.{base32(own('tth'))}",
    "ed2k": f"ed2k:{own('ed2k').hex()}",
    "aich": f"aich:{base32(own('aich'))}",
    "tiger": f"tiger:{own('tiger').hex()}",
    "md4": f"md4:{own('md4').hex()}",
}


def listed(mount: Mount) -> list[str]:
    found = run("find", mount.path, "-type", "f", "-printf", "%P\n")
    return sorted(found.stdout.splitlines())


def sources(mount: Mount, name: str) -> list[str]:
    return sorted(line.split("\t")[0] for line in mount.xattr(name, "sources").splitlines())


def whole(mount: Mount, name: str, expected: bytes = DATA) -> None:
    """Read all of it; in the end every byte is verified."""
    assert mount.read(name) == expected
    eventually(LONGEST, lambda: mount.xattr(name, "verified") == str(len(expected)))
    eventually(LONGEST, lambda: mount.xattr(name, "state") == "complete")


@pytest.fixture
def two(mirrors: Mirrors) -> tuple[Mirror, Mirror]:
    return mirrors.add("one", FILES), mirrors.add("two", FILES)


def test_metalinks(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """Of both versions: verified chunk by chunk."""
    urls = [mirror.of("f.bin") for mirror in two]
    (source / "four.bin.meta4").write_text(metalink4("x.bin", DATA, urls))
    (source / "three.bin.metalink").write_text(metalink3("x.bin", DATA, urls))
    mount = mounted(source)

    assert listed(mount) == ["four.bin", "three.bin"]
    for name in listed(mount):
        assert mount.xattr(name, "level") == "chunk"
        assert sources(mount, name) == sorted(urls)
        whole(mount, name)


def test_magnets_with_mirrors(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """Each kind of topic verifies the whole file; as, ws and xs are its sources; `&amp;` and broken lines are fine."""
    urls = [mirror.of("f.bin") for mirror in two]
    for name, topic in TOPICS.items():
        link = (
            f"magnet:?xt=urn:{topic}&amp;dn={name}.bin\n&amp;xl={len(DATA)}&as={quote(urls[0])}&xs={quote(urls[1])}\n"
        )
        (source / f"{name}.magnet").write_text(link)
    mount = mounted(source)

    assert listed(mount) == sorted(f"{name}.bin" for name in TOPICS)
    for name in listed(mount):
        assert mount.xattr(name, "level") == "whole"
        assert sources(mount, name) == sorted(urls)
        whole(mount, name)
    assert mount.xattr("bitprint.bin", "digest") == f"sha-1:{SHA1.hex()}"
    assert mount.xattr("ed2k.bin", "digest") == f"ed2k:{own('ed2k').hex()}"


def test_a_file_of_many_magnets(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """Comments, wrapped lines, two on a line, numbered groups, web seeds; one that nothing verifies says so."""
    one, other = (quote(mirror.of("f.bin"), safe="") for mirror in two)
    rest = quote(two[0].of("f2.bin"), safe="")
    size, sha1 = f"xl={len(DATA)}", f"xt=urn:{TOPICS['sha1']}"
    groups = [f"xt.1=urn:{TOPICS['aich']}&dn.1=group1.bin&xl.1={len(DATA)}&as.1={one}"]
    groups += [f"xt.2=urn:md5:{hashlib.md5(OTHER).hexdigest()}&dn.2=group2.bin&xl.2={len(OTHER)}&as.2={rest}"]
    lines = [
        "# from a share",
        f"magnet:?{sha1}&amp;dn=wrapped.bin",
        f"   &amp;{size}&amp;as={one}",
        "; another comment",
        f"<a href='magnet:?XT=URN:MD5:{hashlib.md5(DATA).hexdigest()}&dn=quoted.bin&{size}&ws={other}'>",
        f"stream-magnet:?{sha1}&dn=first.bin&{size}&as={one} magnet:///?{sha1}&dn=second.bin&{size}&as={other}",
        "",
        f"magnet:?{'&'.join(groups)}",
        f"magnet:?xt=urn:crc32:12345678&dn=weak.bin&{size}&as={one}",
    ]
    (source / "many.magnet").write_text("\ufeff" + "\r\n".join(lines))
    mount = mounted(source)

    names = ["first.bin", "group1.bin", "group2.bin", "quoted.bin", "second.bin", "weak.bin", "wrapped.bin"]
    assert listed(mount) == names
    for name in names:
        assert mount.xattr(name, "level") == ("none" if name == "weak.bin" else "whole")
        assert mount.read(name) == (OTHER if name == "group2.bin" else DATA)


def test_signatures_and_preferences_of_metalinks(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """The signature stands beside its file; language, system, version, place and protocol choose what is shown."""
    urls = [mirror.of("f.bin") for mirror in two]
    armour = "-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----"
    more = f'<signature mediatype="application/pgp-signature">\n{armour}\n</signature>'
    (source / "a.bin.meta4").write_text(
        metalink4("a.bin", DATA, urls, more=more).replace('priority="2"', 'priority="2" location="JP"')
    )
    for name, trait in {
        "de": "<language>de-CH</language>",
        "os": "<os>BSD</os>",
        "old": "<version>1</version>",
    }.items():
        (source / f"{name}.bin.meta4").write_text(metalink4(f"{name}.bin", OTHER, [two[0].of("f2.bin")], more=trait))
    mount = mounted(source, metalink_location="jp", metalink_language="de", metalink_os="Linux", metalink_version="2")

    assert listed(mount) == ["a.bin", "a.bin.asc", "de.bin"]
    assert mount.read("a.bin.asc").decode() == armour + "\n"
    assert mount.xattr("a.bin", "sources").splitlines()[0].startswith(urls[1])
    whole(mount, "a.bin")


@pytest.mark.parametrize("topic", ["tree", "ed2k", "aich"])
def test_a_magnet_whose_mirror_lies(topic: str, mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """The topic finds out; what was wrong is fetched anew from the other."""
    liar, good = mirrors.add("liar", FILES, lying(CHUNK, every=1)), mirrors.add("good", FILES)
    link = f"magnet:?xt=urn:{TOPICS[topic]}&dn=f.bin&xl={len(DATA)}&as={liar.of('f.bin')}&as={good.of('f.bin')}"
    (source / "f.magnet").write_text(link)
    mount = mounted(source, background="off")

    def right() -> bool:
        return mount.read("f.bin") == DATA and mount.xattr("f.bin", "verified") == str(len(DATA))

    eventually(LONGEST, right)
    assert mount.xattr("f.bin", "state") == "complete"
    assert "does not match" in mount.why("f.bin")


def test_an_ed2k_link_of_whole_parts(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """Either of the two hashes that such a file has will do."""
    data = pattern(trees.PART, seed=3)
    mirror = mirrors.add("one", {"f.bin": data})
    older = digests.alternative("ed2k", len(data))
    assert older is not None
    older.update(data)
    for name, value in {"older": older.digest(), "emule": own("ed2k", data)}.items():
        (source / f"{name}.magnet").write_text(
            f"magnet:?xt=urn:ed2k:{value.hex()}&dn={name}&xl={len(data)}&as={mirror.of('f.bin')}"
        )
    mount = mounted(source)

    whole(mount, "older", data)
    whole(mount, "emule", data)


def test_a_magnet_without_a_size(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """Its mirror is asked."""
    (source / "f.magnet").write_text(f"magnet:?xt=urn:{TOPICS['md5']}&dn=f.bin&as={two[0].of('f.bin')}")
    mount = mounted(source)

    eventually(LONGEST, lambda: listed(mount) == ["f.bin"])
    whole(mount, "f.bin")


def test_a_magnet_to_a_swarm_alone(mounted: Mounts, source: Path) -> None:
    """It is shown as one that waits, and says why."""
    pytest.importorskip("libtorrent")
    (source / "s.magnet").write_text(f"magnet:?xt=urn:btih:{'12' * 20}&dn=film.mkv")
    mount = mounted(source, bt_metadata_timeout=1)

    assert listed(mount) == ["film.mkv.resolving"]
    assert mount.read("film.mkv.resolving") == b""
    assert mount.xattr("film.mkv.resolving", "state") == "resolving"
    eventually(5, lambda: "no peer told what is in it" in mount.xattr("film.mkv.resolving", "error"))
    told = mountdl("status", mount / "film.mkv.resolving").stdout.splitlines()
    assert told[:2] == ["film.mkv.resolving", "  state: resolving"]
    assert "no peer told what is in it" in told[2]


def test_waiting_for_what_is_no_file(mounted: Mounts, source: Path) -> None:
    """For a note that resolves until it does, for one that says what is wrong not at all: neither is whole."""
    link, bad = source / "s.magnet", source / "bad.meta4"
    link.write_text(f"magnet:?xt=urn:btih:{'12' * 20}&dn=film.mkv")
    bad.write_text("no metalink")
    mount = mounted(source)

    eventually(LONGEST, lambda: (mount / "bad.meta4.error").exists())
    done = mountdl("wait", mount / "bad.meta4.error")
    assert (done.returncode, "bad.meta4.error stands for no file: not well-formed" in done.stderr) == (17, True)
    assert mountdl("wait", "--timeout", "0.2", mount / "film.mkv.resolving").returncode == 2
    ours, theirs = os.openpty()
    line = [sys.executable, "-m", "mountdl", "wait", mount / "film.mkv.resolving"]
    with subprocess.Popen(line, stderr=theirs) as waiting, open(ours, "rb", buffering=0) as drawn:
        os.close(theirs)
        assert within(LONGEST, lambda: drawn.read(1000)).startswith(b"\r\x1b[Kresolving: ")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
        link.unlink()
        assert waiting.wait(LONGEST) == 0


def test_torrents_with_web_seeds(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """Of one file: its piece digests; of several, aligned by padding or not: the files, from their own URLs."""
    single = torrents.single(DATA, CHUNK, "f.bin")
    (source / "one.torrent").write_bytes(torrents.torrent(single, url_list=[f"{mirror.url}/" for mirror in two]))
    several = torrents.several({"f.bin": DATA, "sub/o.bin": OTHER}, CHUNK)
    (source / "several.torrent").write_bytes(torrents.torrent(several, url_list=f"{two[0].url}"))
    mount = mounted(source)

    assert listed(mount) == ["f.bin", "top/f.bin", "top/sub/o.bin"]
    assert mount.xattr("f.bin", "level") == "chunk"
    *seeds, swarm = sources(mount, "f.bin")
    assert (seeds, swarm[:6]) == (sorted(mirror.of("f.bin") for mirror in two), "swarm ")
    whole(mount, "f.bin")
    assert sources(mount, "top/sub/o.bin")[:-1] == [two[0].of("top/sub/o.bin")]
    assert mount.read("top/f.bin") == DATA
    assert mount.read("top/sub/o.bin") == OTHER


def test_a_torrent_of_files_that_share_pieces(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """No byte of a seed that lies everywhere is read, also where a piece is of two files."""
    files = {"f.bin": DATA, "small.bin": b"0123456789", "sub/o.bin": OTHER}
    served = {f"top/{name}": data for name, data in files.items()}
    liar, good = mirrors.add("liar", served, lying(8, every=1)), mirrors.add("good", served)
    info = torrents.several(files, CHUNK)
    (source / "t.torrent").write_bytes(torrents.torrent(info, url_list=[f"{liar.url}/", f"{good.url}/"]))
    mount = mounted(source, background="off")

    for name, data in files.items():
        assert mount.read(f"top/{name}") == data
        eventually(LONGEST, lambda name=name, data=data: mount.xattr(f"top/{name}", "verified") == str(len(data)))  # type: ignore[misc]
        assert mount.xattr(f"top/{name}", "level") == "none"
    assert "sent wrong bytes" in mount.why("top/f.bin")


@pytest.mark.parametrize("kind", ["padded", "version 2", "both"])
def test_torrents_whose_files_begin_pieces(
    kind: str, two: tuple[Mirror, Mirror], mirrors: Mirrors, mounted: Mounts, source: Path
) -> None:
    """Each file is verified by its own pieces, the last filled up with zeros; a liar is found out."""
    files = {"f.bin": DATA, "sub/o.bin": OTHER}
    padded = {"f.bin": DATA, ".pad/1": bytes(-len(DATA) % CHUNK), "sub/o.bin": OTHER}
    root = torrents.version_2(files, CHUNK) if kind != "padded" else {"info": {}}
    if kind != "version 2":
        root["info"] = {**root["info"], **torrents.several(padded, CHUNK)}  # type: ignore[dict-item]
    liar = mirrors.add("liar", FILES, lying(CHUNK, every=3))
    root["url-list"] = [f"{mirror.url}/" for mirror in (liar, two[1])]
    (source / "t.torrent").write_bytes(torrents.encode(torrents.tidy(root)))
    mount = mounted(source)

    assert listed(mount) == ["top/f.bin", "top/sub/o.bin"]
    for name, data in files.items():
        assert mount.xattr(f"top/{name}", "level") == "chunk"
        whole(mount, f"top/{name}", data)


def test_a_torrent_without_any_source(mounted: Mounts, source: Path) -> None:
    """Its files are shown; a read fails soon, with a reason."""
    pytest.importorskip("libtorrent")
    (source / "t.torrent").write_bytes(
        torrents.torrent(torrents.single(DATA, CHUNK, "f.bin"), announce="http://127.0.0.1:1/announce")
    )
    mount = mounted(source, read_timeout=2)

    assert listed(mount) == ["f.bin"]
    assert (mount / "f.bin").stat().st_size == len(DATA)
    assert [line[:6] for line in sources(mount, "f.bin")] == ["swarm "]
    [told] = mount.status()["files"]
    assert (told["sources"][0]["name"], told["sources"][0]["state"]) == (sources(mount, "f.bin")[0], "idle")
    assert mount.errno("f.bin") == errno.EIO
    assert "has no peer that answers" in mount.xattr("f.bin", "error")


def test_lists_and_shortcuts(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """Several URIs of a line are mirrors, patterns several files; sizes are asked for."""
    one, other = two
    lines = [
        f"{one.of('f.bin')}\t{other.of('f.bin')}",
        "  out=named/by-list.bin",
        f"{{{one.url},{other.url}}}/f[1-2].bin",
        f"{one.of('f.bin')}",
        f"  checksum=sha-1={SHA1.hex()}",
    ]
    (source / "l.uris").write_text("\n".join(lines))
    (source / "s.bin.url").write_text(f"[InternetShortcut]\r\nURL={one.of('f.bin')}\r\n")
    (source / "d.desktop").write_text(f"[Desktop Entry]\nType=Link\nURL={other.of('f2.bin')}\n")
    (source / "notes.txt").write_text(f"{one.of('f.bin')}\n")
    mount = mounted(source)

    expected = ["f.bin", "f1.bin", "f2 (2).bin", "f2.bin", "named/by-list.bin", "s.bin"]
    eventually(LONGEST, lambda: listed(mount) == expected)
    assert sources(mount, "named/by-list.bin") == sorted(mirror.of("f.bin") for mirror in two)
    assert sources(mount, "f1.bin") == sorted(mirror.of("f1.bin") for mirror in two)
    assert {mount.xattr(name, "level") for name in expected} == {"none", "whole"}
    assert mount.xattr("f.bin", "level") == "whole"
    whole(mount, "f.bin")
    for name in expected:
        assert mount.read(name) == (OTHER if name.startswith("f2") else DATA)


def redirecting(to: Callable[[], list[Mirror]]) -> Manner:
    """Send everybody to the first mirror, and name all of them with a digest (RFC 6249)."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        links = ", ".join(f"<{each.of('f.bin')}>; rel=duplicate; pri={rank}" for rank, each in enumerate(to(), 1))
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        fields = (f"Location: {to()[0].of('f.bin')}", f"Link: {links}", f"Digest: SHA-256={digest}")
        await stream.send_all(answer("302 Found", *fields, length=0))
        return True

    return manner


def test_a_plain_url_of_a_redirector(
    two: tuple[Mirror, Mirror], mirrors: Mirrors, mounted: Mounts, source: Path, tmp_path: Path
) -> None:
    """Its mirrors and its digest make one file with many sources, whether in a list or as the SOURCE itself."""
    redirector = mirrors.add("redirector", FILES, redirecting(lambda: list(two)))
    everybody = sorted(mirror.of("f.bin") for mirror in (*two, redirector))
    (source / "f.uris").write_text(redirector.of("f.bin"))
    for what in (source, redirector.of("f.bin")):
        mount = mounted(what, cache=tmp_path / f"cache{what == source}")  # type: ignore[arg-type]
        eventually(LONGEST, lambda mount=mount: listed(mount) == ["f.bin"])  # type: ignore[misc]
        assert mount.xattr("f.bin", "level") == "whole"
        assert mount.xattr("f.bin", "digest") == f"sha-256:{hashlib.sha256(DATA).hexdigest()}"
        assert sources(mount, "f.bin") == everybody
        whole(mount, "f.bin")


def test_links_and_magnets_as_source(two: tuple[Mirror, Mirror], mirrors: Mirrors, mounted: Mounts) -> None:
    """`URL#!metalink3!URL` is its metalink; a magnet link is its file."""
    text = metalink4("m.bin", DATA, [two[0].of("f.bin")]).encode()
    documents = mirrors.add("documents", {"m.meta4": text}, honest)
    mount = mounted(f"{two[0].of('f.bin')}#!metalink3!{documents.of('m.meta4')}")  # type: ignore[arg-type]
    assert listed(mount) == ["m.bin"]
    assert mount.xattr("m.bin", "level") == "chunk"
    whole(mount, "m.bin")
    link = f"magnet:?xt=urn:{TOPICS['aich']}&dn=g.bin&xl={len(DATA)}&as={two[1].of('f.bin')}"
    mount = mounted(link)  # type: ignore[arg-type]
    assert listed(mount) == ["g.bin"]
    whole(mount, "g.bin")


METALINK = "application/metalink4+xml"


def test_documents_that_descriptors_name(
    two: tuple[Mirror, Mirror], mirrors: Mirrors, mounted: Mounts, source: Path
) -> None:
    """A metaurl, a magnet's exact source, a link: chunks are verified; a document gone or about another file costs nothing."""
    one, other = (mirror.of("f.bin") for mirror in two)
    text = metalink4("m.bin", DATA, [other]).encode()
    documents = mirrors.add("documents", {"m.meta4": text})

    def metaurl(name: str) -> str:
        return f'<metaurl mediatype="{METALINK}" priority="1">{documents.of(name)}</metaurl>'

    for name, named, data, url in (
        ("a.bin", "m.meta4", DATA, one),
        ("gone.bin", "gone.meta4", OTHER, two[0].of("f2.bin")),
        ("wrong.bin", "m.meta4", OTHER, two[0].of("f2.bin")),
    ):
        (source / f"{name}.meta4").write_text(metalink4(name, data, [url], chunk=None, more=metaurl(named)))
    link = f"magnet:?xt=urn:{TOPICS['sha1']}&dn=magnet.bin&xs={quote(documents.of('m.meta4'), safe='')}"
    (source / "l.magnet").write_text(link)
    lines = [f"{one}#!metalink3!{documents.of('m.meta4')}", "  out=list.bin"]
    lines += [f"{one}#!metalink3!{documents.of('gone.meta4')}", "  out=plain.bin"]
    lines += [f"{one}#!metalink3!ftp://127.0.0.1:9/m.meta4", "  out=ftp.bin"]
    (source / "l.uris").write_text("\n".join(lines))
    mount = mounted(source)

    expected = ["a.bin", "ftp.bin", "gone.bin", "list.bin", "magnet.bin", "plain.bin", "wrong.bin"]
    eventually(LONGEST, lambda: listed(mount) == expected)
    for name in ("a.bin", "list.bin", "magnet.bin"):
        eventually(LONGEST, lambda name=name: mount.xattr(name, "level") == "chunk")  # type: ignore[misc]
    assert sources(mount, "a.bin") == sorted([one, other])
    assert sources(mount, "magnet.bin") == sorted([one, other])
    assert [mount.xattr(name, "level") for name in ("gone.bin", "wrong.bin", "plain.bin", "ftp.bin")] == [
        "whole", "whole", "none", "none"
    ]  # fmt: skip
    for name in expected:
        assert mount.read(name) == (OTHER if name in {"gone.bin", "wrong.bin"} else DATA)


def described(by: Callable[[], str]) -> Manner:
    """Serve the file, and name a metalink about it (RFC 6249)."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        start, stop = span(request, len(data))
        link = f'Link: <{by()}>; rel=describedby; type="{METALINK}"'
        await stream.send_all(head(request, len(data), link, "Accept-Ranges: bytes"))
        if request.method != "HEAD":
            await stream.send_all(data[start:stop])
        return True

    return manner


def test_a_plain_url_that_a_metalink_describes(
    two: tuple[Mirror, Mirror], mirrors: Mirrors, mounted: Mounts, source: Path, tmp_path: Path
) -> None:
    """In a list or as the SOURCE itself, its pieces verify it and its mirrors help."""
    text = metalink4("m.bin", DATA, [two[1].of("f.bin")]).encode()
    documents = mirrors.add("documents", {"m.meta4": text})
    server = mirrors.add("server", FILES, described(lambda: documents.of("m.meta4")))
    (source / "f.uris").write_text(server.of("f.bin"))
    for what in (source, server.of("f.bin")):
        mount = mounted(what, cache=tmp_path / f"cache{what == source}")  # type: ignore[arg-type]
        eventually(LONGEST, lambda mount=mount: listed(mount) == ["f.bin"])  # type: ignore[misc]
        eventually(LONGEST, lambda mount=mount: mount.xattr("f.bin", "level") == "chunk")  # type: ignore[misc]
        assert sources(mount, "f.bin") == sorted([server.of("f.bin"), two[1].of("f.bin")])
        whole(mount, "f.bin")


def test_plain_addresses_while_nobody_answers(
    two: tuple[Mirror, Mirror], mirrors: Mirrors, mounted: Mounts, source: Path, tmp_path: Path
) -> None:
    """What an earlier mount learned of size, digests and mirrors shows the files, and what is stored is read."""
    redirector = mirrors.add("redirector", FILES, redirecting(lambda: list(two)))
    everybody = sorted(mirror.of("f.bin") for mirror in (*two, redirector))
    (source / "f.uris").write_text(f"{redirector.of('f.bin')}\n{two[0].of('f2.bin')}\n  out=plain.bin\n")
    mount = mounted(source, cache=tmp_path / "cache")
    eventually(LONGEST, lambda: listed(mount) == ["f.bin", "plain.bin"])
    whole(mount, "f.bin")
    assert mount.read("plain.bin") == OTHER
    eventually(LONGEST, lambda: mount.xattr("plain.bin", "state") == "complete")
    mount.unmount()
    for mirror in (*two, redirector):
        mirrors.stop(mirror)

    mount = mounted(source, cache=tmp_path / "cache")
    eventually(LONGEST, lambda: listed(mount) == ["f.bin", "plain.bin"])
    assert sources(mount, "f.bin") == everybody
    assert mount.xattr("f.bin", "level") == "whole"
    assert mount.read("f.bin") == DATA
    assert mount.read("plain.bin") == OTHER


def test_a_dynamic_metalink_follows_its_origin(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """Its mirrors are gone, the origin names another: the file is read; an origin that fails takes nothing away."""
    good = mirrors.add("good", FILES)
    gone = mirrors.add("gone", FILES, up=False)
    files = {"new.meta4": metalink4("f.bin", DATA, [good.of("f.bin")]).encode(), "page.meta4": b"<html>"}
    origin = mirrors.add("origin", files)
    for name, mirror, named in (("f.bin", gone, "new.meta4"), ("g.bin", good, "page.meta4")):
        text = metalink4(
            "f.bin", DATA if name == "f.bin" else OTHER, [mirror.of("f2.bin" if name == "g.bin" else "f.bin")]
        )
        head = f'<origin dynamic="true">{origin.of(named)}</origin><file '
        (source / f"{name}.meta4").write_text(text.replace("<file ", head, 1))
    mount = mounted(source)

    eventually(LONGEST, lambda: sources(mount, "f.bin") == [good.of("f.bin")])
    whole(mount, "f.bin")
    eventually(LONGEST, lambda: len({request.path for request in origin.asked}) == 2)
    assert mount.read("g.bin") == OTHER


def test_a_list_and_a_shortcut_behind_urls(two: tuple[Mirror, Mirror], mirrors: Mirrors, mounted: Mounts) -> None:
    """What its name calls a list is one; a text that begins with an address is a text."""
    listed_files = {
        "l.uris": f"{two[0].of('f.bin')}\n{two[0].of('f2.bin')}\n".encode(),
        "s.url": f"[InternetShortcut]\r\nURL={two[0].of('f.bin')}\r\n".encode(),
        "t.txt": f"{two[0].of('f.bin')}\n".encode(),
    }
    documents = mirrors.add("documents", listed_files, honest)
    for name, expected in {"l.uris": ["f.bin", "f2.bin"], "s.url": ["f.bin"], "t.txt": ["t.txt"]}.items():
        mount = mounted(documents.of(name))  # type: ignore[arg-type]
        eventually(LONGEST, lambda mount=mount, expected=expected: listed(mount) == expected)  # type: ignore[misc]
    assert mount.read("t.txt") == listed_files["t.txt"]


def test_a_bad_descriptor_behind_a_url_is_refused(mirrors: Mirrors, mounted: Mounts) -> None:
    """With the status that it has as a file, in place of an empty mount or of a page called FILM.torrent."""
    files = {
        "broken.meta4": b"<metalink",
        "broken.torrent": b"d8:announce",
        "bad.magnet": b"magnet:?xt=x",
        "none.meta4": b"",
    }
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    files |= {"page.metalink": page, "page.torrent": page}
    documents = mirrors.add("documents", files)
    statuses = {".meta4": 20, ".metalink": 20, ".torrent": 26, ".magnet": 27}
    for name in files:
        url, place = documents.of(name), mounted.place()
        done = mountdl("mount", "--cache-dir", mounted.home / "cache", url, place)
        assert (done.returncode, mounted_on(place)) == (statuses[Path(name).suffix], False), done.stderr
        assert done.stderr.startswith(f"mountdl: can't mount {url}: ")
        assert done.stderr.count("\n") == 1


def test_what_is_refused_says_why(two: tuple[Mirror, Mirror], mounted: Mounts, source: Path) -> None:
    """`NAME.error` of each kind, also of a descriptor of which no file is left; the others are shown."""
    (source / "bad.magnet").write_text("magnet:?dn=x")
    (source / "bad.torrent").write_bytes(b"d4:infode")
    (source / "bad.uris").write_text("file:///etc/passwd\n")
    (source / "bad.url").write_text("[InternetShortcut]\n")
    (source / "left.meta4").write_text(
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="../up"><url>http://h/x</url></file>'
        '<file name="b.bin"><url>rsync://h/x</url></file></metalink>'
    )
    (source / "good.bin.meta4").write_text(metalink4("good.bin", DATA, [two[0].of("f.bin")]))
    mount = mounted(source)
    names = ["bad.magnet", "bad.torrent", "bad.uris", "bad.url", "left.meta4"]

    eventually(LONGEST, lambda: listed(mount) == sorted([*(f"{name}.error" for name in names), "good.bin"]))
    assert b"leads upwards" in mount.read("left.meta4.error")
    assert b"b.bin: nothing is left to fetch it from" in mount.read("left.meta4.error")
    assert b"no-usable-topic" in mount.read("bad.magnet.error")
    for name, status in {"bad.magnet": 27, "bad.torrent": 26, "bad.uris": 20}.items():
        done = mountdl("mount", "--cache-dir", mount.cache, source / name, mounted.place())
        assert done.returncode == status, done.stderr
    whole(mount, "good.bin")


def test_what_create_makes_can_be_mounted(
    two: tuple[Mirror, Mirror], mounted: Mounts, source: Path, tmp_path: Path
) -> None:
    """From a file to a descriptor of each kind and back."""
    (tmp_path / "f.bin").write_bytes(DATA)
    for number, kind in enumerate(["meta4", "metalink3", "magnet", "torrent"]):
        suffix = {"metalink3": "metalink"}.get(kind, kind)
        (source / str(number)).mkdir()
        out = source / str(number) / f"f.bin.{suffix}"
        done = mountdl("create", "--format", kind, "-o", out, "--mirror", f"{two[0].url}/", tmp_path / "f.bin")
        assert (done.returncode, done.stderr) == (0, "")
    mount = mounted(source)

    assert listed(mount) == [f"{number}/f.bin" for number in range(4)]
    assert [mount.xattr(name, "level") for name in listed(mount)] == ["chunk"] * 4
    for name in listed(mount):
        whole(mount, name)
