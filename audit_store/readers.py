"""Who has read a pair: for a page that may say that somebody else has answered, and never what."""

from dataclasses import dataclass

from sqlalchemy import select

from audit_store import tables
from audit_store.database import Store


@dataclass(frozen=True)
class Readers:
    """People who answered a pair.

    Parameters
    ----------
    ever
        Names of all who wrote a row on it, taken back or not.
    standing
        Names of those whose answer stands.
    """

    ever: frozenset[str]
    standing: frozenset[str]

    def others(self, name: str) -> int:
        """How many people other than this one have an answer that stands."""
        return len(self.standing - {name})


def readers_of(store: Store, stay_id: int, label_key: str) -> Readers:
    """Who has answered a pair, in any round, and whose answer stands.

    An answer stands unless its reader took it back; where a reader changed it, the later row stands.
    """
    c = tables.decision.c
    query = select(c.id, c.reviewer, c.answer, c.supersedes).where(c.stay_id == stay_id, c.label_key == label_key)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    taken = {row.supersedes for row in rows if row.answer == "retract"}
    standing = {str(row.reviewer) for row in rows if row.answer != "retract" and row.id not in taken}
    return Readers(frozenset(str(row.reviewer) for row in rows), frozenset(standing))
