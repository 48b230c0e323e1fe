"""Check a trail file by itself: `python -m audit_store.trail_check FILE`. Needs nothing but Python.

The first line is the header; each line after it is an event: `seq`, `payload` (the event's JSON text, exactly as it was
hashed), `prev_hash`, `hash`. hash = BLAKE2b with a digest of 32 bytes, in hex, over: the length of prev_hash as 8 bytes
(big-endian), prev_hash, the length of the payload in UTF-8 as 8 bytes, the payload. A line with `withheld` in place of
`payload` keeps its place in the chain, but can't be recomputed.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def check_trail(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read a trail file; return what it holds (header, events, withheld, head) and what does not hold."""
    with path.open(encoding="utf-8") as lines:
        try:
            header = dict(json.loads(next(lines)))
            previous, expected, last = str(header["prev_hash"]), int(header["first"]), dict(header["head"])
        except (StopIteration, ValueError, KeyError, TypeError):
            return {}, ["line 1: is not a trail's header"]
        withheld, first = 0, expected
        if expected == 1 and previous != "0" * 64:
            return {}, ["line 1: a chain begins with 64 zeros"]
        for number, line in enumerate(lines, start=2):
            wrong = _wrong(line, previous, expected)
            if wrong is not None:
                return header, [f"line {number}, event {expected}: {wrong}"]
            event = json.loads(line)
            withheld += "payload" not in event
            previous, expected = event["hash"], expected + 1
    told = {"header": header, "events": expected - first, "withheld": withheld, "head": f"{expected - 1}:{previous}"}
    if last != {"count": expected - 1, "hash": previous}:
        return told, [f"the file ends at event {expected - 1}, its header at {last.get('count')}: lines are missing"]
    return told, []


def _wrong(line: str, previous: str, expected: int) -> str | None:
    try:
        event = json.loads(line)
        if event["seq"] != expected:
            return f"is missing; {event['seq']} stands there"
        if event["prev_hash"] != previous:
            return "does not follow from the event before it"
        if "payload" not in event:
            return None if "withheld" in event and len(event["hash"]) == 64 else "is not an event"
        parts = (previous.encode(), event["payload"].encode())
        body = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        if hashlib.blake2b(body, digest_size=32).hexdigest() != event["hash"]:
            return "was changed: its hash does not match its text"
        return None if json.loads(event["payload"])["seq"] == expected else "its text is another event's"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "is not an event"


if __name__ == "__main__":
    try:
        holds, findings = check_trail(Path(sys.argv[1]))
    except (OSError, IndexError, UnicodeDecodeError):
        holds, findings = {}, ["name a trail file that can be read"]
    print("\n".join(findings) or f"All holds: {holds['events']} events, {holds['withheld']} withheld, {holds['head']}")
    sys.exit(1 if findings else 0)
