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
        super().__init__(f"expected {expected}; got {came}; {todo}")


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
