"""Errors of the trainer.

    MiraclError              anything a user can put right; the command prints it in one line and exits with 2
    ├── CohortError          a source or a cohort is not what it should be
    │   ├── SourceError      a raw file, column, unit or value of the source
    │   ├── SchemaError      a cohort table's columns, types or keys
    │   └── ChangedError     a cohort whose contents are not those its manifest or a round names
    ├── ConfigError          an option out of range, or options that exclude one another
    └── RunError             a training run that can't start, go on or be read

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


def one_line(text: str, longest: int = 220) -> str:
    """Put any text on one line that a terminal takes as it stands, cut where it is too long."""
    return _cut(_plain(text), longest)


def _plain(text: str) -> str:
    words = " ".join(text.split())
    return words if words.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


class MiraclError(Exception):
    """What was expected, what came, what to do; one line.

    Parameters
    ----------
    expected
        What the program needed, with the file, column or option it is about.
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


class CohortError(MiraclError):
    """A source or a cohort is not what it should be."""


class SourceError(CohortError):
    """A raw file, column, unit or value of a source can't be used."""


class SchemaError(CohortError):
    """A cohort table lacks a column, has another type, or breaks a key."""


class ChangedError(CohortError):
    """A cohort's contents are not those that its manifest or a round names."""


class ConfigError(MiraclError):
    """An option is out of range, or options exclude one another."""


class RunError(MiraclError):
    """A training run can't start, go on or be read."""
