"""Reading an export's manifest."""

import json
from pathlib import Path
from typing import Any


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of an export; None where it is not one."""
    try:
        body = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        int(body["number"]), int(body["round"]), int(body["counts"]["changed"]), body["decisions"]["head"]["hash"]
        list(body["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(body)
