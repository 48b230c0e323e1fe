"""The other side of the exports' benchmark: a process of its own that writes one export and says where its time went.

    python -m scripts.benchmarks.export_writing WORKSPACE csv

prints one line of JSON. The time is that of the whole export: labels worked out, tables in every form, digests,
manifest, rename and the ledger's line.
"""

import argparse
import cProfile
import json
import pstats
import shutil
import time
from pathlib import Path
from typing import Any

from audit_store.database import open_store
from audit_store.export_manifest import facts_of, manifest_of
from audit_store.exports import FORMATS, export_labels
from audit_store.people import operator
from audit_store.workspace import open_workspace
from scripts.benchmarks.written import memory_mib, peak_mib

MOST = 14
"""Functions told of a profile."""


def measure(folder: Path, kind: str, profiled: bool = False) -> dict[str, Any]:
    """Export once, and remove what was written.

    Parameters
    ----------
    folder
        The workspace.
    kind
        One of `FORMATS`.
    profiled
        Also say which functions took how long; slower.

    Returns
    -------
    dict
        seconds, cpu_seconds, bytes, idle_mib, peak_mib, and with `profiled` ``functions``, seconds with all that a
        function calls, of this project's own, and ``manifest_seconds``.
    """
    store = open_store(open_workspace(folder))
    idle = memory_mib()
    watched = cProfile.Profile()
    begun, worked = time.perf_counter(), time.process_time()
    if profiled:
        watched.enable()
    made = export_labels(store, None, operator(), formats=(kind,))
    watched.disable()
    took, cpu = time.perf_counter() - begun, time.process_time() - worked
    told: dict[str, Any] = {
        "seconds": took, "cpu_seconds": cpu, "bytes": sum(path.stat().st_size for path in made.iterdir()),
        "idle_mib": idle, "peak_mib": peak_mib(),
    }  # fmt: skip
    shutil.rmtree(made)
    if profiled:
        told |= {"functions": own_functions(pstats.Stats(watched)), "manifest_seconds": of_manifest(watched)}
    return told


def own_functions(stats: Any, most: int | None = MOST) -> dict[str, float]:
    """Seconds, callees included, of this project's functions that took longest; of all without a `most`."""
    found = {
        f"{Path(file).stem}.{name}": spent[3]
        for (file, _, name), spent in stats.stats.items()
        if "audit_store" in Path(file).parts
    }
    return dict(sorted(found.items(), key=lambda item: -item[1])[:most])


def of_manifest(watched: cProfile.Profile) -> float:
    """Seconds of what the manifest says and of how it says it."""
    found = own_functions(pstats.Stats(watched), None)
    return sum(found.get(f"export_manifest.{function.__name__}", 0.0) for function in (facts_of, manifest_of))


def main() -> None:
    """Read the options, export, and print the line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=FORMATS)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    print(json.dumps(measure(given.folder, given.kind, given.profile)))


if __name__ == "__main__":
    main()
