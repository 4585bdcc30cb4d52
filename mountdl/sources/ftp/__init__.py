"""FTP and FTPS mirrors (RFC 959, 2428, 3659, 4217): a client of our own on trio, its grammar apart from its sockets."""

from mountdl.sources.ftp.transport import FtpTransport

__all__ = ["FtpTransport"]
