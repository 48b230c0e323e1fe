"""Reading an export's manifest."""

from pathlib import Path
from typing import Any

from audit_store.fileio import parsed_json


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of an export; None where it is not one."""
    try:
        body = parsed_json((folder / "manifest.json").read_text(encoding="utf-8"))
        int(body["number"]), int(body["round"]), int(body["counts"]["changed"]), body["decisions"]["head"]["hash"]
        list(body["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(body)
