"""Roles in words: what each may do, for the pages that show an account."""

from audit_store.tables import ROLES

ROLE_WORDS: dict[str, str] = {
    "reviewer": "reads pairs and answers",
    "adjudicator": "reads pairs, settles where others disagree",
    "steward": "rounds, exports, people, trail; may read",
    "auditor": "looks at everything, changes nothing",
}


def role_words(role: str) -> str:
    """A role and what it may do; a role that is none of the four is told by its name."""
    words = ROLE_WORDS.get(role)
    return role if words is None else f"{role}: {words}"


__all__ = ["ROLES", "ROLE_WORDS", "role_words"]
