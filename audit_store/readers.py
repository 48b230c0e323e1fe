"""Who has read a pair: for a page that may say that somebody else has answered, and never what."""

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from audit_store import tables
from audit_store.database import Store

_D = tables.decision.c
_ROWS = select(_D.id, _D.reviewer, _D.answer, _D.supersedes).where(
    _D.stay_id == bindparam("stay"), _D.label_key == bindparam("label")
)


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
    with store.reading() as connection:
        rows = connection.execute(_ROWS, {"stay": stay_id, "label": label_key}).all()
    taken = {row.supersedes for row in rows if row.answer == "retract"}
    standing = {str(row.reviewer) for row in rows if row.answer != "retract" and row.id not in taken}
    return Readers(frozenset(str(row.reviewer) for row in rows), frozenset(standing))
