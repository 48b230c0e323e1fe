"""Arrays kept on disk by what they depend on: written aside, renamed, checked when read, mapped into memory."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.cohort.store import Cohort, file_digest
from core.fileio import parsed_json, sync_directory

Arrays = dict[str, np.ndarray]

_PACK_VERSION = 1


def cohort_key(cohort: Cohort) -> dict[str, Any]:
    """Give what anything packed from a cohort depends on."""
    return {
        "pack": _PACK_VERSION,
        "fingerprint": cohort.fingerprint,
        "cutoff_hours": cohort.manifest.get("cutoff_hours"),
    }


def cached(
    cache_dir: Path | None, name: str, key: dict[str, Any], build: Callable[[], tuple[Arrays, dict[str, Any]]]
) -> tuple[Arrays, dict[str, Any]]:
    """Give `build`'s arrays and JSON-able fields, from the cache where they lie there whole.

    Parameters
    ----------
    cache_dir
        Where to keep them; None keeps nothing and gives plain arrays.
    name
        Start of the entry's name.
    key
        All that the result depends on; an entry with another key, or a file that doesn't match its digest, is
        built again.
    build
        Makes the arrays.

    Returns
    -------
    arrays, fields
        The arrays mapped read-only, where there is a cache.
    """
    if cache_dir is None:
        return build()
    text = json.dumps(key, sort_keys=True)
    entry = cache_dir / f"{name}-{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"
    found = _read_entry(entry, text)
    if found is not None:
        return found
    arrays, fields = build()
    cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = cache_dir / f".{entry.name}.{os.getpid()}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    try:
        digests = {}
        for key_name, array in arrays.items():
            path = aside / f"{key_name}.npy"
            np.save(path, array, allow_pickle=False)
            os.chmod(path, 0o600)
            digests[key_name] = file_digest(path)
        index = aside / "index.json"
        body = {"key": text, "arrays": digests, "fields": fields}
        index.write_text(json.dumps({**body, "digest": _digest(body)}), encoding="utf-8")
        os.chmod(index, 0o600)
        for path in aside.iterdir():
            with path.open("rb+") as written:
                os.fsync(written.fileno())
        shutil.rmtree(entry, ignore_errors=True)
        # Another trainer may have put the same entry there in the meantime: then its copy serves.
        if not entry.exists():
            os.replace(aside, entry)
            sync_directory(cache_dir)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return _read_entry(entry, text) or (arrays, fields)


def _digest(body: dict[str, Any]) -> str:
    """BLAKE2b-128 of an index, in hex: what was changed in it is built again."""
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()


def _read_entry(entry: Path, key: str) -> tuple[Arrays, dict[str, Any]] | None:
    try:
        index = parsed_json((entry / "index.json").read_text(encoding="utf-8"))
        if index["key"] != key or index.pop("digest") != _digest(index):
            return None
        arrays: Arrays = {}
        for name, digest in index["arrays"].items():
            path = entry / f"{name}.npy"
            if file_digest(path) != digest:
                return None
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            arrays[name] = array if array.size else np.array(array)
        fields: dict[str, Any] = index["fields"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays, fields
