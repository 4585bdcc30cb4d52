"""How long a torrent is given back: by ratio and by time. Pure but for the clock that callers pass in."""

from mountdl.settings import SwarmSettings


class Giving:
    """What the user grants the peers of one torrent."""

    def __init__(self, settings: SwarmSettings) -> None:
        self._ratio, self._longest = settings.seed_ratio, settings.seed_time
        self._since: float | None = None

    @property
    def at_all(self) -> bool:
        """Whether the user lets peers have anything but what they give for it."""
        return self._longest != 0

    def goes_on(self, held: int, uploaded: int, now: float) -> bool:
        """Say whether to give still, *uploaded* bytes being given of a torrent of which *held* are here."""
        if not self.at_all or not held:
            return False
        if self._since is None:
            self._since = now
        if self._longest is not None and now - self._since >= self._longest:
            return False
        return not self._ratio or uploaded < self._ratio * held
