"""How much of a descriptor is read: what no honest document reaches and no dishonest one may pass.

Every number has an error kind or a caution code that tells when it was met.
"""

MAX_DOCUMENT = 128 << 20
"""Bytes of a descriptor, wherever it comes from; more is refused as "too-large". A million piece hashes are 54 MB."""

MAX_DEPTH = 200
"""Open elements; more is refused as "too-deep". Real documents have 6."""

MAX_ELEMENTS = 8_000_000
"""Elements of a metalink; more is refused as "limits". Each takes about a microsecond."""

MAX_ATTRIBUTES = 100_000
"""Equals signs between two "<" of a metalink, hence attributes of an element; more is refused as "limits"."""

MAX_FILES = 100_000
"""Files of a document; more is refused as "limits"."""

MAX_URLS_KEPT = 1000
"""URLs kept of a file, the best ones; the others are told as "too-many-urls"."""

MAX_URLS_READ = 200_000
"""URLs of a file that are looked at at all, so that memory stays bounded; the others are only counted."""

MAX_URLS_DOCUMENT = 500_000
"""URLs kept of a document; a metalink with more is refused as "limits"."""

MAX_REPEATS = 1000
"""Elements of one other name in a parent; the others are dropped as "too-many-elements"."""

MAX_PIECES = 4_000_000
"""Piece hashes of a set; a set with more is dropped as "too-many-pieces"."""

MAX_URL = 8 << 10
"""Characters of a URL; a longer one is dropped as "too-long"."""

MAX_TEXT = 1 << 20
"""Characters of any other text that is kept; a longer one is dropped as "too-long"."""

MAX_CAUTIONS = 1000
"""Cautions kept of a document; the others are counted by one "more-warnings"."""

LARGE_PIECE = 64 << 20
"""Bytes of a piece from which on each small read is slow enough to say so ("large-pieces")."""

LARGE_ONLY_PIECE = 16 << 20
"""The same where one piece is the whole file."""

MAX_LIST = 16 << 20
"""Bytes of a file of magnets or of addresses; more is refused as "too-large"."""

MAX_LINKS = 10_000
"""Links of a file; the others are left out as "too-many-links"."""

MAX_LINK_WORK = 64 << 20
"""Characters of links, each counted once for each group, that are looked at; the rest is "too-many-links"."""

MAX_PARAMETERS = 5000
"""Parameters of a link; the others are left out as "too-many-parameters"."""

MAX_GROUPS = 100
"""Numbered groups of a link ("xt.1", "xt.2"); the others are left out as "too-many-links"."""

MAX_TRACKERS = 200
"""Trackers of a magnet or torrent; the others are left out as "too-many-urls"."""

MAX_PEERS = 200
"""Peers of a magnet; the others are left out as "too-many-peers"."""

MAX_ESCAPED = 10_000
"""Bytes of a list that are no UTF-8 and kept as percent escapes; where there are more, all are replaced."""

MAX_SELECTED = 100_000
"""The highest index that a magnet may select, exclusive; a higher one is passed over."""

MAX_GROUPS_LISTED = 100_000
"""Files of a list of addresses; the others are left out as "too-many-links"."""

MAX_EXPANDED = 10_000
"""URLs that the patterns of one line may stand for; a line with more is dropped as "too-many-urls"."""

MAX_EXPANDED_TEXT = 16 << 20
"""Characters that the patterns of a list may stand for; a line beyond that is dropped as "too-many-urls"."""

MAX_OPTIONS = 200
"""Options of a file in a list; the others are left out as "too-many-options"."""

MAX_LINES = 300_000
"""Lines of a list of addresses; the others are left out as "too-many-links"."""

MAX_HEAD = 1 << 20
"""Bytes of the head of an answer; more is refused as "too-large"."""

MAX_TORRENT = 64 << 20
"""Bytes of a torrent; more is refused as "too-large"."""

MAX_BENCODE_DEPTH = 100
"""Open lists and dictionaries of a torrent; more is refused as "too-deep"."""

MAX_BENCODE_VALUES = 2_000_000
"""Values of a torrent; more is refused as "limits"."""

MAX_SHARED_PIECE = 16 << 20
"""Bytes of a piece whose sharers are looked at; a longer one is not worth fetching for the end of a file."""

MAX_NEIGHBOURS = 16
"""Files that share a piece with another, on one side; where there are more, it is not judged."""

MAX_NEIGHBOURS_TORRENT = 50_000
"""The same for all files of a torrent together, so that memory stays bounded."""
