"""How the answers of a daemon look."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.control import client, messages, mounttable, status, text, waiting
from mountdl.control.messages import Json
from mountdl.control.registry import Entry, Registry
from mountdl.errors import ExitStatus, UsageError

MIB = 1 << 20
SOURCE: Json = {"name": "https://a/x", "state": "active", "rate": MIB, "bytes": MIB, "failures": 2, "reason": "timeout"}


def file(path: str, **changes: object) -> Json:
    made: Json = {"path": path, "size": 4 * MIB, "verified": 0, "written": 0, "state": "idle", "level": "chunk"}
    return made | {"rate": 0.0, "readers": 0, "sources": [SOURCE], "error": None} | changes


def mount(*files: Json, cautions: tuple[object, ...] = ()) -> Json:
    return {"mountpoint": "/m", "source": "/s", "pid": 7, "version": "0", "files": list(files), "cautions": [*cautions]}


def test_a_mount_shows_totals_and_the_files_that_something_happens_to() -> None:
    """Ten thousand idle files are two lines; what moves, failed or is half here comes first read first shown."""
    idle = [file(f"idle{number}") for number in range(9996)]
    busy = [
        file("half", verified=MIB, written=2 * MIB),
        file("read", readers=2, state="active", rate=MIB),
        file("bad", state="error", error="no source is left"),
        file("whole", verified=4 * MIB, written=4 * MIB, state="complete"),
    ]

    assert status.mount_lines(mount(*idle, *busy)) == [
        "/m: /s (process 7)",
        "  10000 files, 39.1 GiB, 5.0 MiB here (0%), 1.0 MiB/s",
        "   0%  4.0 MiB  1.0 MiB/s  2 readers  active  read",
        "   0%  4.0 MiB                        error   bad",
        "  25%  4.0 MiB                        idle    half",
        "  bad: no source is left",
    ]


def test_what_is_not_known_yet_is_no_error() -> None:
    """Of a magnet link whose peers are being asked `why` spoke of an error."""
    note = file("c.resolving", size=None, state="resolving", error="peers are asked", sources=[])
    assert status.file_lines(mount(note))[2] == "  waits: peers are asked"
    assert status.why_lines(note)[1] == "  waits: peers are asked"
    assert status.why_lines(note | {"state": "error"})[1] == "  error: peers are asked"


def test_what_is_paused_is_said_to_be() -> None:
    """Who paused it last week wonders why nothing comes; what is complete has nothing to come."""
    files = [file("a", paused=True), file("b", paused=True, state="complete", verified=4 * MIB)]

    assert status.mount_lines(mount(*files))[2:] == [
        "    0%  4.0 MiB      idle, paused  a",
        "  100%  4.0 MiB      complete      b",
    ]
    assert status.file_lines(mount(file("a", paused=True, readers=1)))[1] == "  state: idle, paused, 1 reader"
    assert status.why_lines(file("a", paused=True))[0] == "a: idle, paused"


def test_a_mount_of_few_files_shows_them_all() -> None:
    """Who mounts one descriptor sees its file, though nothing happens to it yet; what something happens to is first."""
    files = [
        file("a"),
        file("b", readers=1),
        file("c.resolving", size=None, state="resolving", error="peers are asked"),
    ]

    assert status.mount_lines(mount(*files))[2:] == [
        "  0%  4.0 MiB    1 reader  idle       b",
        "                           resolving  c.resolving",
        "  0%  4.0 MiB              idle       a",
        "  c.resolving: peers are asked",
    ]


def test_what_is_no_file_is_not_counted_as_one() -> None:
    """Descriptors that are refused or not yet known are told apart, and a signature is no file of theirs."""
    note = file("a.asc", size=None, state="complete")
    refused = [file(f"{name}.error", size=None, state="error", error="not XML") for name in "xy"]
    waiting = file("c.resolving", size=None, state="resolving", error="peers are asked")

    assert status.mount_lines(mount(file("a"), note))[1] == "  1 file, 4.0 MiB, 0 B here (0%)"
    assert status.mount_lines(mount(file("a"), *refused))[1] == (
        "  1 file, 4.0 MiB, 0 B here (0%); 2 descriptors refused"
    )
    assert status.mount_lines(mount(refused[0], waiting))[1] == (
        "  0 files; 1 descriptor refused, 1 descriptor not yet resolved"
    )


def test_a_long_list_is_cut_and_says_so() -> None:
    """People can't read more than a screen; programs ask for --json."""
    lines = status.mount_lines(mount(*(file(f"f{number}", readers=1) for number in range(50))))

    assert len(lines) == 2 + status.MOST_ROWS + 1
    assert lines[-1] == "  and 30 files more; --json shows all"


def test_a_file_shows_its_sources() -> None:
    """Each with its state, what it brought, and why it failed."""
    lines = status.file_lines(mount(file("a/b", verified=MIB, written=MIB, state="active")))

    assert lines == [
        "a/b",
        "  state: active",
        "  size: 4194304 bytes (4.0 MiB)",
        "  verified: 1.0 MiB (25%)",
        "  written: 1.0 MiB (25%)",
        "  digests: of every chunk: no byte is read before it is verified",
        "  sources:",
        "    https://a/x  active  1.0 MiB  1.0 MiB/s  2 failures  timeout",
    ]


def test_names_can_not_command_a_terminal() -> None:
    """Paths, reasons and warnings come from strangers."""
    evil = "\x1b[2Jx\ny"
    shown = status.mount_lines(
        mount(file(evil, readers=1, error=evil), cautions=(evil, {"path": evil, "message": evil}))
    )
    shown += status.file_lines(mount(file(evil, sources=[SOURCE | {"name": evil, "reason": evil, "state": "x"}])))
    shown += status.why_lines(file(evil) | {"incidents": [{"at": 0, "what": evil, "source": evil, "times": 1}]})

    assert not [line for line in shown if not line.isprintable()]


def test_why_tells_incidents_in_order() -> None:
    """With the source to blame, the bytes concerned and how often."""
    told = file("a") | {
        "incidents": [{"at": 0, "source": "m", "what": "sent wrong bytes", "extent": [0, 9], "times": 3}]
    }

    assert status.why_lines(told)[-1].endswith(" m: sent wrong bytes (bytes 0-9), 3 times")


def test_an_odd_answer_is_shown_as_far_as_it_goes() -> None:
    """A daemon of another version may say less, or other things."""
    odd: Json = {"files": [{}, 3, {"size": "x", "sources": 5}], "cautions": None}

    assert status.mount_lines(odd)
    assert status.file_lines(odd)
    assert status.why_lines({})


@pytest.mark.parametrize(
    ("part", "total", "shown"), [(0, 0, "100%"), (0, 9, "0%"), (999, 1000, "99%"), (9, 9, "100%"), (1, None, "?")]
)
def test_only_what_is_whole_is_100_percent(part: int, total: int | None, shown: str) -> None:
    """Rounding up would call a file complete that is not."""
    assert shown == text.percent(part, total)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
def test_an_answer_in_sections_is_the_answer(result: dict[str, object]) -> None:
    """A line, as if it had been written at once."""
    for message in ({"result": result}, {"error": "no", "exit_status": 3}, {"result": None}):
        assert "".join(messages.sections(message)).encode() == messages.encoded(message)


def test_no_section_of_an_answer_tells_of_two_files() -> None:
    """The mount goes on between them."""
    found = list(messages.sections({"result": {"files": [{"path": "a" * 90}, {"path": "b" * 90}], "cautions": []}}))

    assert max(map(len, found)) < 110


def test_errors_travel_with_their_exit_status() -> None:
    """A command ends with the status that the daemon's error has."""
    answer = messages.decoded(messages.encoded(messages.failure(UsageError("too late", ExitStatus.TIMEOUT))))
    with pytest.raises(UsageError, match="too late") as caught:
        messages.result(answer)
    assert ExitStatus.TIMEOUT is caught.value.exit_status

    with pytest.raises(UsageError) as caught:
        messages.result({"error": "x", "exit_status": 77})
    assert ExitStatus.UNKNOWN is caught.value.exit_status


def test_json_has_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--json leaves out nothing."""
    document = mount(file("a"), file("b"))
    monkeypatch.setattr(client, "ask", lambda *_: document)
    monkeypatch.setattr(mounttable, "orphans", lambda _: [])  # the machine's mounts are no concern of this test
    with Registry(tmp_path).entered(Path("/m"), "/s"):
        status.run(None, Registry(tmp_path), as_json=True, watch=False)

    assert {"mounts": [document]} == json.loads(capsys.readouterr().out)


def test_a_daemon_that_does_not_listen_is_named(tmp_path: Path) -> None:
    """It may just be starting or ending."""
    entry = Entry("/m", "/s", 7, str(tmp_path / "nothing.sock"), 0.0)
    with pytest.raises(UsageError, match=r"the daemon of /m \(process 7\) is just starting or ending; ask again"):
        client.ask(entry, {"verb": "status"})


def test_each_mount_that_can_not_be_asked_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that just starts hides neither the mounts that answer nor those that are dead."""

    def ask(entry: Entry, *_: object) -> Json:
        if entry.mountpoint == "/starting":
            raise UsageError("it is just starting", ExitStatus.IO)
        return mount(file("a"))

    monkeypatch.setattr(client, "ask", ask)
    monkeypatch.setattr(mounttable, "orphans", lambda _: [Path("/dead"), Path("/gone")])
    registry = Registry(tmp_path)
    with registry.entered(Path("/starting"), "/s"), registry.entered(Path("/m"), "/s"):
        with pytest.raises(UsageError, match="daemon of /gone is dead: mount it again") as caught:
            status.run(None, registry, as_json=True, watch=False)
    assert ExitStatus.IO is caught.value.exit_status
    told = capsys.readouterr()
    assert {"mounts": [mount(file("a"))]} == json.loads(told.out)
    assert told.err.splitlines() == [
        "mountdl: it is just starting",
        "mountdl: the daemon of /dead is dead: mount it again, or mountdl unmount /dead",
    ]


def test_a_path_outside_any_mount_is_refused(tmp_path: Path) -> None:
    """With a sentence that names it."""
    with pytest.raises(UsageError, match="is not in a mount") as caught:
        client.locate(tmp_path, Registry(tmp_path))
    assert ExitStatus.NOT_FOUND is caught.value.exit_status


def test_a_folder_is_shown_as_a_mount_is() -> None:
    """Under its own name; of one file in it no sources, which are shown where the file is named."""
    told = mount(file("films/a"))
    assert status._lines(told, "films")[0].startswith(f"{told['mountpoint']}/films: ")
    assert status._lines(told, "films") != status._lines(told, "films/a")
    assert status._lines(told, "films/a") == status.file_lines(told)
    assert status._lines(told, None) == status.mount_lines(told)


def test_warnings_without_end_are_counted() -> None:
    """Thousands of them would push all else out of sight."""
    lines = status.mount_lines(mount(cautions=tuple({"message": f"odd {number}"} for number in range(30))))

    assert lines[2] == "  warning: odd 0"
    assert lines[-1] == "  and 10 warnings more; --json shows all"
    assert len(lines) == 2 + 20 + 1


def test_a_note_shows_no_bytes() -> None:
    """Of what is not known yet, or refused, nothing can be said but why."""
    note = file("x.meta4.error", size=None, state="error", error="no metalink", level="none", sources=[])
    assert status.file_lines(mount(note)) == ["x.meta4.error", "  state: error", "  error: no metalink"]
    assert status.mount_lines(mount(note))[2:] == ["          error  x.meta4.error", "  x.meta4.error: no metalink"]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (file("a/f.iso", verified=MIB, rate=MIB), " 25%  1.0 MiB of 4.0 MiB   1.0 MiB/s  a/f.iso"),
        (file("f", level="whole", written=3 * MIB), " 75%  3.0 MiB of 4.0 MiB        idle  f"),
        (file("f.resolving", size=None, state="resolving", error="no peer"), "resolving: no peer"),
        (file("f\x1b.resolving", size=None, state="resolving"), "resolving: f\\x1b.resolving"),
    ],
)
def test_how_far_a_file_is_fits_a_line(told: Json, line: str) -> None:
    """Whoever waits for gigabytes wants to see that they come."""
    assert waiting.progress(status.FileLine.of(told)) == line
