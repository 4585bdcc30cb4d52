"""A disk that takes nothing any more: what is on record stays true, and what is opened meanwhile is left as it is."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mountdl.content import ContentKey
from mountdl.errors import StoreBusy, StoreError, StoreFrozen, StoreFull
from mountdl.extents import Extent
from mountdl.store import Store, Stored
from mountdl.store.journal import Journal
from mountdl.store.place import Place, store_errors
from mountdl.store.quota import Spared

KEY = ContentKey("md5-00-ff")
BLOCK = 4096
SIZE = 8 * BLOCK


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EROFS, StoreFrozen),
        (errno.EIO, StoreFrozen),
        (errno.EBADMSG, StoreFrozen),
        (errno.ENODATA, StoreFrozen),
        (errno.ESTALE, StoreFrozen),
        (errno.EACCES, StoreError),
        (errno.EMFILE, StoreError),
    ],
)
def test_what_a_disk_says_has_a_meaning(number: int, kind: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught, store_errors("can't write x"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert str(caught.value) == f"can't write x: {os.strerror(number)}"


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@contextmanager
def frozen_disk() -> Iterator[None]:
    """Have the disk take nothing, whoever runs this."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("unlink", "prepare", "replace", "make_folder"):
            patch.setattr(Place, name, refuse)
        patch.setattr(Journal, "append", refuse)
        patch.setattr("mountdl.store.datafile.open_locked", refuse)
        patch.setattr("mountdl.store.datafile.punch_hole", refuse)
        patch.setattr("mountdl.store.datafile.write_sliced", refuse)
        patch.setattr("mountdl.store.journal.write_all", refuse)
        yield


def filled(store: Store) -> Stored:
    """Return a content whose first half is verified, on record."""
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x" * (SIZE // 2))
    stored.mark_verified(Extent(0, SIZE // 2))
    stored.checkpoint()
    return stored


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "contents").rglob("*") if path.is_file()}


def test_what_is_stored_is_opened_and_left_as_it_is(tmp_path: Path) -> None:
    """Also when the disk takes something again before it is closed."""
    store = Store(tmp_path)
    filled(store).close()
    store.close()
    before = files(tmp_path)
    again = Store(tmp_path)
    with frozen_disk():
        stored = again.open(KEY, SIZE, "fp")
        assert again.frozen is not None
        assert stored.frozen
        assert stored.verified.covers(Extent(0, SIZE // 2))
        assert bytes(stored.read(Extent(5, 9))) == b"xxxx"
    stored.discard(Extent(0, BLOCK))
    with pytest.raises(StoreFrozen):
        stored.evict(Extent(BLOCK, 2 * BLOCK))
    stored.spare(lambda: Spared(awaited=(Extent(0, SIZE),)))
    stored.write(SIZE // 2, b"y" * BLOCK)
    assert bytes(stored.read(Extent(SIZE // 2, SIZE // 2 + 2))) == b"yy"
    assert not stored.dirty
    other = Store(tmp_path)
    with pytest.raises(StoreBusy):
        other.open(KEY, SIZE, "fp")
    stored.close()
    assert files(tmp_path) == before
    assert other.open(KEY, SIZE, "fp").verified.total == SIZE // 2
    other.close()
    again.close()


@pytest.mark.parametrize("size", [SIZE, SIZE + 1])
def test_what_was_never_stored_or_is_another_is_held_in_memory_alone(tmp_path: Path, size: int) -> None:
    """A content of another size has nothing to do with what is there by its key."""
    store = Store(tmp_path)
    if size != SIZE:
        filled(store).close()
    store.close()
    store, before = Store(tmp_path), files(tmp_path)
    with frozen_disk():
        stored = store.open(KEY, size, "fp")
        stored.spare(lambda: Spared(awaited=(Extent(0, BLOCK),)))
        stored.write(0, b"z" * BLOCK)
        with pytest.raises(StoreFull):
            stored.write(BLOCK, b"z" * BLOCK)  # nobody waits for it
        assert stored.written.total == BLOCK
        assert bytes(stored.read(Extent(0, 3))) == b"zzz"
        stored.close()
    store.close()
    assert files(tmp_path) == before


def test_a_discard_that_the_disk_did_not_take_holds_when_new_bytes_come(tmp_path: Path) -> None:
    """No crash brings the old claim back over bytes that came when the disk took something again."""
    store = Store(tmp_path, boot=bytes(16))
    stored = filled(store)
    with frozen_disk():
        stored.discard(Extent(0, BLOCK))
        assert not stored.written.covers(Extent(0, BLOCK))
    stored.write(0, b"?" * BLOCK)
    stored.release()  # as a kill leaves it
    again = Store(tmp_path, boot=b"\1" * 16).open(KEY, SIZE, "fp")
    assert not any(again.verified.overlap(Extent(0, BLOCK)))
    assert not any(again.written.overlap(Extent(0, BLOCK)))


def test_nothing_is_on_record_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    """As one is that was made just before the disk failed: there is nothing to be told of a discard."""
    store = Store(tmp_path)
    stored = filled(store)
    shutil.rmtree(stored.path.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", refuse)
        stored.discard(Extent(0, BLOCK))
    assert not stored.written.covers(Extent(0, BLOCK))
    store.close()


def test_what_the_disk_does_not_let_go_of_stays_in_sight(tmp_path: Path) -> None:
    """The first that a store hears of a disk that fails may be that it gives no room back."""
    store = Store(tmp_path)
    stored = filled(store)
    gone: list[Extent] = []
    stored.follow_evictions(gone.append)
    with frozen_disk():
        store.shrink(0)
        assert store.frozen is not None
        assert stored.verified.total == SIZE // 2
    assert gone == []
    store.close()


def test_nothing_goes_for_room_while_the_disk_takes_nothing(tmp_path: Path) -> None:
    """Of what is stored most would be lost to the eye before anybody repairs the disk."""
    store = Store(tmp_path)
    stored = filled(store)
    with frozen_disk():
        stored.spare(lambda: Spared(awaited=(Extent(SIZE // 2, SIZE),)))
        stored.write(SIZE // 2, b"y" * BLOCK)
        assert stored.room.free(1 << 20) == 0
        store.shrink(0)
        assert stored.verified.total == SIZE // 2
    stored.unload()
    assert store.frozen is None
    store.shrink(0)
    assert stored.verified.total == 0
    store.close()
