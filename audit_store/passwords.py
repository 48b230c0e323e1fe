"""Passwords: which are good enough, and ones to hand over."""

import secrets

from audit_store.errors import AccessError

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1_000
_WELL_KNOWN = frozenset(
    {
        "password", "passwort", "password1", "password123", "passw0rd", "p@ssw0rd", "12345678", "123456789",
        "1234567890", "87654321", "qwertyui", "qwertyuiop", "qwerty123", "qwertz123", "1q2w3e4r", "abcd1234",
        "iloveyou", "sunshine", "princess", "football", "baseball", "superman", "letmein1", "letmein123",
        "welcome1", "welcome123", "admin123", "administrator", "changeme", "changeme123", "hospital", "hospital1",
        "doctor123", "demo-password", "miracl123", "miracl-audit",
    }
)  # fmt: skip
"""The first that anyone tries; a longer list is the site's to enforce at its identity provider."""


def check_password(name: str, password: str, *, demo: bool = False) -> None:
    """Refuse a password that is too short or the first that anyone would try.

    Parameters
    ----------
    name
        The account's name, which its password may not be or repeat.
    password
        The password.
    demo
        Whether it is the demo's account, whose password everyone is told.

    Raises
    ------
    AccessError
        With the rule that it breaks, never the password.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise AccessError(
            f"a password of {SHORTEST_PASSWORD} characters or more", f"{len(password)}", "pick a longer one"
        )
    if len(password) > LONGEST_PASSWORD:
        raise AccessError(
            f"a password of at most {LONGEST_PASSWORD} characters", f"{len(password)}", "pick a shorter one"
        )
    plain = password.casefold()
    if len(set(plain)) < 3:
        raise AccessError("a password of more than two different characters", "fewer", "pick another one")
    if not demo and (plain in _WELL_KNOWN or plain.replace(name.casefold(), "") in ("", "1", "12", "123", "1234")):
        raise AccessError("a password that nobody would try first", "a well-known one", "pick another one")


def temporary_password() -> str:
    """Make a password to hand over once: four groups of four letters and digits that aren't mistaken for each other."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))
