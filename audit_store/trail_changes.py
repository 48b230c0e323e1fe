"""What each event changed: the value before, the value after, and why, as an inspector asks for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from audit_store.ledger import Event

CLOCK_STEP = timedelta(seconds=1)
"""A clock that stands less than this behind the event before is none that was set back: servers differ that much."""
_ACCOUNT = ("display_name", "role", "active", "attestation", "attestation_expires", "temporary", "issuer")
_PROTOCOL = ("batch_size", "budget", "blind", "double_share", "control_share", "audit_share", "protocol_hash")


@dataclass(frozen=True)
class Change:
    """Value before (empty where there was none), value after, and the reason given."""

    old: str = ""
    new: str = ""
    why: str = ""


def clock_back(before: datetime | None, at: datetime) -> str:
    """Say by how much the clock stood behind the event before; empty where it did not.

    An event keeps the time its machine's clock told, and the order is that of the numbers.
    """
    if before is None or before - at < CLOCK_STEP:
        return ""
    behind = timedelta(seconds=round((before - at).total_seconds()))
    return f"clock {behind} behind the event before"


class Changes:
    """Follows the trail from its first event and tells what each one changed; every event is to be shown, in order."""

    def __init__(self) -> None:
        self._answers: dict[int, str] = {}
        self._settled: dict[tuple[Any, Any], str] = {}
        self._last: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._at: datetime | None = None
        self.clock = ""
        self.before: dict[int, Mapping[str, Any] | None] = {}

    def of(self, event: Event) -> Change:
        """Tell what the next event changed; `clock` and `before` (accounts) are then the event's own."""
        self.clock, self._at = clock_back(self._at, event.created_at), event.created_at
        self.before = {}
        data = event.data
        try:
            if event.kind == "decision":
                return self._decision(event)
            if event.kind == "adjudication":
                pair = (data["stay_id"], data["label_key"])
                old, self._settled[pair] = self._settled.get(pair, ""), str(data["answer"])
                return Change(old, str(data["answer"]))
            if event.kind == "person":
                return self._fields(event, str(data["name"]), _ACCOUNT)
            if event.kind == "protocol":
                return self._fields(event, "", _PROTOCOL)
            if event.kind == "access_rule":
                return self._fields(event, "", ("require_attestation",))
            if event.kind == "redact":
                return Change(
                    f"text of the comment of event {data['comment_id']}", "removed", str(data.get("why") or "")
                )
        except (KeyError, TypeError, ValueError):
            return Change()
        return Change()

    def _decision(self, event: Event) -> Change:
        data = event.data
        old = self._answers.get(int(data["supersedes"]), "") if data.get("supersedes") is not None else ""
        new = "taken back" if data["answer"] == "retract" else str(data["answer"])
        self._answers[event.seq] = new
        return Change(old, new, str(data.get("reason_code") or ""))

    def _fields(self, event: Event, name: str, fields: tuple[str, ...]) -> Change:
        key = (event.kind, name)
        before, self._last[key] = self._last.get(key), event.data
        if event.kind == "person":
            self.before = {event.seq: before}
        changed = [f for f in fields if before is None or before.get(f) != event.data.get(f)]
        old = "" if before is None else "; ".join(f"{f} {_word(before.get(f))}" for f in changed)
        new = "; ".join(f"{f} {_word(event.data.get(f))}" for f in changed if before is not None or event.data.get(f))
        if before is not None and before.get("credential_digest") != event.data.get("credential_digest"):
            new = f"{new}; password changed".removeprefix("; ")
        return Change(old, new)


def _word(value: object) -> str:
    return "none" if value is None else "yes" if value is True else "no" if value is False else str(value)
