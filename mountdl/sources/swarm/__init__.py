"""Swarms: torrents and magnets as sources. The only place that imports libtorrent.

Law: libtorrent writes files of its own or reads the store's, never both (docs/decisions/0014): what it brought is
handed to the sink, and the store alone knows what is here.
"""
