"""What each method tells of a mount, and does to it: the words are aria2's."""

import base64
import errno
import gc
import json
import os
import tempfile
import time
import weakref
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.catalog.tree import Expected, Inode, Note
from mountdl.control.options import OPTIONS
from mountdl.control.rpc import adding, structs, survey
from mountdl.control.rpc.access import Gate, refusal
from mountdl.control.rpc.adding import Addition
from mountdl.control.rpc.answering import ask, of_json, of_value
from mountdl.control.rpc.drop import Drop
from mountdl.control.rpc.faults import Fault, Unauthorized
from mountdl.control.rpc.methods import METHODS, MULTICALL, dispatch
from mountdl.control.rpc.notices import events
from mountdl.control.rpc.paging import page
from mountdl.control.rpc.rows import gid_of
from mountdl.control.rpc.working import worked
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.settings import RpcSettings
from tests.support.rpcs import MOUNT, Desk, metalink
from tests.support.turns import counting_turns

FOUR = {f"{name}.bin.meta4": metalink(f"{name}.bin", 1000, number) for number, name in enumerate("abcd", 1)}


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.show(FOUR)
    made.engine.becomes(made.outline("a.bin"), "active", 400, 1e6)
    made.engine.becomes(made.outline("b.bin"), "complete", 1000)
    made.engine.becomes(made.outline("c.bin"), "error")
    return made


async def call(desk: Desk, method: str, *params: object) -> Any:
    return await dispatch(f"aria2.{method}", list(params), desk.board)


def names(rows: list[Any]) -> list[str]:
    return [PurePosixPath(row["files"][0]["path"]).name for row in rows]


async def test_files_are_downloads(desk: Desk) -> None:
    """What arrives is active, what nobody wants waits, what is whole or failed is stopped."""
    assert names(await call(desk, "tellActive")) == ["a.bin"]
    assert names(await call(desk, "tellWaiting", 0, 10)) == ["d.bin"]
    assert names(await call(desk, "tellStopped", 0, 10)) == ["b.bin", "c.bin"]
    assert await call(desk, "getGlobalStat") == {
        "downloadSpeed": "1000000",
        "uploadSpeed": "0",
        "numActive": "1",
        "numWaiting": "1",
        "numStopped": "2",
        "numStoppedTotal": "2",
    }


async def test_what_is_stopped_has_no_speed(desk: Desk) -> None:
    """Though its rate is that of its last seconds: a bar of it would move, and that of all would be too high."""
    desk.engine.becomes(desk.outline("b.bin"), "complete", 1000, 5e6)
    desk.engine.becomes(desk.outline("c.bin"), "error", 0, 5e6)
    desk.engine.running |= {desk.outline("b.bin").key, desk.outline("c.bin").key}

    assert [each["downloadSpeed"] for each in await call(desk, "tellStopped", 0, 9)] == ["0", "0"]
    assert (await call(desk, "getGlobalStat"))["downloadSpeed"] == "1000000"


@pytest.mark.parametrize(
    ("expected", "status"),
    [
        (Expected.SERVERS, "waiting"),
        (Expected.BYTES, "waiting"),
        (Expected.PEERS, "waiting"),
        (Expected.NOTHING, "error"),
    ],
)
def test_what_has_yet_to_be_named_waits_while_it_may_be(expected: Expected, status: str) -> None:
    """Also while all of it is fetched to find out how long it is; one that failed is an error."""
    note = Note(Inode(2), Inode(1), "a.resolving", b"", 0, "resolving", "why", expected)

    assert survey.status_of_note(note) == status


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("http://m.example/f: answered 404", "3"),
        ("answered 401", "24"),
        ("http://m.example:81/f: connection refused", "1"),
        ("the whole file did not match sha-256:00 and was discarded", "32"),
        (None, "1"),
    ],
)
def test_why_it_failed_is_a_number_too(error: str | None, code: str) -> None:
    """aria2's, as far as the reason is one of its own."""
    facts = structs.Facts("1" * 16, "error", "/m", "/m/f", size=5, error=error, descriptor="f.uris")

    assert structs.struct(facts, ["errorCode"]) == {"errorCode": code}


async def test_a_struct(desk: Desk) -> None:
    """All values are texts; addresses come without what only we may know."""
    told = await call(desk, "tellStatus", gid_of("a.bin"))

    assert told == {
        "gid": gid_of("a.bin"),
        "status": "active",
        "totalLength": "1000",
        "completedLength": "400",
        "uploadLength": "0",
        "downloadSpeed": "1000000",
        "uploadSpeed": "0",
        "pieceLength": str(1 << 20),
        "numPieces": "1",
        "connections": "0",
        "dir": str(MOUNT),
        "files": [
            {
                "index": "1",
                "path": f"{MOUNT}/a.bin",
                "length": "1000",
                "completedLength": "400",
                "selected": "true",
                "uris": [{"uri": "http://m.example/f", "status": "used"}],
            }
        ],
    }
    assert (await call(desk, "tellStatus", gid_of("b.bin")))["bitfield"] == "80"
    assert await call(desk, "tellStatus", gid_of("c.bin"), ["errorCode", "gid", "gid", "x"]) == {
        "gid": gid_of("c.bin"),
        "errorCode": "1",
    }


async def test_what_is_refused_is_an_error() -> None:
    """The note in the place of a descriptor that is no good has its reason, and a code of aria2's."""
    desk = Desk()
    desk.show({"x.meta4": b"<no/>", "y.torrent": b"d"})

    told = await call(desk, "tellStopped", 0, 9, ["status", "errorCode"])

    assert told == [{"status": "error", "errorCode": "20"}, {"status": "error", "errorCode": "26"}]


async def test_a_gid_may_be_shortened(desk: Desk) -> None:
    """Any beginning that only one has; what is none, or nobody's, is a fault."""
    whole = gid_of("a.bin")

    assert (await call(desk, "tellStatus", whole[:7]))["gid"] == whole
    for bad in ("", "xyz", "0" * 17, "0123456789abcdef", 5, None):
        with pytest.raises(Fault):
            await call(desk, "tellStatus", bad)


async def test_pausing(desk: Desk) -> None:
    """What is not complete can be paused; to unpause what was not paused fetches it whole."""
    gid = gid_of("d.bin")

    assert await call(desk, "pause", gid, gid) == gid
    assert (await call(desk, "tellStatus", gid))["status"] == "paused"
    with pytest.raises(Fault, match="paused"):
        await call(desk, "forcePause", gid)
    assert await call(desk, "unpause", gid) == gid
    assert desk.engine.did == []
    assert await call(desk, "unpause", gid) == gid
    assert [what for what, *_ in desk.engine.did] == ["prefetch"]  # type: ignore[misc]
    with pytest.raises(Fault, match="complete"):
        await call(desk, "pause", gid_of("b.bin"))
    assert await call(desk, "pauseAll") == "OK"
    assert (await call(desk, "getGlobalStat"))["numActive"] == "0"
    assert await call(desk, "unpauseAll") == "OK"
    assert (await call(desk, "getGlobalStat"))["numActive"] == "1"


async def test_to_begin_one_again_and_again_is_to_begin_it_once(desk: Desk) -> None:
    """Each want takes memory until it is fulfilled."""
    gid = gid_of("d.bin")
    for _ in range(3):
        await call(desk, "unpause", gid)
        desk.engine.running.add(desk.outline("d.bin").key)
    assert len(desk.engine.did) == 1
    with pytest.raises(Fault, match="active"):
        await call(desk, "unpause", gid_of("a.bin"))


async def test_what_is_not_shown_yet_can_be_paused(source: Path) -> None:
    """A client may be quicker than the mount; it is not begun then."""
    desk = Desk(source)
    [gid] = await call(desk, "addMetalink", metalink("a.bin"))

    assert await call(desk, "pause", gid) == gid
    assert (await call(desk, "tellStatus", gid, ["status"])) == {"status": "paused"}
    assert desk.board.paused_at_first == {"a.bin.meta4"}
    assert await call(desk, "unpause", gid) == gid
    assert (await call(desk, "tellStatus", gid, ["status"])) == {"status": "waiting"}
    assert desk.board.paused_at_first == set()


async def test_results_are_hidden(desk: Desk) -> None:
    """A stopped one is shown no more, until it is fetched again."""
    assert await call(desk, "removeDownloadResult", gid_of("b.bin")) == "OK"
    assert names(await call(desk, "tellStopped", -1, 9)) == ["c.bin"]
    with pytest.raises(Fault, match="not stopped"):
        await call(desk, "removeDownloadResult", gid_of("a.bin"))
    assert await call(desk, "purgeDownloadResult") == "OK"
    assert await call(desk, "tellStopped", 0, 9) == []
    assert (await call(desk, "getGlobalStat"))["numStopped"] == "0"

    desk.engine.becomes(desk.outline("b.bin"), "active")
    assert names(await call(desk, "tellActive")) == ["a.bin", "b.bin"]


async def test_what_a_mount_has_not(desk: Desk) -> None:
    """The sentence says what to do instead."""
    for method, text in {
        "shutdown": "mountdl unmount /mnt/here",
        "forceShutdown": "mountdl unmount",
        "changePosition": "no queue",
        "changeUri": "descriptor",
        "addUri": "nothing can be added here",
    }.items():
        with pytest.raises(Fault, match=text):
            await call(desk, method, ["http://a.example/b"])
    with pytest.raises(Fault, match="remove its descriptor /descriptors/a.bin.meta4"):
        await call(desk, "remove", gid_of("a.bin"))
    with pytest.raises(Fault, match="No such method: aria2.x"):
        await call(desk, "x")


async def test_options(desk: Desk) -> None:
    """They are told as texts, without any secret; limits can be changed, the rest is passed over."""
    told = await call(desk, "getGlobalOption")

    assert told["dir"] == str(MOUNT)
    assert (told["split"], told["check-certificate"], told["listen-port"]) == ("16", "true", "6881-6999")
    assert not told.keys() & {option.name for option in OPTIONS if option.secret}
    assert all(isinstance(value, str) for value in told.values())
    assert (await call(desk, "getOption", gid_of("a.bin")))["out"] == "a.bin"
    assert await call(desk, "changeGlobalOption", {"max-overall-download-limit": "1M", "x": True}) == "OK"
    assert desk.engine.did == [("limit", None, float(1 << 20))]
    assert (await call(desk, "getGlobalOption"))["max-overall-download-limit"] == str(1 << 20)
    assert await call(desk, "changeOption", gid_of("a.bin"), {"max-download-limit": "2K"}) == "OK"
    assert desk.engine.did[1:] == [("limit", 2048.0)]
    assert (await call(desk, "getOption", gid_of("a.bin")))["max-download-limit"] == "2048"
    assert (await call(desk, "getOption", gid_of("b.bin")))["max-download-limit"] == "0"
    with pytest.raises(Fault):
        await call(desk, "changeGlobalOption", {"max-download-limit": "fast"})


@given(st.integers(0, 30), st.integers(-40, 40), st.integers(0, 40))
def test_pages(total: int, offset: int, count: int) -> None:
    """From the start on, or from the end backwards: never more than asked for, each one once, and in order."""
    rows = list(range(total))
    found = page(rows, offset, count)

    assert len(found) <= count
    if offset >= 0:
        assert found == rows[offset : offset + count]
    else:
        assert found == rows[::-1][-1 - offset :][:count] if -offset <= total else found == []


def test_a_page_of_less_than_nothing() -> None:
    """It is a fault, as in aria2."""
    with pytest.raises(Fault):
        page([1], 0, -1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(gid_of("a.bin")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.sampled_from([*METHODS, MULTICALL, "x"]), st.lists(JSON, max_size=4))
def test_any_parameters(method: str, params: list[object]) -> None:
    """A result or a fault comes out, which is JSON, and nothing is written anywhere but in the source."""

    async def body() -> None:
        with tempfile.TemporaryDirectory() as folder:
            desk = Desk(Path(folder))
            desk.show({"a.bin.meta4": FOUR["a.bin.meta4"]})
            answer = await of_value(desk.board, Gate(None), {"id": 1, "method": method, "params": params})
        assert json.loads(answer.body)["id"] == 1
        assert b"a defect" not in answer.body

    trio.run(body)


@given(
    st.lists(st.text(max_size=30) | st.just("http://m.example/a.iso"), max_size=4),
    st.text(max_size=30) | st.sampled_from(["../x", "/etc/passwd", "a/../../b", "a/b", ".x", "x" * 300, "é" * 200]),
    st.text(max_size=10),
)
def test_names_stay_inside(uris: list[str], out: str, checksum: str) -> None:
    """Whatever is added is one file right below the source, and what it shows stays in the mount."""
    try:
        made = adding.of_uris(uris, {"out": out, "checksum": checksum}, "", lambda path: False)
    except Fault:
        return
    assert "/" not in made.name
    assert made.name not in {".", ".."}
    assert not made.name.startswith("."), "a mount passes such names over"
    assert len(made.name.encode()) <= 210
    for path in made.paths:
        assert not path.startswith("/")
        assert ".." not in path.split("/")


def test_a_hidden_file_has_no_hidden_descriptor() -> None:
    """Descriptors whose names begin with a dot are passed over."""
    made = adding.of_uris(["http://m.example/a"], {"out": ".x"}, "", lambda path: False)

    assert (made.name, made.paths) == ("x.uris", (".x",))


def test_a_name_that_is_taken() -> None:
    """The next free one is given, and the list says so."""
    made = adding.of_uris(["http://m.example/a.iso"], {}, "", {"a.iso", "a (2).iso"}.__contains__)

    assert (made.name, made.paths) == ("a (3).iso.uris", ("a (3).iso",))


@pytest.mark.parametrize(
    ("uris", "options", "text"),
    [
        ([], {}, "No URI"),
        (["gopher://a/b", "x"], {}, "No URI"),
        (["http://a.example/b"], {"checksum": "sha-1=zz"}, "checksum"),
        (["http://a.example/b"], {"out": "../b"}, "leads upwards"),
        (["http://a.example/b"], {"out": "/b"}, "absolute"),
        (["magnet:?dn=x"], {}, "link"),
    ],
)
def test_rubbish_is_refused(uris: list[str], options: dict[str, str], text: str) -> None:
    """Before anything is written, by a sentence."""
    with pytest.raises(Fault, match=text):
        adding.of_uris(uris, options, "", lambda path: False)


def test_rubbish_of_other_kinds_is_refused() -> None:
    """What is no torrent, no metalink or no Base64."""
    for make in (adding.of_torrent, adding.of_metalink):
        for bad in ("!", base64.b64encode(b"rubbish").decode(), b"", base64.b64encode(metalink("../x")).decode() + "="):
            with pytest.raises(Fault):
                make(bad)
    with pytest.raises(Fault):
        adding.of_torrent(metalink("x"))


async def test_adding_and_removing(source: Path) -> None:
    """The answer is a gid that is known at once, shown once the file is, and still the same in another run."""
    desk = Desk(source)
    [gid] = await call(desk, "addMetalink", base64.b64encode(metalink("new.iso")).decode())

    assert (await call(desk, "tellStatus", gid, ["status"])) == {"status": "waiting"}
    assert (await call(desk, "getGlobalStat"))["numWaiting"] == "1"
    desk.show()
    assert names([await call(desk, "tellStatus", gid)]) == ["new.iso"]
    again = Desk(source)
    again.board.marks = Drop(source).marks()
    again.show()
    assert names([await call(again, "tellStatus", gid)]) == ["new.iso"]

    assert await call(again, "remove", gid) == gid
    assert list(source.iterdir()) == []
    assert await call(again, "tellActive") == await call(again, "tellWaiting", 0, 9) == []
    assert (await call(again, "tellStopped", 0, 9, ["gid", "status"])) == [{"gid": gid, "status": "removed"}]
    assert (await call(again, "tellStatus", gid))["status"] == "removed"


async def test_two_descriptors_that_show_one_file(source: Path) -> None:
    """Each gid leads to it; to remove one leaves the file to the other."""
    desk = Desk(source)
    (source / "0.meta4").write_bytes(metalink("a.bin"))
    [gid] = await call(desk, "addMetalink", metalink("a.bin"))
    desk.show()
    desk.engine.becomes(desk.outline("a.bin"), "complete", 1000)

    assert (await call(desk, "tellStatus", gid, ["gid", "status"])) == {"gid": gid, "status": "complete"}
    assert (await call(desk, "tellStatus", gid_of("a.bin"), ["status"])) == {"status": "complete"}
    assert (await call(desk, "getGlobalStat"))["numStopped"] == "1"
    assert await call(desk, "remove", gid) == gid
    desk.show()
    assert (await call(desk, "tellStatus", gid, ["status"])) == {"status": "removed"}
    with pytest.raises(Fault, match=r"0\.meta4"):
        await call(desk, "remove", gid_of("a.bin"))


async def test_what_a_server_calls_what_was_added(source: Path) -> None:
    """As in a list without `out`, each of many; the gid stays. What the client named keeps that."""
    desk = Desk(source)
    gids = [await call(desk, "addUri", [f"http://m.example/{each}/download"]) for each in "ab"]
    gids.append(await call(desk, "addUri", ["http://m.example/c/download"], {"out": "mine.mkv"}))
    desk.show()
    assert desk.shows() == ["download (2).resolving", "download.resolving", "mine.mkv.resolving"]
    desk.show(called="film.mkv")

    told = [await call(desk, "tellStatus", gid, ["files"]) for gid in gids]
    assert sorted(names(told)) == desk.shows() == ["film (2).mkv", "film.mkv", "mine.mkv"]
    assert names(told)[2] == "mine.mkv"


async def test_what_was_added_twice_and_called_the_same(source: Path) -> None:
    """It is one file then, to which both gids lead, and which goes with the second."""
    desk = Desk(source)
    (source / "0.uris").write_text("http://m.example/download\n")
    gids = [await call(desk, "addUri", ["http://m.example/download"]) for _ in range(2)]
    desk.show(called="film.mkv")

    assert desk.shows() == ["film.mkv"]
    for gid in gids:
        assert names([await call(desk, "tellStatus", gid)]) == ["film.mkv"]
        assert (await call(desk, "tellStatus", gid, ["gid"])) == {"gid": gid}
    assert await call(desk, "remove", gids[0]) == gids[0]
    (source / "0.uris").unlink()
    desk.show(called="film.mkv")
    assert names([await call(desk, "tellStatus", gids[1])]) == ["film.mkv"]
    assert await call(desk, "remove", gids[1]) == gids[1]
    assert list(source.iterdir()) == []


async def test_a_descriptor_that_was_changed_is_not_removed(source: Path) -> None:
    """Somebody made it their own since."""
    desk = Desk(source)
    gid = await call(desk, "addUri", ["http://m.example/a.iso"])
    desk.show()
    (source / "a.iso.uris").write_text("http://other.example/a.iso\n")

    with pytest.raises(Fault, match="changed since"):
        await call(desk, "remove", gid)
    assert Drop(source).marks() == {}


CLIENTS: dict[str, tuple[str, list[object]]] = {
    # What each of them was seen to send; what comes out must be no error.
    "uGet": (
        "aria2.addUri",
        [["http://m.example/a.iso"], {"continue": True, "max-download-limit": "0K", "dir": "/home/u", "out": "a.iso"}],
    ),
    "Persepolis": (
        "aria2.addUri",
        [
            ["http://m.example/a.iso"],
            {"gid": "00112233445566ff", "max-tries": 5, "split": 16, "out": None, "header": ["A: b"], "referer": None},
        ],
    ),
    "AriaNg": ("aria2.addUri", [["http://m.example/a.iso"], {"dir": "/mnt/here", "pause": "true"}, 0]),
    "Aria2-Explorer": ("aria2.addUri", [["http://m.example/a.iso"], {"out": "a.iso", "header": "Cookie: a=b"}, None]),
    "webui-aria2": ("aria2.addUri", [["http://m.example/a.iso", "http://n.example/a.iso"], {}]),
}


@pytest.mark.parametrize("name", CLIENTS)
async def test_what_clients_send(source: Path, name: str) -> None:
    """Options of another kind, that mean nothing here, or are too many, are passed over."""
    desk = Desk(source)
    method, params = CLIENTS[name]
    value = [{"jsonrpc": 2.0, "id": 0, "method": method, "params": ["token:", *params]}]
    [told] = json.loads((await of_value(desk.board, Gate(None), value)).body)

    assert told["id"] == 0
    desk.show()
    [row] = await call(desk, "tellWaiting", 0, 1000, ["gid", "status", "files", "gid", "followedBy", "whatever"])
    assert row["gid"] == told["result"]
    assert row["files"][0]["path"] == f"{MOUNT}/a.iso.resolving"
    listed = (source / "a.iso.uris").read_text()
    assert "Cookie" not in listed


async def test_a_folder_of_the_mount_may_be_named(source: Path) -> None:
    """By `dir`, as clients do who offer folders; one elsewhere says nothing to a mount."""
    desk = Desk(source)
    for folder, number in (("/mnt/here/films/old", 0), ("/mnt/here/../x", 1), ("/mnt/here", 2), ("/etc", 3)):
        await call(desk, "addUri", [f"http://m.example/{number}.mkv"], {"dir": folder})
    desk.show()

    assert desk.shows() == ["1.mkv.resolving", "2.mkv.resolving", "3.mkv.resolving", "films"]


async def test_the_clients_own_gid(source: Path) -> None:
    """It is honoured once; what is none, or taken, is refused and leaves nothing."""
    desk = Desk(source)
    desk.show(FOUR)
    await call(desk, "tellActive")
    for bad in ("x", "0" * 16, gid_of("a.bin"), "00112233445566778"):
        with pytest.raises(Fault):
            await call(desk, "addUri", ["http://m.example/a.iso"], {"gid": bad})
    assert list(source.iterdir()) == []
    assert await call(desk, "addUri", ["http://m.example/a.iso"], {"gid": "0011223344556677"}) == "0011223344556677"


async def test_marks_of_others_are_no_good(source: Path) -> None:
    """A mark whose gid is none, or that is no JSON, marks nothing."""
    drop = Drop(source)
    drop.put(Addition("a.uris", b"http://m.example/a\n", ("a",)), "0011223344556677", 1.0)
    (source / ".a.uris.rpc").write_text('{"gid": "../x", "sha256": "", "added": 1}')
    (source / ".b.uris.rpc").write_text("[")
    (source / ".c.uris.rpc").mkdir()

    assert drop.marks() == {}


def test_a_file_system_without_hard_links(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors are put there by renaming, and nothing is left beside them."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("os.link", refuse)
    name, mark = Drop(source).put(Addition("a.iso.uris", b"x", ("a.iso",)), "0011223344556677", 1.0)

    assert Drop(source).marks() == {name: mark}
    assert sorted(path.name for path in source.iterdir()) == [".a.iso.uris.rpc", "a.iso.uris"]


def test_a_folder_that_is_gone_or_closed(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(Fault, match=r"a\.uris can't be written"):
        Drop(tmp_path / "gone").put(Addition("a.uris", b"x", ("a",)), "0011223344556677", 1.0)
    assert Drop(tmp_path / "gone").marks() == {}


def test_a_pipe_is_no_mark_and_no_descriptor(source: Path) -> None:
    """Nobody waits for who would write to it: the mount would never begin."""
    os.mkfifo(source / ".a.uris.rpc")
    drop = Drop(source)
    name, _ = drop.put(Addition("b.uris", b"http://m.example/b\n", ("b",)), "1" * 16, 0.0)
    (source / name).unlink()
    os.mkfifo(source / name)

    assert drop.marks() == {}


def test_what_takes_the_place_of_a_descriptor_is_not_removed(source: Path) -> None:
    """A pipe or a folder with its name is somebody else's; a second client that removes what is gone is not told so."""
    drop = Drop(source)
    name, _ = drop.put(Addition("b.uris", b"http://m.example/b\n", ("b",)), "1" * 16, 0.0)
    (source / name).unlink()
    os.mkfifo(source / name)
    with pytest.raises(Fault, match="was changed"):
        drop.remove(name)
    assert (source / name).is_fifo()

    (source / name).unlink()
    drop.remove(name)
    drop.remove(name)
    assert not list(source.iterdir())


def test_a_mark_whose_descriptor_went_goes_too(source: Path) -> None:
    """An hour later, so that nobody who is just writing loses his."""
    for name, now in (("old.uris", 1.0), ("new.uris", time.time())):
        Drop(source).put(Addition(name, b"x", ()), "0011223344556677", now)
        (source / name).unlink()

    assert Drop(source).marks() == {}
    assert [path.name for path in source.iterdir()] == [".new.uris.rpc"]


def test_nobodys_place_is_taken(source: Path) -> None:
    """What is there stays; the next name is taken."""
    (source / "a.iso.uris").write_bytes(b"mine")
    name, _ = Drop(source).put(Addition("a.iso.uris", b"other", ("a.iso",)), "0011223344556677", 1.0)

    assert name == "a (2).iso.uris"
    assert (source / "a.iso.uris").read_bytes() == b"mine"
    assert sorted(path.name for path in source.iterdir()) == [".a (2).iso.uris.rpc", "a (2).iso.uris", "a.iso.uris"]


async def test_tokens() -> None:
    """A wrong one bars all that came with it; lists of methods need none, and one is stripped where none is needed."""
    desk = Desk(secret="s")
    gate = Gate("s")
    with pytest.raises(Unauthorized):
        await ask(desk.board, gate, "aria2.whatever", [])
    for params in ([], ["token:x"], ["s"], [3], ["token:s"]):
        with pytest.raises(Unauthorized):
            await ask(desk.board, gate, "aria2.getVersion", params)
    assert not gate.admitted
    assert await ask(desk.board, Gate("s"), "system.listMethods", ["token:x"])
    assert await ask(desk.board, Gate("s"), "aria2.getVersion", ["token:s"])
    assert await ask(Desk().board, Gate(None), "aria2.tellActive", ["token:x", ["gid"]]) == []
    entry = {"methodName": "aria2.getVersion"}
    told: Any = await ask(
        desk.board,
        gate := Gate("s"),
        MULTICALL,
        [[{**entry, "params": [t]} for t in ("token:s", "token:x", "token:s")]],
    )
    assert [isinstance(each, list) for each in told] == [True, False, False]
    assert told[1] == {"code": 1, "message": "Unauthorized"}
    assert gate.barred


async def test_multicall(desk: Desk) -> None:
    """Results in lists, faults as they are; no recursion; parameters may be missing."""
    told: Any = await ask(
        desk.board,
        Gate(None),
        MULTICALL,
        [[{"methodName": "aria2.getVersion"}, {"methodName": MULTICALL, "params": [[]]}, {}, 3, {"methodName": "x"}]],
    )

    assert told[0][0]["version"]
    assert [each["code"] for each in told[1:]] == [1, 1, 1, 1]


async def test_a_request_asks_for_so_much_and_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever is asked at once: what would be too much is refused, call by call."""
    monkeypatch.setattr("mountdl.control.rpc.answering.MOST_ROWS", 2)
    monkeypatch.setattr("mountdl.control.rpc.answering.MOST_BYTES", 100)
    entry = {"methodName": "aria2.tellStopped", "params": [0, 9]}
    told: Any = await ask(desk.board, Gate(None), MULTICALL, [[entry] * 4])
    assert [isinstance(each, list) for each in told] == [True, True, False, False]

    batch = [{"id": n, "method": "aria2.getVersion"} for n in range(3)]
    answers = json.loads((await of_value(desk.board, Gate(None), batch)).body)
    assert [(each["id"], "error" in each) for each in answers] == [(0, False), (1, True), (2, True)]


class Held:
    """What is to go with the request that holds it."""


async def test_what_was_refused_is_forgotten() -> None:
    """With the answer, not when the collector comes by: a request holds 2 MiB."""
    held = Held()
    gone = weakref.ref(held)

    def work(held: Held) -> None:
        raise Fault(f"no {held}", 5, 418)

    async def answer(held: Held) -> str:
        try:
            await worked(partial(work, held), trio.CapacityLimiter(1))
        except Fault as fault:
            return f"{fault.code} {fault.status}"
        return ""

    gc.disable()
    try:
        assert await answer(held) == "5 418"
        await trio.testing.wait_all_tasks_blocked()
        del held
        for _ in range(500):
            if gone() is None:
                break
            await trio.sleep(0.01)  # the thread forgets last what it did
        assert gone() is None
    finally:
        gc.enable()


async def test_a_batch_gives_others_turns() -> None:
    """Between any two of its calls."""
    async with counting_turns() as turns:
        await ask(Desk().board, Gate(None), MULTICALL, [[{"methodName": "aria2.getVersion"}] * 100])
    assert turns.taken >= 100


async def test_a_wrong_token_costs_a_second(clock: Any) -> None:
    """Who sent it waits; a batch is one guess."""
    start = trio.current_time()
    body = json.dumps([{"id": n, "method": "aria2.getVersion", "params": ["token:x"]} for n in range(3)]).encode()
    answer = await of_json(Desk(secret="s").board, Gate("s"), body)

    assert trio.current_time() - start == 1.0
    assert answer.status == 200
    assert {each["error"]["message"] for each in json.loads(answer.body)} == {"Unauthorized"}


@pytest.mark.parametrize(
    ("method", "headers", "given_settings", "served"),
    [
        ("POST", {"host": "127.0.0.1:6800"}, {}, True),
        ("POST", {"host": "localhost"}, {}, True),
        ("POST", {"host": "[::1]:6800"}, {}, True),
        ("POST", {}, {}, True),
        ("POST", {"host": "evil.example:6800"}, {}, False),
        ("POST", {"host": "127.0.0.1.evil.example"}, {}, False),
        ("POST", {"host": "[::1].evil.example"}, {}, False),
        ("POST", {"host": "[127.0.0.1]evil.example:80"}, {}, False),
        ("POST", {"host": "127.0.0.1:6800", "origin": "http://evil.example"}, {}, False),
        ("POST", {"host": "127.0.0.1:6800", "origin": "null"}, {}, False),
        ("POST", {"host": "127.0.0.1:6800", "origin": "http://["}, {}, False),
        ("POST", {"host": "127.0.0.1:6800", "origin": "http://127.0.0.1:6800"}, {}, True),
        ("POST", {"host": "127.0.0.1:6800", "sec-fetch-site": "cross-site"}, {}, False),
        ("GET", {"host": "127.0.0.1:6800"}, {}, False),
        ("GET", {"host": "127.0.0.1:6800", "upgrade": "websocket"}, {}, True),
        ("GET", {"host": "127.0.0.1:6800", "upgrade": "websocket", "origin": "http://evil.example"}, {}, False),
        ("GET", {"host": "evil.example", "origin": "null"}, {"secret": "s"}, True),
        ("GET", {"host": "evil.example", "origin": "null"}, {"allow_origin_all": True}, True),
    ],
)
def test_pages_of_others_control_nothing(
    method: str, headers: dict[str, str], given_settings: dict[str, Any], served: bool
) -> None:
    """Without a secret, whatever a browser sends for a page from elsewhere is refused."""
    assert (refusal(RpcSettings(**given_settings), method, headers) is None) is served


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, "active", ["onDownloadStart"]),
        ("waiting", "active", ["onDownloadStart"]),
        (None, "complete", []),
        ("active", "paused", ["onDownloadPause"]),
        ("active", "waiting", []),
        ("active", "complete", ["onDownloadComplete"]),
        ("active", "error", ["onDownloadError"]),
        ("paused", "removed", ["onDownloadStop"]),
        ("complete", "removed", []),
    ],
)
def test_notices(before: str | None, after: str, told: list[str]) -> None:
    """What became of a file has aria2's name; a torrent's end has two."""
    assert list(events(before, after, torrent=False)) == told
    if told == ["onDownloadComplete"]:
        assert events(before, after, torrent=True) == ("onBtDownloadComplete", "onDownloadComplete")


async def test_removing_is_told_once(source: Path) -> None:
    """Between the answer and the tree without the file, nothing of it begins anew."""
    desk = Desk(source)
    gid = await call(desk, "addMetalink", metalink("a.bin"))
    desk.show()
    await desk.board.refresh()
    desk.engine.becomes(desk.outline("a.bin"), "active")
    await desk.board.refresh()
    desk.board.changes()
    await call(desk, "remove", *gid)
    for _ in range(3):
        await desk.board.refresh()
        desk.show()

    assert [(change.gid, change.after) for change in desk.board.changes()] == [(gid[0], "removed")]


async def test_two_who_ask_at_once_are_told_of_a_change_once(desk: Desk) -> None:
    """Each begins to look at the new tree, one of them is enough."""
    await desk.board.refresh()
    desk.show({**FOUR, "e.bin.meta4": metalink("e.bin", number=9)})
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(desk.board.refresh)

    assert len(desk.board.changes()) == 1


async def test_an_address_that_leads_nowhere_is_an_error() -> None:
    """Who added it sees why; before its mirrors answered, and for a magnet link, it waits."""
    desk = Desk()
    lists = {"a.bin.uris": b"http://m.example/a.bin\n", "b.magnet": b"magnet:?xt=urn:btih:" + b"a" * 40 + b"\n"}
    desk.show(lists)
    assert {row["status"] for row in await call(desk, "tellWaiting", 0, 9)} == {"waiting"}
    desk.show(lists, failing="m.example answered 404")

    [row] = await call(desk, "tellStopped", 0, 9)
    assert (row["status"], row["errorMessage"]) == ("error", "m.example answered 404")


async def test_changes_are_told_once(desk: Desk) -> None:
    """Of what was there at first, nothing."""
    await desk.board.refresh()
    assert desk.board.changes() == []
    desk.engine.becomes(desk.outline("a.bin"), "complete", 1000)
    desk.show({**FOUR, "e.bin.meta4": metalink("e.bin", number=9)})
    await desk.board.refresh()

    assert {(change.gid, change.after) for change in desk.board.changes()} == {
        (gid_of("a.bin"), "complete"),
        (gid_of("e.bin"), "waiting"),
    }
    assert desk.board.changes() == []


async def test_what_nobody_fetches_is_looked_at_rarely(clock: Any) -> None:
    """`getGlobalStat` each second costs what is open, not what is there."""
    desk = Desk()
    desk.show({f"{n}.bin.meta4": metalink(f"{n}.bin", number=n + 1) for n in range(300)})
    desk.engine.becomes(desk.outline("7.bin"), "active")
    await call(desk, "getGlobalStat")
    desk.engine.looks = 0
    await call(desk, "getGlobalStat")
    assert desk.engine.looks <= 3
    await trio.sleep(11)
    await call(desk, "getGlobalStat")
    assert desk.engine.looks >= 300


@given(st.integers(1, 100), st.integers(1, 40), st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100))))
def test_bitfield(size: int, length: int, spans: list[tuple[int, int]]) -> None:
    """A bit is set exactly where all of a chunk is here."""
    chunks = ChunkMap(size, length)
    present = ExtentSet(Extent(min(a, b), max(a, b)).clip(size) for a, b in spans)
    bits = bin(int("1" + structs.bitfield(chunks, present), 16))[3:]

    assert [bits[n] == "1" for n in range(chunks.count)] == [
        present.covers(chunks.extent(n)) for n in range(chunks.count)
    ]
    assert set(bits[chunks.count :]) <= {"0"}


def test_every_method_is_listed() -> None:
    """36 of them, as in aria2, with multicall."""
    assert len(METHODS) + 1 == 36
