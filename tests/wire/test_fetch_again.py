"""`mountdl fetch`, time and again: what date a file has, and what is there already."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import trio

from tests.support.content import pattern
from tests.support.fetches import STORE, fetched, names
from tests.support.httpserver import Request, Stream
from tests.support.mirrors import Mirror, Mirrors, dying, head, honest, span
from tests.support.mounts import command, mountdl
from tests.support.samples import metalink3, publish

NAME = "film.bin"
DATA = pattern(300_000)
PUBLISHED, MODIFIED = 1_500_000_000, 1_600_000_000


async def dated(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Do what it should, and say when the file was changed."""
    await stream.send_all(head(request, len(data), "Last-Modified: Sun, 13 Sep 2020 12:26:40 GMT"))
    if request.method != "HEAD":
        start, stop = span(request, len(data))
        await mirror.send(stream, data[start:stop])
    return True


def test_a_file_has_the_date_that_a_mount_would_show(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """That of its descriptor, else of the descriptor's file; of a plain address what its server says, else now."""
    mirror = mirrors.add("only", {NAME: DATA})
    publish(source, "file.bin", DATA[1:], [mirrors.add("rest", {NAME: DATA[1:]}).of(NAME)])
    os.utime(source / "file.bin.meta4", (5, MODIFIED))
    for name in ("one.bin", "two.bin"):  # the same bytes: one of them is a copy
        place = publish(source, name, DATA, [mirror.of(NAME)])
        said = place.read_text().replace("<file ", "<published>2017-07-14T02:40:00Z</published><file ")
        place.write_text(said)
    other = mirrors.add("dated", {"dated.bin": DATA[2:]}, dated)
    before = time.time()
    done = fetched("-d", tmp_path, source, other.of("dated.bin"), mirror.of(NAME))

    assert (done.returncode, done.stderr) == (0, "")
    found = {name: (tmp_path / name).stat().st_mtime for name in ("file.bin", "one.bin", "two.bin", "dated.bin")}
    assert found == {"file.bin": MODIFIED, "one.bin": PUBLISHED, "two.bin": PUBLISHED, "dated.bin": MODIFIED}
    assert (tmp_path / NAME).stat().st_mtime >= before - 2


def test_what_no_digest_tells_apart_is_known_by_its_size(mirrors: Mirrors, tmp_path: Path) -> None:
    """As by a nightly job: the second run has nothing to do. Another size is another file, which stays as it is."""
    mirror = mirrors.add("only", {NAME: DATA})
    listed = f"{mirror.of(NAME)}\n"
    assert fetched("-d", tmp_path, "-i", "-", text=listed).returncode == 0
    before, sent = (tmp_path / NAME).stat(), mirror.sent
    again = fetched("-d", tmp_path, "-i", "-", text=listed)
    assert (again.returncode, again.stdout, again.stderr) == (0, f"{tmp_path / NAME}\n", "")
    assert mirror.sent - sent <= 1  # a probe
    assert os.path.samestat((tmp_path / NAME).stat(), before)

    strict = fetched("-d", tmp_path, "--require-verified", "-i", "-", text=listed)
    assert (strict.returncode, strict.stdout) == (28, "")
    assert f"mountdl: {NAME}: something has this name already, and no digest tells whether" in strict.stderr

    (tmp_path / f"{NAME}.aria2").touch()
    half = fetched("-d", tmp_path, "-i", "-", text=listed)
    assert (half.returncode, half.stdout) == (28, "")
    assert f"mountdl: {NAME}: aria2 has yet to end it: {NAME}.aria2 is beside it" in half.stderr
    (tmp_path / f"{NAME}.aria2").unlink()

    (tmp_path / NAME).write_bytes(DATA[1:])
    other = fetched("-d", tmp_path, "-i", "-", text=listed)
    assert (other.returncode, other.stdout) == (32, "")
    taken = f"this name is taken by another file than this one of {len(DATA)} bytes: move that away"
    assert other.stderr == f"mountdl: {NAME}: {taken}\n"
    assert DATA[1:] == (tmp_path / NAME).read_bytes()


def test_nothing_waits_of_what_somebody_else_brought(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """What was fetched of it before goes: nobody would ever go on with that."""
    publish(source, NAME, DATA, [mirrors.add("dies", {NAME: DATA}, dying(70_000)).of(NAME)], chunk=64 << 10)
    target = tmp_path / "here"
    assert fetched("-d", target, "--max-tries=1", source).returncode != 0
    assert (target / STORE).exists()
    (target / NAME).write_bytes(DATA)

    assert fetched("-d", target, source).returncode == 0
    assert [NAME] == names(target)


def test_pieces_tell_whether_what_is_there_is_the_same(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """As those of most torrents do, which have no digest of the whole."""
    mirror = mirrors.add("only", {NAME: DATA})
    publish(source, NAME, DATA, [mirror.of(NAME)], whole=False)
    (tmp_path / NAME).write_bytes(DATA)
    same = fetched("-d", tmp_path, source)
    assert (same.returncode, same.stdout, mirror.sent) == (0, f"{tmp_path / NAME}\n", 0)

    (tmp_path / NAME).write_bytes(DATA[:-1] + b"?")
    other = fetched("-d", tmp_path, source)
    assert (other.returncode, other.stdout) == (32, "")
    assert f"{NAME}: this name is taken by another file than the one of its pieces" in other.stderr


@pytest.mark.parametrize("taken", [f"{STORE}/contents/b", "b.bin"])
def test_a_name_that_can_not_be_had_is_the_trouble_of_one_file(
    taken: str, mirrors: Mirrors, source: Path, tmp_path: Path
) -> None:
    """The same bytes get their other names, whichever comes first; a copy does not lead into the store either."""
    mirror = mirrors.add("only", {NAME: DATA})
    (tmp_path / "b.bin").write_bytes(b"another file")
    for name in ("a.bin", "b.bin", "c.bin"):
        place = publish(source, name, DATA, [mirror.of(NAME)])
        place.write_text(place.read_text().replace('<file name="b.bin"', f'<file name="{taken}"'))
    done = fetched("-d", tmp_path, source)
    assert done.returncode in {28, 32}
    assert {f"{tmp_path / name}" for name in ("a.bin", "c.bin")} == set(done.stdout.splitlines())
    assert done.stderr.startswith(f"mountdl: {taken}: ")
    assert done.stderr.count("\n") == 1
    assert mirror.sent < 1.5 * len(DATA)
    assert (tmp_path / "b.bin").read_bytes() == b"another file"
    assert not (tmp_path / STORE).exists()


def test_what_a_descriptor_names_in_vain_is_told(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """A file that is left out is a failure, one that gets another name a warning; both went without a word."""
    mirror = mirrors.add("only", {NAME: DATA, "other": DATA[1:]})
    place = publish(source, NAME, DATA, [mirror.of(NAME)])
    more = '<file name="../x"><size>9</size><url>http://h/</url></file></metalink>'
    place.write_text(place.read_text().replace("</metalink>", more))
    (source / f"{NAME}.metalink").write_text(metalink3(NAME, DATA[1:], [mirror.of("other")]))
    done = fetched("-d", tmp_path / "out", source)
    assert done.returncode == 20
    assert {f"{tmp_path / 'out' / NAME}", f"{tmp_path / 'out' / 'film (2).bin'}"} == set(done.stdout.splitlines())
    renamed, lost = sorted(done.stderr.splitlines(), reverse=True)
    said = f"{NAME}: another file has this name; that of {NAME}.metalink is called film (2).bin"
    assert renamed == f"mountdl: warning: {said}"
    assert lost.startswith(f"mountdl: {NAME}.meta4: not all that it names is shown as it stands: ")
    quiet = fetched("-q", "-d", tmp_path / "out", source)
    assert (quiet.returncode, quiet.stderr) == (20, f"{lost}\n")


def test_what_is_known_comes_while_other_servers_think(mirrors: Mirrors, tmp_path: Path) -> None:
    """Of a list of thousands the first length was known minutes before the last, and nothing came until then."""
    go_on = threading.Event()

    async def held(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        while not go_on.is_set():
            await trio.sleep(0.02)
        return await honest(mirror, data, request, stream)

    late, quick = mirrors.add("late", {"late.bin": DATA[1:]}, held), mirrors.add("quick", {NAME: DATA})
    listed = "".join(f"{url}\n" for url in (late.of("late.bin"), quick.of("nothing"), quick.of(NAME)))
    (tmp_path / "list").write_text(listed)
    words = command("fetch", "-d", tmp_path / "out", "-i", tmp_path / "list")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == f"{tmp_path / 'out' / NAME}\n"
        go_on.set()
        assert process.stdout.read() == f"{tmp_path / 'out' / 'late.bin'}\n"
        assert process.stderr.read() == f"mountdl: nothing: {quick.of('nothing')}: answered 404\n"
    assert process.returncode == 3


def test_what_only_the_whole_can_judge_comes_from_who_has_it(mirrors: Mirrors, tmp_path: Path) -> None:
    """A mirror has other bytes of the same number. Where it is the only one, each run says so, and none waits."""
    liar, good = mirrors.add("liar", {NAME: b"?" + DATA[1:]}).of(NAME), mirrors.add("good", {NAME: DATA}).of(NAME)
    checksum = f"checksum=sha-256={hashlib.sha256(DATA).hexdigest()}"
    for _ in range(2):
        alone = fetched("-d", tmp_path, "-i", "-", text=f"{liar}\n {checksum}\n")
        assert (alone.returncode, alone.stdout) == (32, "")
        assert "the whole file does not match its digest" in alone.stderr
    both = fetched("-d", tmp_path, "-i", "-", text=f"{liar}\t{good}\n {checksum}\n")
    assert (both.returncode, both.stderr) == (0, "")
    assert DATA == (tmp_path / NAME).read_bytes()


def test_a_torrent_of_one_file_gets_its_name(mirrors: Mirrors, tmp_path: Path) -> None:
    """At the end of all, when what descriptors say is set aside no more; so do others that are the same bytes."""
    (tmp_path / NAME).write_bytes(DATA)
    place = mirrors.add("only", {NAME: DATA}).of("")
    for torrent in ("one.torrent", "two/one.torrent"):
        (tmp_path / "source" / torrent).parent.mkdir(parents=True, exist_ok=True)
        made = mountdl("create", "-o", tmp_path / "source" / torrent, "--mirror", place, tmp_path / NAME)
        assert made.returncode == 0
    done = fetched("-d", tmp_path / "out", tmp_path / "source")

    assert (done.returncode, done.stderr) == (0, "")
    assert [DATA, DATA] == [(tmp_path / "out" / path).read_bytes() for path in (NAME, f"two/{NAME}")]
    again = fetched("-d", tmp_path / "out", tmp_path / "source")
    assert (again.returncode, again.stderr) == (0, "")


def test_files_are_called_what_their_servers_call_them(mirrors: Mirrors, tmp_path: Path) -> None:
    """Two are called the same: the first line's has the name, though its server answers last; the same again."""
    go_on = threading.Event()

    async def naming(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        while mirror.name == "late" and not go_on.is_set():
            await trio.sleep(0.02)
        start, stop = span(request, len(data))
        await stream.send_all(head(request, len(data), 'Content-Disposition: attachment; filename="a.csv"'))
        if request.method != "HEAD":
            await mirror.send(stream, data[start:stop])
        return True

    late = mirrors.add("late", {"export": DATA[1:]}, naming)
    quick = mirrors.add("quick", {"export": DATA, "plain": DATA[2:]}, naming)
    lines = f"{late.of('export')}\n{quick.of('export')}\n{quick.of('plain')}\n out=plain.bin\n"
    threading.Timer(0.5, go_on.set).start()
    for _ in range(2):
        done = fetched("-d", tmp_path, "-i", "-", text=lines)
        assert (done.returncode, done.stderr.count("a (2).csv")) == (0, 1)
        assert names(tmp_path) == ["a (2).csv", "a.csv", "plain.bin"]
        assert DATA[1:] == (tmp_path / "a.csv").read_bytes()
        assert DATA == (tmp_path / "a (2).csv").read_bytes()

    alone = fetched("-d", tmp_path / "alone", quick.of("export"))
    assert (alone.returncode, names(tmp_path / "alone")) == (0, ["a.csv"])


@pytest.mark.parametrize("address", ["download.php", "get.cgi", "film", "film.bin", "film.bin.meta4", "film.torrent"])
def test_a_descriptor_that_a_program_sends_names_its_file(mirrors: Mirrors, tmp_path: Path, address: str) -> None:
    """The address is a program's, whose name says nothing of the file; one of the file's own type is a name for it."""
    film = mirrors.add("films", {NAME: DATA}).of(NAME)
    there = mirrors.add("site", {f"{address}?id=5": metalink3(NAME, DATA, [film]).encode()}).of(address)
    done = fetched("-d", tmp_path, f"{there}?id=5")
    assert (done.returncode, names(tmp_path)) == (0, [NAME]), done.stderr
