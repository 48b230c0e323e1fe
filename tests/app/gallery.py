"""Take a picture of every page and state, for people to look at: python -m tests.app.gallery WORKSPACE FOLDER.

The workspace is copied first; nothing is written into the one given. Its demo account is used unless told otherwise.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from app.run import DEMO_NAME, DEMO_PASSWORD
from tests.app.axe import findings
from tests.app.browser import browsing, serving
from tests.app.looks import faults
from tests.app.tour import trouble, walk

SIZES = ((1440, 900), (1024, 768))


def slug(state: str) -> str:
    """A state's name as a file's."""
    return re.sub(r"[^a-z0-9]+", "-", state.lower()).strip("-")


def main() -> None:
    """Walk past every page at both sizes; write one PNG each, and print what axe finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default=DEMO_NAME)
    parser.add_argument("--password", default=DEMO_PASSWORD)
    parser.add_argument("--axe", action="store_true", help="print what axe-core and `looks` find")
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "workspace"
            shutil.copytree(told.workspace, copy)
            with serving(copy, Path(folder) / "log") as address, browsing(width, height) as page:
                for walked in (walk(page, address, told.name, told.password), trouble(page, copy)):
                    for number, state in enumerate(walked, 1):
                        page.screenshot(path=told.folder / f"{width}-{number:02d}-{slug(state)}.png")
                        print(f"{width}×{height} {state}", flush=True)
                        if told.axe:
                            for finding in findings(page, ("moderate", "serious", "critical")):
                                print(f"  {finding}", flush=True)
                            for fault in faults(page):
                                print(f"  {fault}", flush=True)


if __name__ == "__main__":
    main()
