"""Tokens for links: they name an item of the queue without showing a stay's id, and stay the same in a workspace.

A token is 16 bytes, enciphered with a Feistel network of eight rounds whose round function is BLAKE2b keyed with the
workspace's secret (Luby and Rackoff 1988): stay id (8 bytes) and a keyed digest of the label keys (8 bytes). Nothing
has to be stored or looked up to read one back, and one that was made up names no label.
"""

import base64
import binascii
import hashlib

HALF = 8
ROUNDS = 8


def seal(secret: bytes, stay_id: int, name: str) -> str:
    """Make the token of a stay and a name (label key, or group of labels): 22 URL-safe characters."""
    left, right = stay_id.to_bytes(HALF, "big", signed=True), name_digest(secret, name)
    for step in range(ROUNDS):
        left, right = right, _mix(left, _turn(secret, step, right))
    return base64.urlsafe_b64encode(left + right).rstrip(b"=").decode()


def unseal(secret: bytes, token: str) -> tuple[int, bytes] | None:
    """Read a token back: stay id and digest of the name; None where it is no token at all."""
    if len(token) != 22:
        return None
    try:
        body = base64.b64decode(token + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    left, right = body[:HALF], body[HALF:]
    for step in reversed(range(ROUNDS)):
        left, right = _mix(right, _turn(secret, step, left)), left
    return int.from_bytes(left, "big", signed=True), right


def name_digest(secret: bytes, name: str) -> bytes:
    """Digest a label key or the keys of a group, keyed with the workspace's secret, 8 bytes."""
    return hashlib.blake2b(name.encode(), digest_size=HALF, key=secret, person=b"label").digest()


def _turn(secret: bytes, step: int, half: bytes) -> bytes:
    return hashlib.blake2b(half, digest_size=HALF, key=secret, person=b"token%d" % step).digest()


def _mix(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
