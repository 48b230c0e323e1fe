"""Whether a certificate and its key can serve: readable, of each other, in date; and for which names."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_store.errors import StoreError

_EXPIRED, _NOT_YET = 10, 9  # OpenSSL's numbers of verification errors


@dataclass(frozen=True)
class Certificate:
    """Names that a certificate is for (a leading ``*.`` for any below), and its last moment (UTC)."""

    names: tuple[str, ...]
    until: datetime


def check_files(certificate: Path, key: Path) -> Certificate:
    """Try a certificate and its key as a browser would: shake hands with oneself, trusting this certificate alone.

    Parameters
    ----------
    certificate, key
        PEM files; the chain may follow the certificate.

    Returns
    -------
    Certificate
        Its names and end.

    Raises
    ------
    StoreError
        When a file can't be read, is no PEM, the two don't match, the key needs a passphrase, or it is not in date.
    """
    for path, what in ((certificate, "certificate"), (key, "key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"a {what} that can be read at {path.name}", error.strerror or "none", f"give --tls-{_flag(what)}"
            ) from None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None)
        came = "a key of another certificate" if reason == "KEY_VALUES_MISMATCH" else "files that can't be used"
        raise StoreError("a certificate and its own key as PEM, without passphrase", came, "give the pair") from None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cafile=certificate)
    try:
        told = _shaken(server, client)
    except ssl.SSLCertVerificationError as error:
        told_by = {_EXPIRED: "one that has expired", _NOT_YET: "one that is not valid yet"}
        came = told_by.get(error.verify_code, "one that can't be used")
        raise StoreError("a certificate in date", came, "renew it") from None
    except ssl.SSLError:
        raise StoreError("a certificate for a server", "one that can't be used", "renew it") from None
    names = tuple(str(value) for kind, value in told.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))
    if not names:
        raise StoreError("a certificate that names its host (subjectAltName)", "one that names none", "renew it")
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(told["notAfter"])), UTC).replace(tzinfo=None)
    return Certificate(names, until)


def _flag(what: str) -> str:
    return "cert" if what == "certificate" else "key"


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """A handshake in memory; what the client then knows of the server's certificate."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    done = {ours: False, theirs: False}
    for _ in range(10):
        for side in (theirs, ours):
            if not done[side]:
                try:
                    side.do_handshake()
                    done[side] = True
                except ssl.SSLWantReadError:
                    continue
        if all(done.values()):
            break
    return dict(theirs.getpeercert() or {})
