"""Options as frozen dataclasses: each with its source and range, checked, and rebuilt from JSON's plain types."""

import dataclasses
import types
import typing
from dataclasses import field
from typing import Any, Literal

from core.errors import ConfigError

_LONG = 10**40
"""Beyond it Python itself may refuse to spell a number."""


def sourced(default: object, source: str, low: float | None = None, high: float | None = None) -> Any:
    """Make a dataclass field: its default, where that comes from, and the closed interval it may lie in."""
    return field(default=default, metadata={"source": source, "low": low, "high": high})


def check_options(config: Any) -> None:
    """Hold each field against its declared choices and interval."""
    hints = typing.get_type_hints(type(config))
    for item in dataclasses.fields(config):
        value, name = getattr(config, item.name), f"{type(config).__name__}.{item.name}"
        choices = [a for a in _alternatives(hints[item.name]) if typing.get_origin(a) is Literal]
        allowed = [choice for alternative in choices for choice in typing.get_args(alternative)]
        if isinstance(value, str) and allowed and value not in allowed:
            raise ConfigError(f"{name} among {', '.join(map(str, allowed))}", repr(value), "choose one of them")
        low, high = item.metadata.get("low"), item.metadata.get("high")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not ((low is None or value >= low) and (high is None or value <= high)):
            least = "-∞" if low is None else low
            most = "∞" if high is None else high
            raise ConfigError(f"{name} in [{least}, {most}]", str(value), "give a value in that range")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def build_options(hint: Any, value: Any, path: str) -> Any:
    """Make a value of type `hint` from JSON's plain types."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{path} as an object", type(value).__name__, "give its fields by name")
        hints = typing.get_type_hints(hint)
        unknown = sorted(set(value) - {f.name for f in dataclasses.fields(hint) if f.init})
        if unknown:
            known = ", ".join(f.name for f in dataclasses.fields(hint) if f.init)
            raise ConfigError(f"{path} with fields {known}", f"{', '.join(map(str, unknown))}", "leave it out")
        return hint(**{name: build_options(hints[name], item, f"{path}.{name}") for name, item in value.items()})
    for alternative in _alternatives(hint):
        origin = typing.get_origin(alternative)
        if origin is Literal and any(value == a and type(value) is type(a) for a in typing.get_args(alternative)):
            return value
        if origin is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(alternative)
            inner = inner[:1] * len(value) if len(inner) == 2 and inner[1] is Ellipsis else inner
            if len(inner) == len(value):
                return tuple(
                    build_options(h, v, f"{path}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True))
                )
        if alternative is float and isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                raise ConfigError(f"{path} as a number", "one too large", "give a smaller one") from None
        if isinstance(alternative, type) and type(value) is alternative:
            return value
    if typing.get_origin(hint) is Literal:
        wanted = f"one of {', '.join(map(str, typing.get_args(hint)))}"
    else:
        wanted = str(hint).replace("typing.", "") if not isinstance(hint, type) else hint.__name__
    came = "a number of many digits" if isinstance(value, int) and abs(value) > _LONG else repr(value)[:60]
    raise ConfigError(f"{path} as {wanted}", came, "give a value of that type")
