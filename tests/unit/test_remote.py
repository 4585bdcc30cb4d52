"""A SOURCE that is no path."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from mountdl.descriptors import parse
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import ExitStatus, SourceRefused, UsageError
from mountdl.remote import described, name_of, place, scratch, shown
from mountdl.settings import is_remote
from mountdl.sources.base import Probe
from tests.support.fakes import FakeTransport


@pytest.mark.parametrize(
    ("source", "remote"),
    [("/srv/links", False), ("links", False), ("http://h/x", True), ("magnet:?xt=urn:btih:00", True)],
)
def test_paths_are_not_remote(source: str, remote: bool) -> None:
    """URLs and magnet links are remote, paths are not."""
    assert remote is is_remote(source)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b%20c.iso?x=1#y", "b c.iso"),
        ("http://h/", "file"),
        ("http://h/..", "file"),
        ("http://h/a%2Fb", "a_b"),
        ("http://h/.hidden", "hidden"),
        ("http://h/" + "x" * 300, "x" * 200),
        ("http://h/" + "%F0%9F%98%80" * 90, "\U0001f600" * 50),
        ("http://h/a%EF%BF%BF", "a_"),
    ],
)
def test_a_name_is_one_safe_component(url: str, name: str) -> None:
    """Nothing in a URL leads out of the folder that its descriptor is put into."""
    assert name == name_of(url)


def test_a_plain_file_becomes_a_metalink() -> None:
    """What a server tells of a file is all that its descriptor says."""
    digest = hashlib.sha256(b"x").digest()
    text = described('a&"b.iso', "http://h/a?b=1&c=2", Probe(7, ranges=True, digests={"sha-256": digest}))
    (entry,) = parse("a.meta4", text.encode()).entries
    assert ('a&"b.iso', 7, {"sha-256": digest}) == (str(entry.path), entry.size, dict(entry.digests))
    assert ["http://h/a?b=1&c=2"] == [mirror.url for mirror in entry.mirrors]


@pytest.mark.parametrize(
    ("mtime", "published_ns"), [(1.5e9, 1_500_000_000 * 10**9), (0.0, 0), (None, None), (-1.0, None), (1e300, None)]
)
def test_a_plain_file_has_the_date_that_its_server_tells(mtime: float | None, published_ns: int | None) -> None:
    """One that no file can have counts as none."""
    text = described("a", "http://h/a", Probe(7, ranges=True, mtime=mtime))
    assert parse("a.meta4", text.encode()).published_ns == published_ns


def test_a_file_of_unknown_length_is_described_without_it() -> None:
    """It is found out by who can."""
    (entry,) = parse("a.meta4", described("a", "http://h/a", Probe(None, ranges=False)).encode()).entries
    assert entry.size is None


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("/srv/a?b@c#d", "/srv/a?b@c#d"),
        ("http://user:secret@h:8/a/b?token=secret#secret", "http://h:8/a/b"),
        ("http://h/a@b", "http://h/a@b"),
        ("http://h?u@secret/", "http://h"),
        ("http://user:sec#ret@h/a", "http://…"),
        ("http://user:sec?ret@h/a", "http://…"),
        ("http://user:sec/ret@h/a", "http://…"),
        ("http://user:12#34@h/a", "http://…"),
        ("http://[::1]:8/a@b?c", "http://[::1]:8/a@b"),
        ("http://h:8/a@b", "http://h:8/a@b"),
        ("magnet:?dn=a&xt=urn:btih:00&xt.1=urn:x&tr=http://h/secret", "magnet:?xt=urn:btih:00&xt.1=urn:x"),
    ],
)
def test_a_source_is_shown_without_secrets(source: str, seen: str) -> None:
    """The table of mounts can be read by everybody, and the log is pasted into bug reports."""
    assert shown(source) == seen


@pytest.mark.parametrize("source", ["http://[::1", "http://h:99999/x", "http://h:abc/x", "://", "gopher://h/x"])
async def test_what_is_no_url_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"^{re.escape(shown(source))}: "):
        await place(source, tmp_path, [])


async def test_a_refusal_tells_no_secret(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        await place("ftp://user:secret@h/x?secret", tmp_path, [])
    assert "secret" not in str(refused.value)


async def test_a_magnet_link_may_have_any_bytes(tmp_path: Path) -> None:
    """A command line is bytes, and so is the descriptor that it becomes."""
    link = "magnet:?xt=urn:btih:" + "1" * 40 + "&dn="
    await place(link + "\udcff", tmp_path, [])
    assert (tmp_path / "link.magnet").read_bytes() == link.encode() + b"\xff\n"


@pytest.mark.parametrize("link", ["magnet:", "magnet:?xt=nonsense", "magnet:?xt=\udcff"])
async def test_a_link_that_leads_nowhere_is_refused(link: str, tmp_path: Path) -> None:
    """An empty mount would say nothing of it."""
    with pytest.raises(UsageError, match=r"^magnet:") as refused:
        await place(link, tmp_path, [])
    assert refused.value.exit_status is ExitStatus.BAD_MAGNET


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("name not resolved", ExitStatus.NAME_NOT_RESOLVED),
        ("answered 401: it wants a user name and a password", ExitStatus.AUTHORISATION),
        ("the name mirror.example is not known", ExitStatus.NAME_NOT_RESOLVED),
        ("login is refused: 530 Login incorrect.", ExitStatus.AUTHORISATION),
        ("the proxy wants a user name and a password (407)", ExitStatus.AUTHORISATION),
        ("answered 404", ExitStatus.NOT_FOUND),
        ("answered 410", ExitStatus.NOT_FOUND),
        ("there is no such file", ExitStatus.NOT_FOUND),
        ("no answer within 10 s", ExitStatus.TIMEOUT),
        ("no connection within 15 s", ExitStatus.TIMEOUT),
        ("silent for 10 s", ExitStatus.TIMEOUT),
        ("connection refused", ExitStatus.IO),
        ("answered 500", ExitStatus.IO),
        ("unable to get local issuer certificate", ExitStatus.IO),
    ],
)
async def test_what_can_not_be_had_has_its_status(reason: str, status: ExitStatus, tmp_path: Path) -> None:
    """A script sees why a URL could not be mounted."""

    class Down(FakeTransport):
        schemes = frozenset({"http"})

        async def probe(self, ref: MirrorRef) -> Probe:
            raise SourceRefused(ref.url, reason)

    with pytest.raises(UsageError, match=re.escape(reason)) as refused:
        await place("http://h/x", tmp_path, [Down({})])
    assert refused.value.exit_status is status


def test_no_temporary_directory_is_no_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is full."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match=r"^http://h/x: no temporary directory can be made: .* set TMPDIR"):
        scratch("http://h/x?secret")


async def test_no_room_for_the_descriptor_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^link.magnet: can't be written into "):
        await place("magnet:?xt=urn:btih:" + "1" * 40, tmp_path / "gone", [])
