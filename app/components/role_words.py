"""Roles in words: what each may do, for the pages that show an account."""

from audit_store.tables import ROLES

ROLE_WORDS: dict[str, str] = {
    "reviewer": "reads pairs and answers",
    "adjudicator": "reads pairs, and settles those on which other readers disagree",
    "steward": "rounds, batches, exports, people and the trail; may read pairs too",
    "auditor": "looks at everything, the trail too; changes nothing",
}


def role_words(role: str) -> str:
    """A role and what it may do; a role that is none of the four is told by its name."""
    words = ROLE_WORDS.get(role)
    return role if words is None else f"{role}: {words}"


__all__ = ["ROLES", "ROLE_WORDS", "role_words"]
