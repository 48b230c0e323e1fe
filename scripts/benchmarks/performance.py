"""Puts the tables that the single benchmarks wrote into core/PERFORMANCE.md, between its marks.

    python -m scripts.benchmarks.performance workspace/benchmarks

A table ``NAME.md`` of the folder takes the place of what stands between ``<!-- table: NAME -->`` and ``<!-- end -->``;
a mark without a file is left as it is, and said.
"""

import argparse
import re
from pathlib import Path

from core.errors import RunError
from core.fileio import replacing
from scripts.benchmarks.machine import ROOT

DOCUMENT = ROOT / "core" / "PERFORMANCE.md"
_MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, folder: Path) -> tuple[str, list[str], list[str]]:
    """Fill the marks of a text.

    Parameters
    ----------
    text
        With marks.
    folder
        Of the tables.

    Returns
    -------
    text, done, left
        The new text, and the names of the marks that were filled and of those that were left.
    """
    done: list[str] = []
    left: list[str] = []

    def put(found: re.Match[str]) -> str:
        table = folder / f"{found[2]}.md"
        if not table.is_file():
            left.append(found[2])
            return found[0]
        done.append(found[2])
        return f"{found[1]}\n{table.read_text(encoding='utf-8').strip()}\n\n{found[3]}"

    return _MARKED.sub(put, text), done, left


def main() -> None:
    """Read the options, fill the document and say what was put in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the benchmarks wrote")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    try:
        text, done, left = filled(given.document.read_text(encoding="utf-8"), given.folder)
        with replacing(given.document) as aside:
            aside.write_text(text, encoding="utf-8")
    except OSError as error:
        came = error.strerror or type(error).__name__
        raise SystemExit(str(RunError(f"a document at {given.document}", came, "name it with --document"))) from None
    given.document.chmod(0o644)
    print(f"put in: {', '.join(done) or 'none'}; left: {', '.join(left) or 'none'}")


if __name__ == "__main__":
    main()
