"""Choose among what a descriptor offers, by what the user prefers. Pure.

Law: what says nothing about a trait fits every preference for it, so that a mount never hides a file for
what its descriptor left out. Languages are compared by prefix (RFC 4647 section 3.3.1), all else whole,
letters without case; the version exactly.
"""

import operator
from dataclasses import replace

from mountdl.descriptors import names
from mountdl.descriptors.cautions import quoted
from mountdl.descriptors.model import Caution, Descriptor, Entry, MirrorRef
from mountdl.descriptors.urls import scheme_of
from mountdl.settings import PreferenceSettings

# "uk" is what people write for Great Britain; ISO 3166-1 has "gb".
_SAME_COUNTRY = {"uk": "gb"}


def prefer(descriptor: Descriptor, settings: PreferenceSettings) -> Descriptor:
    """Return *descriptor* without the entries that *settings* rule out, mirrors in the preferred order.

    Where a preferred location or protocol is met, priorities are numbered anew so that they say that
    order too: any match goes before every priority of the document, both before one.
    """
    kept = []
    cautions = list(descriptor.cautions)
    for entry in descriptor.entries:
        trait = _ruled_out(entry, settings)
        odd = names.strict_fault(str(entry.path)) if settings.strict_names else None
        if odd is not None:
            cautions.append(Caution("unsafe-name", f"the name {quoted(str(entry.path))} {odd}", str(entry.path)))
        elif trait is None:
            kept.append(_ordered(entry, settings))
        else:
            cautions.append(Caution("not-preferred", f"its {trait} is not the preferred one", str(entry.path)))
    if len(cautions) == len(descriptor.cautions) and all(map(operator.is_, kept, descriptor.entries)):
        return descriptor
    return replace(descriptor, entries=tuple(kept), cautions=tuple(cautions))


def _ruled_out(entry: Entry, settings: PreferenceSettings) -> str | None:
    if settings.version and entry.version and entry.version != settings.version:
        return "version"
    if settings.languages and entry.languages and not _speaks(entry, settings.languages):
        return "language"
    systems = {name.strip().lower() for name in settings.os}
    if systems and entry.os and systems.isdisjoint(name.lower() for name in entry.os):
        return "operating system"
    return None


def _speaks(entry: Entry, wanted: tuple[str, ...]) -> bool:
    ranges = [each.strip().lower() for each in wanted]
    tags = [each.lower() for each in entry.languages]
    return any(each in {tag, "*"} or tag.startswith(f"{each}-") for tag in tags for each in ranges)


def _country(code: str) -> str:
    code = code.strip().lower()
    return _SAME_COUNTRY.get(code, code)


def _ordered(entry: Entry, settings: PreferenceSettings) -> Entry:
    if not settings.locations and not settings.protocol:
        return entry
    locations = {_country(code) for code in settings.locations}
    protocol = settings.protocol.strip().lower() if settings.protocol else None

    def key(mirror: MirrorRef) -> tuple[int, int]:
        near = mirror.location is not None and _country(mirror.location) in locations
        return -int(near) - int(protocol is not None and scheme_of(mirror.url) == protocol), mirror.priority

    if not any(key(mirror)[0] for mirror in entry.mirrors):
        return entry
    keys = {key(mirror) for mirror in entry.mirrors} | {(0, swarm.priority) for swarm in entry.swarms}
    rank = {each: place for place, each in enumerate(sorted(keys), 1)}
    mirrors = sorted(entry.mirrors, key=key)
    return replace(
        entry,
        mirrors=tuple(replace(mirror, priority=rank[key(mirror)]) for mirror in mirrors),
        swarms=tuple(replace(swarm, priority=rank[0, swarm.priority]) for swarm in entry.swarms),
    )
