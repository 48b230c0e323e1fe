"""Terms in notes: found, judged (negated, family, uncertain, past), and laid out as passages."""

from audit_store.terms.find import TermSpan, find_terms, list_match, path_of
from audit_store.terms.lexicon import NameList, Terms, TermsError, load_terms, read_terms
from audit_store.terms.passages import Mark, Passage, Segment, best_passage, marks_from, passages, segments
from audit_store.terms.status import STATUSES, status_of

__all__ = [
    "STATUSES",
    "Mark",
    "NameList",
    "Passage",
    "Segment",
    "TermSpan",
    "Terms",
    "TermsError",
    "best_passage",
    "find_terms",
    "list_match",
    "load_terms",
    "marks_from",
    "passages",
    "path_of",
    "read_terms",
    "segments",
    "status_of",
]
