"""SFTP mirrors. The only home of asyncssh and asyncio."""

from mountdl.sources.sftp.transport import SftpTransport

__all__ = ["SftpTransport"]
