"""Swarms: torrents and magnets as sources. The only place that imports libtorrent.

Law: libtorrent writes a file of the store only while that is lent to it (docs/decisions/0019), and else files of its
own, what it brought being handed to the sink (0014); it gives to others from the store's. The store alone knows what is
here.
"""
