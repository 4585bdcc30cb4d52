"""A proxy that makes a loopback server distant: `distance.py PORT TARGET_PORT RTT RATE [stalls]`.

RTT in seconds, RATE in bytes a second of all connections together, 0 for no limit. A new connection costs one
round trip before its first byte passes, as TCP's does. With `stalls` no byte of an answer ever comes.
"""

import sys
import time
from collections import deque

import trio

_STEP = 64 << 10


class Link:
    """The one way that all answers share."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    def passed(self, length: int, now: float) -> float:
        """Return when the last of *length* bytes handed over at *now* is through."""
        if not self._rate:
            return now
        self._free_at = max(now, self._free_at) + length / self._rate
        return self._free_at


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, delay: float, link: Link, opened: float) -> None:
    waiting: deque[tuple[float, bytes]] = deque()
    room, filled = trio.Semaphore(64), trio.Semaphore(0)

    async def deliver() -> None:
        while True:
            await filled.acquire()
            due, data = waiting.popleft()
            await trio.sleep_until(due)
            if not data:
                await sink.aclose()
                return
            await sink.send_all(data)
            room.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver)
        while True:
            await room.acquire()
            data = await source.receive_some(_STEP)
            now = max(trio.current_time(), opened)
            waiting.append((link.passed(len(data), now) + delay, data))
            filled.release()
            if not data:
                return


async def main(port: int, target: int, rtt: float, rate: float, *, stalls: bool) -> None:
    down, up = Link(rate), Link(0)

    async def serve(client: trio.SocketStream) -> None:
        opened = trio.current_time() + rtt
        try:
            server = await trio.open_tcp_stream("127.0.0.1", target)
            async with server, trio.open_nursery() as nursery:
                nursery.start_soon(_pump, client, server, rtt / 2, up, opened)
                if stalls:
                    await trio.sleep_forever()
                await _pump(server, client, rtt / 2, down, opened)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass

    await trio.serve_tcp(serve, port, host="127.0.0.1")


if __name__ == "__main__":
    _, port, target, rtt, rate, *more = sys.argv
    try:
        trio.run(lambda: main(int(port), int(target), float(rtt), float(rate), stalls="stalls" in more))
    except KeyboardInterrupt:
        time.sleep(0)
