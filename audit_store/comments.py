"""Comments, kept apart from the chain: only a salted digest enters it, so that a comment can be redacted."""

import secrets

from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.fileio import blake
from audit_store.ledger import append
from audit_store.people import Person, require_now

LONGEST_COMMENT = 4_000


def checked(text: str | None) -> str | None:
    """Strip a comment; None where nothing is left.

    Raises
    ------
    DecisionError
        When it is too long or holds characters that can't be stored.
    """
    text = (text or "").strip()
    if not text:
        return None
    if len(text) > LONGEST_COMMENT:
        raise DecisionError(f"a comment of {LONGEST_COMMENT} characters or fewer", f"{len(text)}", "shorten it")
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise DecisionError("a comment in plain text", "characters that can't be stored", "type it again")
    return text


def keep(connection: Connection, text: str) -> tuple[int, str]:
    """Store a comment under the number of the event about to be appended; return its id and digest."""
    number = Store.head_at(connection)[0] + 1
    salt = secrets.token_hex(16)
    digest = comment_digest(salt, text)
    connection.execute(tables.comment.insert().values(id=number, salt=salt, text=text, digest=digest))
    return number, digest


def comment_digest(salt: str, text: str) -> str:
    """BLAKE2b-256 over salt and text, in hex."""
    return blake("comment", salt, text)


def redact(store: Store, actor: Person, comment_id: int, why: str) -> None:
    """Remove a comment's text for ever; the decision, the digest in the chain, who removed it and why stay.

    Raises
    ------
    DecisionError
        When no reason is given, or no comment of that number is there any more.
    AccessError
        When the person may not.
    """
    reason = checked(why)
    if reason is None:
        raise DecisionError("a reason", "none", "say why the comment has to go, without quoting it")
    mine = tables.comment.c.id == comment_id
    with store.writing() as connection:
        require_now(connection, actor, "redact")
        row = connection.execute(select(tables.comment).where(mine)).first()
        if row is None or row.text is None:
            raise DecisionError("a comment that is still there", "none of that number", "look it up in the trail")
        append(connection, "redact", actor.name, {"comment_id": comment_id, "why": reason})
        connection.execute(tables.comment.update().where(mine).values(text=None, salt=""))
