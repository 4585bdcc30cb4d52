"""Manifests and journals as bytes: round trips, and damage that is always noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.content import ContentKey
from mountdl.errors import StoreDamaged
from mountdl.extents import Extent, ExtentSet
from mountdl.store import journal, manifest
from mountdl.store.journal import Kind
from mountdl.store.manifest import Manifest
from mountdl.store.place import JOURNAL, Place
from mountdl.store.recovery import Claims, common, reconcile, replay, weigh

KEY = ContentKey("sha-256-00ff-64")
SIZE = 100
BOOT = bytes(range(16))
HEADER = journal.header_for(BOOT, KEY, SIZE, "fp")

extents = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: Extent(min(pair), max(pair)))
sets = st.lists(extents, max_size=6).map(ExtentSet)
records = st.lists(st.tuples(st.sampled_from(Kind), extents), max_size=8)


def of(written: ExtentSet, verified: ExtentSet) -> Manifest:
    both = written.copy()
    for extent in verified:
        both.add(extent)
    return Manifest(KEY, SIZE, "md5/4/100/ab", both, verified)


def journal_of(entries: list[journal.Record], place: Place) -> bytes:
    place.contents.mkdir(exist_ok=True)
    place.make_folder()
    place.unlink(JOURNAL)
    book = journal.Journal(place, HEADER, 0)
    for kind, extent in entries:
        book.append(kind, extent)
    book.close()
    return place.read(JOURNAL, journal.LIMIT) or b""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("journals") / "contents", KEY)


@given(sets, sets)
def test_a_manifest_comes_back_as_it_was(written: ExtentSet, verified: ExtentSet) -> None:
    """Decoding what was encoded gives the same, and the header alone the same totals."""
    one = of(written, verified)
    data = manifest.encode(one)

    assert one == manifest.decode(data)
    header = manifest.decode_header(data[: manifest.HEADER_LIMIT])
    assert (one.written.total, one.verified.total, SIZE) == (header.written, header.verified, header.size)


@given(sets, sets, st.data())
def test_a_flipped_bit_in_a_manifest_is_noticed(written: ExtentSet, verified: ExtentSet, data: st.DataObject) -> None:
    """Whatever bit changes, decoding says so and nothing else happens."""
    altered = bytearray(manifest.encode(of(written, verified)))
    bit = data.draw(st.integers(0, len(altered) * 8 - 1))
    altered[bit // 8] ^= 1 << bit % 8

    with pytest.raises(StoreDamaged):
        manifest.decode(bytes(altered))


@given(sets, sets, st.data())
def test_a_manifest_cut_short_is_noticed(written: ExtentSet, verified: ExtentSet, data: st.DataObject) -> None:
    """No beginning of a manifest but the whole of it is one."""
    whole = manifest.encode(of(written, verified))

    with pytest.raises(StoreDamaged):
        manifest.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=200))
def test_anything_else_is_no_manifest(data: bytes) -> None:
    """Foreign bytes raise StoreDamaged and nothing else."""
    with pytest.raises(StoreDamaged):
        manifest.decode(data)


@pytest.mark.parametrize(
    "text",
    [b"[]", b"5", b"{}", b'{"format":"mountdl manifest","version":2}', b"[" * 1500, b'{"format":"x","version":1}'],
)
def test_a_header_with_a_right_crc_may_still_make_no_sense(text: bytes) -> None:
    """Another version, another shape or absurd nesting is damage, not an accident."""
    line = b"%s %08x\n" % (text, manifest.zlib.crc32(text))

    with pytest.raises(StoreDamaged):
        manifest.decode(line)


@pytest.mark.parametrize(
    ("written", "verified"),
    [([(5, 3)], []), ([(0, 101)], []), ([(0, 5), (5, 9)], []), ([(4, 8), (0, 2)], []), ([(0, 4)], [(2, 6)])],
)
def test_extents_that_make_no_sense_are_noticed(
    written: list[tuple[int, int]], verified: list[tuple[int, int]]
) -> None:
    """Out of order, touching, beyond the end, verified but not written: the crc is right and it is refused all the same."""

    class Raw(list):  # type: ignore[type-arg]
        total = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            return (type("E", (), {"start": a, "stop": b})() for a, b in list.__iter__(self))

    data = manifest.encode(Manifest(KEY, SIZE, "fp", Raw(written), Raw(verified)))  # type: ignore[arg-type]

    with pytest.raises(StoreDamaged):
        manifest.decode(data)


@given(records)
def test_a_journal_comes_back_as_it_was(place: Place, entries: list[journal.Record]) -> None:
    """Every record is read back in order, and believed in the same boot."""
    data = journal_of(entries, place)
    got = journal.parse(data, HEADER, SIZE)

    assert tuple(entries) == got.records
    assert got.current
    assert not got.damaged
    assert len(data) == got.length


@given(records.filter(bool), st.data())
def test_a_flipped_bit_in_a_journal_is_noticed(
    place: Place, entries: list[journal.Record], data: st.DataObject
) -> None:
    """A journal with any bit changed is damaged, and what it still gives are records that were there."""
    altered = bytearray(journal_of(entries, place))
    bit = data.draw(st.integers(0, len(altered) * 8 - 1))
    altered[bit // 8] ^= 1 << bit % 8
    got = journal.parse(bytes(altered), HEADER, SIZE)

    assert got.damaged
    assert not got.current
    assert tuple(entries)[: len(got.records)] == got.records


@given(records.filter(bool), st.data())
def test_a_torn_last_record_is_left_out(place: Place, entries: list[journal.Record], data: st.DataObject) -> None:
    """What a kill cut short is as if it had not been begun."""
    whole = journal_of(entries, place)
    torn = whole[: len(whole) - data.draw(st.integers(1, journal.RECORD_LENGTH - 1))]
    got = journal.parse(torn, HEADER, SIZE)

    assert tuple(entries[:-1]) == got.records
    assert got.current
    assert not got.damaged


@given(records, st.integers(1, 100))
def test_zeros_at_the_end_are_what_a_power_loss_leaves(place: Place, entries: list[journal.Record], zeros: int) -> None:
    """After a reboot a tail of zeros ends a journal; in the same boot it is damage."""
    data = journal_of(entries, place) or HEADER
    reading = journal.parse(data + bytes(zeros), journal.header_for(bytes(16), KEY, SIZE, "fp"), SIZE)

    assert not reading.current
    assert not reading.damaged
    assert tuple(entries) == reading.records
    assert (zeros >= journal.RECORD_LENGTH) == journal.parse(data + bytes(zeros), HEADER, SIZE).damaged


@given(records.filter(bool), st.integers(1, journal.RECORD_LENGTH - 1))
def test_a_power_loss_may_leave_zeros_from_the_middle_of_a_record_on(
    place: Place, entries: list[journal.Record], lost: int
) -> None:
    """It was never synced; in the same boot, and where something follows, it is damage."""
    whole, other = journal_of(entries, place), journal.header_for(bytes(16), KEY, SIZE, "fp")
    torn = whole[:-lost] + bytes(lost)
    reading = journal.parse(torn, other, SIZE)

    assert not reading.damaged
    assert reading.records == tuple(entries if torn == whole else entries[:-1])
    assert torn == whole or journal.parse(torn, HEADER, SIZE).damaged
    assert torn == whole or journal.parse(torn + whole[-journal.RECORD_LENGTH :], other, SIZE).damaged


@pytest.mark.parametrize(
    "header",
    [
        journal.header_for(bytes(16), KEY, SIZE, "fp"),
        journal.header_for(BOOT, ContentKey("other"), SIZE, "fp"),
        journal.header_for(BOOT, KEY, SIZE + 1, "fp"),
        journal.header_for(BOOT, KEY, SIZE, "other"),
    ],
)
def test_a_journal_of_another_boot_or_content_is_not_current(place: Place, header: bytes) -> None:
    """It can be read; it can't be taken at its word."""
    reading = journal.parse(journal_of([(Kind.VERIFIED, Extent(0, 4))], place), header, SIZE)

    assert not reading.current
    assert not reading.damaged
    assert len(reading.records) == 1


@pytest.mark.parametrize("data", [HEADER[:10], bytes(36), bytes(5)])
def test_a_journal_that_was_never_filled_says_nothing(data: bytes) -> None:
    """A header that did not get to the disk is not damage."""
    reading = journal.parse(data, HEADER, SIZE)

    assert not reading.records
    assert not reading.damaged
    assert not reading.current


def test_no_journal_is_a_current_one() -> None:
    """There was nothing to record since the last checkpoint."""
    assert journal.parse(b"", HEADER, SIZE) == journal.Reading()


@given(records, records, st.data())
def test_forgetting_keeps_what_came_after(
    place: Place, old: list[journal.Record], new: list[journal.Record], data: st.DataObject
) -> None:
    """A checkpoint drops the records it holds and none of those appended meanwhile; appending goes on."""
    journal_of([], place)
    book = journal.Journal(place, HEADER, 0)
    for kind, extent in old:
        book.append(kind, extent)
    mark = book.length
    for kind, extent in new:
        book.append(kind, extent)
    book.forget(mark)
    last = data.draw(st.lists(st.tuples(st.sampled_from(Kind), extents), max_size=2))
    for kind, extent in last:
        book.append(kind, extent)
    book.sync()
    book.close()
    reading = journal.parse(place.read(JOURNAL, journal.LIMIT) or b"", HEADER, SIZE)

    assert tuple(new + last) == reading.records
    assert reading.current


@given(sets, sets, records, st.booleans())
def test_replay_keeps_the_laws(
    written: ExtentSet, verified: ExtentSet, entries: list[journal.Record], believed: bool
) -> None:
    """Verified is within written, doubts and discards are apart, and replaying twice is replaying once."""
    one = of(written, verified)
    claims = weigh(one, journal.Reading(tuple(entries), current=believed), one.fingerprint)

    assert claims.verified == common(claims.verified, claims.written)
    for apart in (claims.doubted, claims.discarded):
        assert not common(apart, claims.written)
    assert not common(claims.doubted, claims.discarded)
    again = Claims(claims.written.copy(), claims.verified.copy(), claims.doubted.copy(), claims.discarded.copy())
    replay(again, entries, believed=believed)
    if believed:
        assert claims == again
    # What is doubted a second time may be more, what counts may be less, never the other way round.
    assert common(again.verified, claims.verified) == again.verified


@given(sets, sets, records)
def test_another_chunk_map_or_damage_leaves_only_doubts(
    written: ExtentSet, verified: ExtentSet, entries: list[journal.Record]
) -> None:
    """Nothing counts that was verified against other digests or that a lost discard may have taken back."""
    one = of(written, verified)
    renamed = weigh(one, journal.Reading(tuple(entries), current=False), "another")
    damaged = weigh(one, journal.Reading(tuple(entries), current=False, damaged=True), one.fingerprint)

    assert not renamed.verified
    assert not renamed.written
    assert not damaged.written


def test_claims_in_holes_are_dropped_and_unclaimed_data_is_doubted() -> None:
    """A claim rounds up to whole blocks; what lies beyond those and is on disk is in doubt."""
    claims = Claims(written=ExtentSet([Extent(0, 5), Extent(50, 60)]), verified=ExtentSet([Extent(0, 5)]))
    reconcile(claims, ExtentSet([Extent(0, 24), Extent(52, 56)]), SIZE, 8)

    assert [Extent(0, 5), Extent(52, 56)] == list(claims.written)
    assert [Extent(8, 24)] == list(claims.doubted)


def test_where_holes_are_unknown_only_the_end_of_the_file_counts() -> None:
    """A file system that can't tell holes leaves the claims and adds no doubt."""
    claims = Claims(written=ExtentSet([Extent(0, 50)]), verified=ExtentSet([Extent(0, 50)]))
    reconcile(claims, None, 20, 8)

    assert [Extent(0, 20)] == list(claims.verified)
    assert not claims.doubted
