"""Files of exports that are there: handing them out, and checking that they are as they were written."""

import io
import zipfile
from collections.abc import Sequence

from sqlalchemy import select

from audit_store import tables
from audit_store.database import Store
from audit_store.errors import ExportError
from audit_store.export_manifest import read_manifest
from audit_store.fileio import file_digest
from audit_store.people import Person, log_access, require_now

DOWNLOAD_LIMIT = 512 << 20  # bytes; a page holds what it hands out in memory
ZIP_LEVEL = 4


def check_export(store: Store, number: int) -> list[str]:
    """Compare an export's files with its manifest, and the manifest with the ledger.

    Returns
    -------
    list of str
        What does not hold, in a line each; empty where all is as it was written.
    """
    folder = store.workspace.exports / f"export-{number:04d}"
    manifest = read_manifest(folder)
    if manifest is None:
        return ["manifest.json is missing or can't be read"]
    with store.reading() as connection:
        query = select(tables.export.c.manifest_digest).where(tables.export.c.number == number)
        noted = connection.execute(query).scalar()
    found = []
    if noted != file_digest(folder / "manifest.json"):
        found.append("manifest.json is not the one that the ledger noted")
    for item in manifest["files"]:
        path = folder / str(item["name"])
        if not path.is_file():
            found.append(f"{item['name']} is missing")
        elif path.stat().st_size != item["bytes"] or file_digest(path, "sha256") != item["sha256"]:
            found.append(f"{item['name']} has changed since it was written")
    return found


def read_for_download(store: Store, person: Person, number: int, names: Sequence[str]) -> bytes:
    """Read files of an export to hand to somebody: one as it is, several as a ZIP; noted as an access.

    Raises
    ------
    AccessError
        When the person may not export.
    ExportError
        When a name is not of the export, a file has changed, or the files are larger than `DOWNLOAD_LIMIT` in all.
    """
    with store.reading() as connection:
        require_now(connection, person, "export")
    folder = store.workspace.exports / f"export-{number:04d}"
    manifest = read_manifest(folder)
    if manifest is None:
        raise ExportError("an export of this workspace", "none of that number", "pick one of the list")
    written = {str(item["name"]): item for item in manifest["files"]}
    if not names or not set(names) <= {*written, "manifest.json"}:
        raise ExportError("names of files of the export", "others", "pick from the list")
    if sum(int(written[name]["bytes"]) for name in names if name in written) > DOWNLOAD_LIMIT:
        raise ExportError(
            f"at most {DOWNLOAD_LIMIT >> 20} MB in one download", "more", f"copy them from exports/{folder.name}"
        )
    for name in names:
        if name in written and file_digest(folder / name, "sha256") != written[name]["sha256"]:
            raise ExportError(f"{name} as it was written", "a file that has changed", "write the export again")
    log_access(store, person, "export", round_id=int(manifest["round"]))
    if len(names) == 1:
        return (folder / names[0]).read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=ZIP_LEVEL) as archive:
        for name in names:
            kind = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
            archive.write(folder / name, f"{folder.name}/{name}", compress_type=kind)
    return packed.getvalue()
