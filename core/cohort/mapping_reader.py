"""Reading a mapping's TOML: fields are taken by name and kind; a name that is not known is told with the nearest."""

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from core.errors import SourceError

_HUGE = 1e30


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant: “did you mean x?”, or nothing."""
    by_small = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), by_small, n=1, cutoff=0.6)
    return f"did you mean {by_small[found[0]]}?" if found else ""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    SourceError
        When it is missing, not UTF-8, or not TOML (with the line).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise SourceError(f"{path.name} in UTF-8", "another encoding", "save the mapping as UTF-8") from None
    except OSError:
        raise SourceError(f"a mapping in {path.name}", "no file that can be read", "name a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{path.name} in TOML", str(error), "mend that line") from None


class Section:
    """One table of a mapping.

    Parameters
    ----------
    file
        The mapping's file name, for messages.
    where
        How the table is written in it, e.g. ``[stays]``.
    content
        Its fields.
    """

    def __init__(self, file: str, where: str, content: Any) -> None:
        self.file, self.where = file, where
        if not isinstance(content, dict):
            raise SourceError(
                f"{where} in {file} as a table", type(content).__name__, f"write {where} and fields below"
            )
        self._content: dict[str, Any] = content
        self._asked: list[str] = []

    def refuse(self, expected: str, came: str, todo: str) -> SourceError:
        """Make the error of something wrong in this table."""
        return SourceError(f"{expected} in {self.where} of {self.file}", came, todo)

    def take(self, key: str) -> Any:
        """Give a field as it is, None where it is not there."""
        self._asked.append(key)
        return self._content.get(key)

    def has(self, key: str) -> bool:
        """Whether the field is there."""
        return key in self._content

    def text(self, key: str, default: str | None = None) -> str | None:
        """Give a field that is text."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(f"{key} as text", type(value).__name__, f'write {key} = "…"')
        return value

    def need(self, key: str) -> str:
        """Give a field that is text and must be there."""
        value = self.text(key)
        if value is None:
            near = nearest(key, [name for name in self._content if name not in self._asked])
            raise self.refuse(f"{key}", f"none {near}".strip(), f'write {key} = "…"')
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a field that is a text or a list of texts."""
        value = self.take(key)
        listed = [value] if isinstance(value, str | int) and not isinstance(value, bool) else value
        if listed is None:
            return ()
        if not isinstance(listed, list) or not all(
            isinstance(v, str | int) and not isinstance(v, bool) and str(v).strip() for v in listed
        ):
            raise self.refuse(f"{key} as a list of texts", "something else", f'write {key} = ["…"]')
        return tuple(str(v) for v in listed)

    def number(self, key: str, default: float | None = None) -> float | None:
        """Give a field that is a finite number."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _HUGE:
            raise self.refuse(f"{key} as a number", type(value).__name__, f"write {key} = 1.0")
        return float(value)

    def flag(self, key: str) -> bool:
        """Give a field that is true or false; false where it is not there."""
        value = self.take(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.refuse(f"{key} as true or false", type(value).__name__, f"write {key} = true")
        return value

    def interval(self, key: str) -> tuple[float, float] | None:
        """Give a field of two numbers, the lower first."""
        value = self.take(key)
        if value is None:
            return None
        fits = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
        if not fits or not -_HUGE < value[0] < value[1] < _HUGE:
            raise self.refuse(f"{key} as two numbers, the lower first", "something else", f"write {key} = [0, 100]")
        return float(value[0]), float(value[1])

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        """Give a field that is one of some words; the first where it is not there."""
        value = self.text(key, known[0]) or known[0]
        if value not in known:
            raise self.refuse(
                f"{key} of {', '.join(known)}", f"{value!r} {nearest(value, known)}", "choose one of them"
            )
        return value

    def numbers_by_text(self, key: str) -> dict[str, float]:
        """Give a field that is a table of numbers, its names in small letters."""
        value = self.take(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(type(v) in (int, float) and abs(v) < _HUGE for v in value.values()):
            raise self.refuse(f"{key} as a table of numbers", "something else", f'write {key} = {{ "text" = 1 }}')
        return {name.strip().lower(): float(number) for name, number in value.items()}

    def section(self, key: str) -> "Section":
        """Give a table within this one, empty where it is not there."""
        value = self.take(key)
        return Section(self.file, f"[{key}]", {} if value is None else value)

    def sections(self, key: str) -> list["Section"]:
        """Give a list of tables; a single table is a list of one."""
        value = self.take(key)
        listed = [] if value is None else [value] if isinstance(value, dict) else value
        if not isinstance(listed, list):
            raise self.refuse(f"{key} as tables", type(value).__name__, f"write [[{key}]] and fields below")
        mark = f"[[{key}]]" if isinstance(value, list) else f"[{key}]"
        return [
            Section(self.file, mark if len(listed) == 1 else f"{mark} number {place}", entry)
            for place, entry in enumerate(listed, start=1)
        ]

    def named(self, key: str) -> dict[str, "Section"]:
        """Give a table of tables, by their names."""
        value = self.take(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refuse(f"{key} as tables", type(value).__name__, f"write [{key}.name] and fields below")
        return {name: Section(self.file, f"[{key}.{name}]", entry) for name, entry in value.items()}

    def done(self) -> None:
        """Refuse fields that nobody asked for.

        Raises
        ------
        SourceError
            With the nearest name that is known.
        """
        for name in self._content:
            if name not in self._asked:
                near = nearest(name, self._asked)
                known = ", ".join(dict.fromkeys(self._asked))
                raise self.refuse("only names that are known", f"{name!r} {near}".strip(), f"known are {known}")
