"""The acts of the demo, one function each: what is done, and what is said of it from what was measured.

Law: every claim is checked when it is made. What turns out otherwise is said too, and `Story.failed` remembers.
"""

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mountdl.control.text import counted, size, table
from mountdl.demo import disc, tools
from mountdl.demo.mirrors import DYING, LYING, Mirrors
from mountdl.demo.mounted import Mount
from mountdl.demo.narrator import Narrator
from mountdl.demo.samples import PIECE_LENGTH, Sample, metalink, torrent

_STEP = 1 << 20
_FIRST_READ = 64 << 10
_LIFE_LEFT = 2 << 20
"""Bytes that the dying mirror still sends once the whole film is read: it is asked for more than that."""


@dataclass(eq=False)
class Story:
    """Who talks, what is mounted, which mirrors serve which samples."""

    narrator: Narrator
    mirrors: Mirrors
    mount: Mount
    film: Sample
    disc: Sample
    failed: list[str] = field(default_factory=list)

    @property
    def samples(self) -> Sequence[Sample]:
        """The film and the disc."""
        return self.film, self.disc

    def check(self, held: bool, good: str, bad: str) -> None:
        """Say *good* if what it claims *held*, else say and remember *bad*."""
        if held:
            self.narrator.good(good)
        else:
            self.narrator.bad(bad)
            self.failed.append(bad)


def tell(story: Story) -> None:
    """Tell it all. Raises MountdlError when the mount fails."""
    _introduce(story)
    _mount(story, "Mount the folder that they are in")
    story.narrator.say("(Background downloads are off, so that you see what each read costs.)")
    _show_folder(story)
    _start_film(story)
    _look_into_disc(story)
    _read_whole_film(story)
    _name_the_guilty(story)
    _read_without_mirrors(story)


def _introduce(story: Story) -> None:
    say = story.narrator.say
    story.narrator.act("Files, mirrors, a metalink, a torrent")
    film, disc = ([mirror.url(sample.name) for mirror in story.mirrors.all] for sample in story.samples)
    story.mount.source.joinpath(f"{story.film.name}.meta4").write_text(metalink(story.film, film))
    story.mount.source.joinpath(f"{story.disc.name}.torrent").write_bytes(torrent(story.disc, disc))
    say(f"{story.film.name}: a film of {size(len(story.film.data))} with its index at the end.")
    say(f"{story.disc.name}: a disc image of {size(len(story.disc.data))}.")
    say("Four mirrors on this machine have both; no network is needed:")
    rows = [[mirror.name, f"127.0.0.1:{mirror.port}", mirror.manners.what] for mirror in story.mirrors.all]
    for line in table(rows):
        say(f"  {line}")
    say(f"A metalink of the film names them all and a SHA-256 digest of every {size(PIECE_LENGTH)},")
    say("a torrent of the disc the same, as web seeds and SHA-1.")


def _mount(story: Story, title: str) -> None:
    story.narrator.act(title)
    story.narrator.say(f"mountdl mount {story.mount.source} {story.mount.mountpoint}")
    start = time.monotonic()
    story.mount.launch()
    story.mount.await_ready()
    story.narrator.say(f"Reads work after {_milliseconds(start)}.")


def _show_folder(story: Story) -> None:
    rows = []
    for entry in sorted(os.scandir(story.mount.mountpoint), key=lambda entry: entry.name):
        told = entry.stat()
        rows.append(
            [stat.filemode(told.st_mode), str(told.st_size), entry.name, f"{size(told.st_blocks * 512)} on disk"]
        )
    for line in table(rows, frozenset({1})):
        story.narrator.say(line)
    story.check(
        story.mirrors.sent == 0 and all(row[3].startswith("0 B ") for row in rows),
        "The files are there with their sizes; not a byte was fetched yet.",
        f"{size(story.mirrors.sent)} were fetched though nothing was read.",
    )


def _start_film(story: Story) -> None:
    film = story.film
    story.narrator.act("Open the film before it is here")
    _timed_read(story, film, "The first", 0)
    _timed_read(story, film, "The last", len(film.data) - _FIRST_READ)
    fetched = _fetched(story)
    with _understood(story, film):
        story.narrator.say(tools.describe_film(story.mount.mountpoint / film.name, _reading(story, film)))
    story.narrator.say(f"That took {fetched()}. On disk are {_on_disk(story, film)}.")


def _timed_read(story: Story, sample: Sample, which: str, offset: int) -> None:
    fetched, start = _fetched(story), time.monotonic()
    data = story.mount.read(sample.name, offset, _FIRST_READ)
    took = _milliseconds(start)
    story.check(
        data == sample.data[offset : offset + _FIRST_READ],
        f"{which} {size(_FIRST_READ)}: right, after {took}; {fetched()} for it.",
        f"{which} {size(_FIRST_READ)} are WRONG.",
    )


def _look_into_disc(story: Story) -> None:
    sample = story.disc
    story.narrator.act("Look into the disc image")
    fetched, start = _fetched(story), time.monotonic()
    with _understood(story, sample):
        described = tools.describe_disc(story.mount.mountpoint / sample.name, _reading(story, sample))
        story.narrator.say(f"{described} That took {_milliseconds(start)} and {fetched()}.")
        _take_from_disc(story, sample)
    story.narrator.say(f"On disk are {_on_disk(story, sample)}; what lies ahead of the last read may still come.")


def _take_from_disc(story: Story, sample: Sample) -> None:
    listed = disc.listing(_reading(story, sample))
    chosen = listed[len(listed) // 2]
    fetched, start = _fetched(story), time.monotonic()
    data = _reading(story, sample)(chosen.offset, chosen.size)
    story.check(
        data == sample.data[chosen.offset : chosen.offset + chosen.size],
        f"{chosen.path} from its middle: all {chosen.size} bytes right, after {_milliseconds(start)}; {fetched()}.",
        f"{chosen.path} from its middle is WRONG.",
    )


@contextmanager
def _understood(story: Story, sample: Sample) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        story.check(held=False, good="", bad=f"{sample.name} can't be understood: {error}.")


def _read_whole_film(story: Story) -> None:
    story.narrator.act("Read the whole film while one mirror lies and one dies")
    story.mirrors.doom(_LIFE_LEFT)
    fetched, start = _fetched(story), time.monotonic()
    _compare(story, story.film)
    story.narrator.say(f"It took {time.monotonic() - start:.1f} s and {fetched()}.")


def _compare(story: Story, sample: Sample) -> None:
    size_there = (story.mount.mountpoint / sample.name).stat().st_size
    wrong = 0 if size_there == len(sample.data) else abs(size_there - len(sample.data))
    view = memoryview(sample.data)
    with story.narrator.progress(len(view)) as progress:
        for offset in range(0, len(view), _STEP):
            expected = view[offset : offset + _STEP]
            actual = story.mount.read(sample.name, offset, len(expected))
            wrong += 0 if actual == expected else len(expected)
            progress.at(offset + len(expected))
    story.check(
        not wrong,
        f"Compared with the original: all {len(view)} bytes are equal.",
        f"Compared with the original: {wrong} of {len(view)} bytes are in chunks that DIFFER.",
    )


def _name_the_guilty(story: Story) -> None:
    story.narrator.act("Who did what, as the film's attribute user.mountdl.sources tells")
    told = dict(_told(line) for line in story.mount.attribute(story.film.name, "sources").splitlines())
    rows = []
    for mirror in story.mirrors.all:
        verdict = told.get(mirror.url(story.film.name), "not asked")
        rows.append([mirror.name, f"{size(mirror.sent)} sent", verdict])
    for line in table(rows):
        story.narrator.say(line)
    # Neither need happen on a machine that is busy enough: others may be faster with what these were asked for.
    if "wrong bytes" in told.get(story.mirrors.named(LYING.name).url(story.film.name), ""):
        story.narrator.good("The lying mirror was caught by the digests; no byte of its lies was read.")
    else:
        story.narrator.say("The lying mirror was not caught: others were faster with the chunks it lies about.")
    if story.mirrors.named(DYING.name).dead:
        story.narrator.good("The dying mirror broke off in the middle; the others took over.")
    else:
        story.narrator.say("The dying mirror lives: it was asked for too little.")
    for sample in story.samples:
        story.narrator.say(f"{sample.name}: on disk are {_on_disk(story, sample)}.")


def _told(line: str) -> tuple[str, str]:
    """Read a line of user.mountdl.sources: name, state, reason."""
    name, state, reason = [*line.split("\t"), "", ""][:3]
    return name, f"{state}: {reason}" if reason else state


def _read_without_mirrors(story: Story) -> None:
    story.mount.stop()
    story.mirrors.switch(on=False)
    _mount(story, "Mount again with all mirrors switched off")
    fetched, start = _fetched(story), time.monotonic()
    _compare(story, story.film)
    story.narrator.say(f"It took {_milliseconds(start)} and {fetched()}: what is stored needs no mirror.")


def keep(story: Story) -> None:
    """Leave the mount to the user, with the mirrors that live on again, until Enter is pressed."""
    story.mirrors.switch(on=True)
    narrator, place = story.narrator, story.mount.mountpoint
    narrator.act("Yours to try")
    narrator.say(f"The mirrors are on again and {place} stays mounted. In another terminal, try:")
    for command in (f"ls -ls {place}", f"mpv {place / story.film.name}", f"mountdl status {place}"):
        narrator.say(f"  {command}")
    narrator.say("Press Enter to end.")
    sys.stdin.readline()


def _reading(story: Story, sample: Sample) -> Callable[[int, int], bytes]:
    return lambda offset, length: story.mount.read(sample.name, offset, length)


def _fetched(story: Story) -> Callable[[], str]:
    """Return what tells how much the mirrors have sent since now."""
    before = story.mirrors.sent

    def told() -> str:
        sent = story.mirrors.sent - before
        return f"{size(sent)} from mirrors" if sent else "nothing from mirrors"

    return told


def _on_disk(story: Story, sample: Sample) -> str:
    verified = int(story.mount.attribute(sample.name, "verified"))
    chunks = counted(-(-verified // PIECE_LENGTH), "verified chunk")
    return f"{size(story.mount.on_disk(sample.name))} of {size(len(sample.data))}, {chunks}"


def _milliseconds(start: float) -> str:
    return f"{1000 * (time.monotonic() - start):.0f} ms"
