"""Detached signatures: mountdl shows them beside their files, gpg and openssl judge them. Pure."""

from mountdl.descriptors import names
from mountdl.descriptors.model import Signature
from mountdl.descriptors.values import stripped

PGP = "application/pgp-signature"

_ARMOUR = "-----BEGIN PGP SIGNATURE-----"
_SUFFIXES = {"application/pkcs7-signature": ".p7s", "application/pkcs7-mime": ".p7m"}


def signature(mediatype: str, text: str | None, path: str, hint: str | None = None) -> Signature | None:
    """Return the signature of the file at *path*, or None when it is empty.

    *hint* is a file name that the document suggests for it; it is taken only where it is safe as one.
    """
    body = stripped(text)
    if not body:
        return None
    body = body.replace("\r\n", "\n").replace("\r", "\n") + "\n"
    name = path.rpartition("/")[2]
    if hint and hint != name and names.safe_component(hint):
        return Signature(mediatype, body, hint)
    suffix = _SUFFIXES.get(mediatype) or (".asc" if body.startswith(_ARMOUR) else ".sig")
    return Signature(mediatype, body, name + suffix)
