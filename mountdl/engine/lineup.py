"""From the references of a content to its sources, with the scores of their hosts.

It knows which transport a reference is for; what a source delivers is not its matter.
"""

from collections.abc import Mapping, Sequence

import cachetools

from mountdl.content import Content
from mountdl.descriptors.model import MirrorRef, SwarmRef
from mountdl.engine.addresses import Transports
from mountdl.engine.flight import SourceState
from mountdl.engine.scoreboard import HostScore
from mountdl.settings import EngineSettings
from mountdl.sources.base import Audience, Holdings, Joined, Swarms

MOST_HOSTS = 4096
"""Hosts whose scores are kept, those that were used last; a torrent counts as one."""


class Lineup:
    """Makes sources by *transports* and by `swarms`, once there are any."""

    def __init__(self, transports: Transports, settings: EngineSettings) -> None:
        self._transports, self._settings = transports, settings
        self.swarms: Swarms | None = None
        self._hosts: cachetools.LRUCache[str, HostScore] = cachetools.LRUCache(MOST_HOSTS)

    def states(self, content: Content, old: Sequence[SourceState]) -> list[SourceState]:
        """Return the sources of *content*, those of *old* that it still names among them; mirrors come first."""
        known = {state.ref: state for state in old}
        states = []
        for rank, ref in enumerate(content.mirrors):
            transport = self._transports.of(ref.url)
            if ref in known:
                states.append(known[ref])
            elif transport is not None:
                source = transport.source(ref, content)
                states.append(SourceState(ref, source, self._server(source.limits.host), rank, self._server))
        return states + self._swarming(content, known)

    def names(self, content: Content) -> list[str]:
        """Return how the sources of *content* are called, without keeping anything of them."""
        mirrors = ((self._transports.of(ref.url), ref) for ref in content.mirrors)
        made = [transport.source(ref, content).name for transport, ref in mirrors if transport is not None]
        swarms = () if self.swarms is None else (self.swarms.source(ref, content) for ref in content.swarms)
        return made + list(dict.fromkeys(source.name for source in swarms if source is not None))

    def _swarming(self, content: Content, known: Mapping[MirrorRef | SwarmRef, SourceState]) -> list[SourceState]:
        states: dict[str, SourceState] = {}
        for rank, ref in enumerate(content.swarms, len(content.mirrors)):
            state = known.get(ref)
            if state is None and self.swarms is not None:
                source = self.swarms.source(ref, content)
                if source is not None:
                    limits = source.limits
                    host = self._host(limits.host, max(limits.parallel, self._settings.split))
                    # What flies to a swarm shares all its peers: more flights are no more connections.
                    host.lanes.allowed = host.lanes.limit
                    state = SourceState(ref, source, host, rank)
            if state is not None and isinstance(state.source, Joined):
                state.source.beside(mirrors=bool(content.mirrors))
            if state is not None:
                states.setdefault(state.source.name, state)  # several references may lead to one torrent
        return list(states.values())

    def _server(self, name: str) -> HostScore:
        return self._host(name, self._settings.max_connection_per_server)

    def _host(self, name: str, limit: int) -> HostScore:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = HostScore(limit)
        return host


def join(states: Sequence[SourceState], holdings: Holdings, audience: Audience) -> None:
    """Have those of *states* that take part in something begin with it."""
    for state in states:
        if isinstance(state.source, Joined):
            state.source.join(holdings, audience)


def leave(states: Sequence[SourceState]) -> None:
    """Undo `join`."""
    for state in states:
        if isinstance(state.source, Joined):
            state.source.leave()
