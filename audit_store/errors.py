"""Errors of the store.

    StoreError               anything a user can put right; the command prints it in one line and exits with 2
    ├── WorkspaceError       the workspace's folder, schema version or files
    ├── RoundError           a round file that is missing, cut short, or does not match the cohort
    ├── DecisionError        a decision that can't be recorded
    ├── ChainError           the ledger's chain does not hold
    ├── AccessError          the person's role does not allow the act, or sign-in failed
    └── ExportError          labels that can't be exported

Each says what was expected, what came and what to do, and never quotes a patient's text or identifiers.
"""

LONGEST = 290
"""Characters of a message; the command puts its name before it."""
_CAME, _TODO = 100, 110


def told(expected: str, came: str, todo: str) -> str:
    """Put a message together: one line of at most `LONGEST` characters, whatever stood in the input.

    What a terminal would act on, hide or turn round (control characters, marks of direction, lone surrogates) is
    spelt out; what is too long is cut, what came first.
    """
    whole = f"expected {_plain(expected)}; got {_plain(came)}; {_plain(todo)}"
    if len(whole) <= LONGEST:
        return whole
    came, todo = _cut(_plain(came), _CAME), _cut(_plain(todo), _TODO)
    room = LONGEST - len(f"expected ; got {came}; {todo}")
    return f"expected {_cut(_plain(expected), room)}; got {came}; {todo}"


def _plain(text: str) -> str:
    words = " ".join(text.split())
    return words if words.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


class StoreError(Exception):
    """What was expected, what came, what to do; one line.

    Parameters
    ----------
    expected
        What the store needed.
    came
        What it found instead: names, types and counts, never patient text.
    todo
        The step that mends it.
    """

    def __init__(self, expected: str, came: str, todo: str) -> None:
        self.expected = expected
        self.came = came
        self.todo = todo
        super().__init__(told(expected, came, todo))


class WorkspaceError(StoreError):
    """The workspace's folder, schema version or files are not usable."""


class RoundError(StoreError):
    """A round file is missing, cut short, or does not match the cohort."""


class DecisionError(StoreError):
    """A decision can't be recorded."""


class ChainError(StoreError):
    """The ledger's hash chain does not hold."""


class AccessError(StoreError):
    """Sign-in failed, or the person's role does not allow the act."""


class ExportError(StoreError):
    """Labels can't be exported."""
