"""The lexicon: label terms, cues and lists of evidence names, read from `terms.toml` and compiled once."""

import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from audit_store.errors import StoreError

SHIPPED = Path(__file__).parent.parent / "terms.toml"
_KINDS = {"names": "name", "abbreviations": "abbreviation", "drugs": "drug"}
_CUES = (
    "negation",
    "pseudo_negation",
    "negation_after",
    "negation_immediate",
    "uncertain",
    "uncertain_after",
    "family",
    "pseudo_family",
    "historical",
    "historical_after",
    "stop",
    "family_heading",
    "history_heading",
)
_LETTERS_FOR_SMALL = 3
_NEVER = re.compile(r"(?!)")


class TermsError(StoreError):
    """The file of terms can't be used."""


@dataclass(frozen=True)
class LabelTerms:
    """One label's terms, compiled: pattern of each kind, and phrases that mean something else."""

    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    exceptions: re.Pattern[str]


@dataclass(frozen=True)
class NameList:
    """A list of drugs, procedures or findings by name.

    Parameters
    ----------
    title
        What the list is called on a screen.
    pattern, exceptions
        A row counts when `pattern` is found and, in its name, `exceptions` is not.
    """

    title: str
    pattern: re.Pattern[str]
    exceptions: re.Pattern[str]


@dataclass(frozen=True)
class Terms:
    """Everything `terms.toml` says, compiled."""

    labels: dict[str, LabelTerms]
    lists: dict[str, NameList]
    cues: dict[str, re.Pattern[str]]


def phrase(text: str) -> str:
    """Write a phrase as a regular expression: space and hyphen interchange, | is a path's step, a final * any end."""
    body = text.strip()
    open_end = body.endswith("*")
    pieces = [re.escape(piece) for piece in re.split(r"[\s\-]+", body.rstrip("*")) if piece]
    core = r"[\s\-]+".join(piece.replace(r"\|", r"\s*[|›]\s*") for piece in pieces)
    left = r"(?<!\w)(?<!non-)" if re.match(r"\w", body) else ""
    right = r"[\w\-]*" if open_end else (r"(?!\w)" if re.search(r"\w$", body) else "")
    return f"{left}{core}{right}"


def _compile(phrases: list[str], flags: int = re.IGNORECASE) -> re.Pattern[str]:
    if not phrases:
        return _NEVER
    longest_first = sorted(set(phrases), key=lambda p: (-len(p), p))
    return re.compile("|".join(phrase(p) for p in longest_first), flags)


def _abbreviations(words: list[str]) -> list[str]:
    small = [w.lower() for w in words if len(w) >= _LETTERS_FOR_SMALL and w.isalnum()]
    return [*words, *small]


def _strings(table: dict[str, object], key: str, where: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise TermsError(f"{where}.{key} as a list of words", type(value).__name__, "mend the file of terms")
    return [str(item) for item in value]


def _table(data: dict[str, object], key: str) -> dict[str, dict[str, object]]:
    value = data.get(key)
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise TermsError(f"tables under [{key}.…]", "something else", "mend the file of terms")
    return value


def read_terms(path: Path) -> Terms:
    """Read and compile a file of terms.

    Raises
    ------
    TermsError
        When it is missing, not TOML, or a table has not the keys it needs.
    """
    try:
        data: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise TermsError("a file of terms", "no such file", "name a file that exists") from None
    except ValueError:
        raise TermsError("a file of terms in TOML", "text that is not", "mend its syntax") from None
    cues = data.get("cues")
    if not isinstance(cues, dict) or any(name not in cues for name in _CUES):
        raise TermsError(f"[cues] with {', '.join(_CUES)}", "some missing", "mend the file of terms")
    labels = {
        key: LabelTerms(
            tuple(
                (
                    kind,
                    _compile(_abbreviations(_strings(table, field, f"labels.{key}")), 0)
                    if kind == "abbreviation"
                    else _compile(_strings(table, field, f"labels.{key}")),
                )
                for field, kind in _KINDS.items()
            ),
            _compile(_strings(table, "except", f"labels.{key}")),
        )
        for key, table in _table(data, "labels").items()
    }
    lists = {
        key: NameList(
            str(table.get("title", key)),
            _compile(_strings(table, "terms", f"lists.{key}")),
            _compile(_strings(table, "except", f"lists.{key}")),
        )
        for key, table in _table(data, "lists").items()
    }
    return Terms(labels, lists, {name: _compile(_strings(cues, name, "cues")) for name in _CUES})


@functools.cache
def _load(path: Path) -> Terms:
    return read_terms(path)


def load_terms(path: Path | None = None) -> Terms:
    """Return the compiled terms of a file, by default the one that ships; read once per process."""
    return _load(SHIPPED if path is None else path)
