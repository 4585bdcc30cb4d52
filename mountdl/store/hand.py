"""A process that hashes chunks and writes those that are good; `Crew` starts it and tells it what to do.

Law: it knows nothing of mountdl, and its text is run by itself, so that it is at work after 15 ms; each order says all
that it needs. It does what nearly always goes well, a whole write, and leaves all else to who gave the order. It goes
when there is nobody any more to give one.
Arguments: MEMORY SIZE PARENT LIBRARIES: a descriptor of shared memory, its bytes, the process that gives orders by
standard input (a socket, unix(7), SOCK_SEQPACKET), and where the package isal is, if anywhere.
"""

import _socket  # the module socket takes 8 ms more
import hashlib
import mmap
import os
import struct
import sys
import time

ORDER = struct.Struct("=QQQIIIIIIB15s")
"""Number; where the bytes are in the memory and belong in the file; their length; that of what each digest is of; those
from where to where sums are wanted of, a leaf each; a leaf's length; how much to write at once; whether somebody waits;
the name of the hash. Behind it the digests. With it comes a descriptor of the file (SCM_RIGHTS)."""
FOUND = struct.Struct("=QBd")
"""Number, one of the following, and the seconds that the write took. Behind it sums, four bytes each."""
BAD, GOOD, WRITTEN, UNWRITTEN = range(4)
"""The bytes are wrong; right, and about to be written; right and written; right, but could not be written."""
LONGEST = 64 << 10
"""Bytes of an order or a finding."""
COURTESY = 0.0005
"""Seconds for which it leaves its processor to who gave the order, who has a reader to answer."""


def main(memory: int, size: int, parent: int) -> None:
    """Carry out orders until there are none any more."""
    call_itself("mountdl-hand")
    orders = _socket.socket(fileno=0)
    shared = memoryview(mmap.mmap(memory, size))
    while True:
        order, control, _, _ = orders.recvmsg(LONGEST, _socket.CMSG_SPACE(4))
        if not order or os.getppid() != parent:
            return
        fd = int.from_bytes(control[0][2][:4], sys.byteorder)
        try:
            carry_out(order, fd, shared, orders)
        finally:
            os.close(fd)


def call_itself(name: str) -> None:
    """Be *name* in lists of processes, where there is a /proc to say so."""
    try:
        fd = os.open("/proc/self/comm", os.O_WRONLY)
    except OSError:
        return
    os.write(fd, name.encode())
    os.close(fd)


def carry_out(order: bytes, fd: int, shared: memoryview, orders: _socket.socket) -> None:
    """Do what *order* says with bytes of *shared* and the file *fd*, and tell *orders* what was found."""
    number, at, offset, length, step, begin, end, leaf, most, awaited, name = ORDER.unpack_from(order)
    data = shared[at : at + length]
    if not matches(data, step, name.rstrip(b"\0").decode(), order[ORDER.size :]):
        orders.send(FOUND.pack(number, BAD, 0.0))
        return
    if awaited:
        orders.send(FOUND.pack(number, GOOD, 0.0))
        time.sleep(COURTESY)
    begun = time.monotonic()
    written = put(fd, data, offset, most)
    seconds = time.monotonic() - begun
    if not written:
        orders.send(FOUND.pack(number, UNWRITTEN, seconds))
        return
    sums = [crc32(data[start : min(start + leaf, end)]) for start in range(begin, end, leaf)]
    orders.send(FOUND.pack(number, WRITTEN, seconds) + struct.pack(f"={len(sums)}I", *sums))


def put(fd: int, data: memoryview, offset: int, most: int) -> bool:
    """Write *data* at *offset*, at *most* so many bytes at once, and say whether all of it was taken."""
    try:
        starts = range(0, len(data), most)
        return sum(os.pwrite(fd, data[start : start + most], offset + start) for start in starts) == len(data)
    except OSError:
        return False


def matches(data: memoryview, step: int, name: str, expected: bytes) -> bool:
    """Say whether the digests of *data*, one for each *step* bytes, are the *expected* ones."""
    parts = (data[start : start + step] for start in range(0, len(data), step))
    return b"".join(hashlib.new(name, part, usedforsecurity=False).digest() for part in parts) == expected


if __name__ == "__main__":
    sys.path.append(sys.argv[4])
try:
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32

if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
