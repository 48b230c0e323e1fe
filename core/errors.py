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
        super().__init__(f"expected {expected}; got {came}; {todo}")


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
