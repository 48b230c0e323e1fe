"""What `miracl export` is asked for on the command line, and what it says at the end."""

from pathlib import Path
from typing import Any

from audit_store.errors import ExportError
from audit_store.export_citation import Citation
from audit_store.export_listfiles import read_validation


def words_of(given: str) -> tuple[str, ...]:
    """Split words that stand between commas."""
    return tuple(dict.fromkeys(word.strip() for word in given.split(",") if word.strip()))


def citation_of(*, reads: bool, title: str | None, authors: list[str] | None, doi: str | None) -> Citation | None:
    """Say how an export for publication is cited; None where none is asked for.

    Raises
    ------
    ExportError
        When there is something to cite and no --reads.
    """
    if reads:
        return Citation(title, tuple(authors or ()), doi)
    if title or authors or doi:
        raise ExportError("--reads with --title, --author or --doi", "none", "add --reads, or leave these out")
    return None


def validation_of(path: Path | None) -> frozenset[str] | None:
    """Read the subjects to validate on; None where no list is named."""
    return None if path is None else read_validation(path)


def told(folder: Path, manifest: dict[str, Any] | None) -> list[str]:
    """Say what was written, what was left out, and what a person has to fill in."""
    lines = [f"Wrote {', '.join(sorted(path.name for path in folder.iterdir()))} in {folder}"]
    for form, left in (manifest or {}).get("left_out", {}).items():
        lines += [f"{form}: left out {count:,} stays {why}" for why, count in left.items() if count]
    reads = (manifest or {}).get("reads")
    if reads:
        lines.append(f"To fill in in CITATION.cff: {'; '.join(reads['to_fill_in'])}")
    return lines
