"""A process that keeps to itself what it handles: in its logs, in its crashes, in the files it makes.

Libraries write values into logs (SQLAlchemy each row it reads, once a site turns its level down) and into the texts
of their errors (a converter quotes what it could not convert). A process that handles patients' data calls
`keep_quiet` before anything else: from then on what libraries log is their own words without the values, an
unexpected error is told by its type and places alone, files are made for their owner, and no core is dumped.
"""

import logging
import os
import re
import resource
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

OURS = "miracl"
OWNER_ONLY = 0o077
PLACES = 6
_VALUE = re.compile(r"%%|%(\([^)]*\))?[-#0 +]*(\*|\d+)?(\.(\*|\d+))?[hlL]?[a-zA-Z]")


def told(kind: type[BaseException] | None, trace: TracebackType | None) -> str:
    """Tell an error by its type and the places it came through, the innermost first; never by its words."""
    frames = traceback.extract_tb(trace)[-PLACES:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    name = "error" if kind is None else kind.__name__
    return f"{name} at {places}" if places else name


class QuietRecord(logging.LogRecord):
    """A log record that holds a library's own words without values, and of an error its type and places."""

    def __init__(
        self, name: str, level: int, pathname: str, lineno: int, msg: object, args: Any, exc_info: Any, *rest: Any,
        **more: Any,
    ) -> None:  # fmt: skip
        error = exc_info if isinstance(exc_info, tuple) else None
        words = str(msg) if isinstance(msg, str) else type(msg).__name__
        if (name or "").partition(".")[0] == OURS:
            kept = args
        else:
            kept = ()
            if args:
                words = _VALUE.sub(lambda sign: "%" if sign[0] == "%%" else "…", words)
        if error is not None and error[0] is not None:
            # What follows the first line may quote the error, as asyncio's reports do.
            words = f"{words.splitlines()[0] if words else ''} ({told(error[0], error[2])})"
        super().__init__(name, level, pathname, lineno, words, kept, None, *rest, **more)


def _say(error: type[BaseException] | None, trace: TracebackType | None, where: str) -> None:
    if sys.stderr is not None:
        print(f"miracl: a fault in the program{where}: {told(error, trace)}", file=sys.stderr, flush=True)


def tell_fault(error: BaseException) -> None:
    """Say on standard error that the program failed, and where; not what the error says."""
    _say(type(error), error.__traceback__, "")


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _say(kind, trace, "")


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is not SystemExit:
        _say(found.exc_type, found.exc_traceback, " (in a thread)")


def _unraisable(found: Any) -> None:
    _say(found.exc_type, found.exc_traceback, " (while something was put away)")


def keep_quiet() -> None:
    """Make this process discreet: its logs, its reports of errors, the modes of its files, and no core dumps.

    For the start of a process; it changes what holds for all of it. Loggers under ``miracl`` keep their values: they
    are written with that in mind.
    """
    logging.setLogRecordFactory(QuietRecord)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    os.umask(OWNER_ONLY)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
