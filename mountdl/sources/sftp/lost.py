"""The one failure that a mirror of SFTP reacts to itself."""

from mountdl.errors import SourceUnavailable


class Lost(SourceUnavailable):
    """The connection went away: where it had been idle, another is worth a try at once."""
