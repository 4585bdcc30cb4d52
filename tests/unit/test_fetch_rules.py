"""What a fetch waits for, and what it begins meanwhile."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import PurePosixPath

from mountdl.catalog.tree import ROOT, Expected, File, Inode, Note
from mountdl.content import content_of
from mountdl.control.fetch_rules import GIVE_UP, MAGNETS, certain, patience
from mountdl.descriptors.model import Caution, Entry

SERVER = Note(Inode(2), ROOT, "a.bin.resolving", b"", 0, "resolving", "asked", Expected.SERVERS)
FETCHED = replace(SERVER, expected=Expected.BYTES)
FAILED = replace(SERVER, expected=Expected.NOTHING)
MAGNET = replace(SERVER, expected=Expected.PEERS)
FILE = File(Inode(3), ROOT, "a.bin", "a.bin", content_of(Entry(PurePosixPath("a.bin")), 5), 0)


def test_how_long_lengths_are_waited_for() -> None:
    """While a server has yet to answer, for good; who answered that there is nothing is not asked again."""
    assert patience([SERVER, FAILED, MAGNET], 0) == math.inf
    assert patience([FETCHED, FAILED], 1) == math.inf
    assert patience([FAILED], 0) == 0
    assert patience([FAILED], 1) == GIVE_UP
    assert patience([MAGNET], 0) == MAGNETS
    assert patience([FAILED, MAGNET], 0) == MAGNETS
    assert patience([FAILED, MAGNET], 1) == GIVE_UP
    assert patience([], 0) == math.inf


def test_what_is_begun_before_all_lengths_are_known() -> None:
    """What has a name that nothing else may turn out to have."""
    other = replace(FILE, inode=Inode(4), name="b.bin")
    numbered = replace(other, inode=Inode(5), name="a (2).bin", cautions=(Caution("renamed", "it is"),))
    elsewhere = replace(FILE, inode=Inode(6), parent=Inode(9))
    nodes = [FILE, SERVER, other, numbered, elsewhere]
    assert certain(nodes, [SERVER]) == [other, elsewhere]
    assert certain(nodes, [SERVER, MAGNET]) == []
    assert certain(nodes, []) == [FILE, other, elsewhere]


def test_what_a_server_named_may_have_to_give_its_name_up() -> None:
    """To one of an earlier line that is called the same; in another folder, or with a name of its own, none will."""
    called = replace(FILE, called=True)
    unnamed = replace(SERVER, name="download.resolving", unnamed=True)
    assert certain([called, unnamed], [unnamed]) == []
    assert certain([FILE, unnamed], [unnamed]) == [FILE]
    assert certain([called, SERVER], [replace(unnamed, parent=Inode(9))]) == [called]
    assert certain([called], []) == [called]
