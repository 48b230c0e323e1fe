"""For all tests: what one leaves in the process does not reach the next."""

import os
import sys
from collections.abc import Iterator

import pytest

# Before torch is imported, and for the processes that tests start: threads of several workers that wait for one another
# on the same cores take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]  # fixtures

MAIN = sys.modules["__main__"]
NEEDS = ("browser", "postgres")
LONG = ("bench", "loop", "browser", "training", "trust", "distributed", "many", "cli", "learn")
"""In the names of the files that take a minute: begun first, so that none is still alone at work at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; write into the report what a test needs besides Python: .ci/run sees what was skipped."""
    items.sort(key=lambda item: not any(name in item.path.stem for name in LONG))
    for item in items:
        item.user_properties += [("needs", name) for name in NEEDS if item.get_closest_marker(name)]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by how many: content may hold the hour, and then two workers disagree on the name."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def the_same_main_module() -> Iterator[None]:
    """Put ``__main__`` back: Streamlit's test runner leaves its page there, and spawned processes would run it."""
    sys.modules["__main__"] = MAIN
    yield
    sys.modules["__main__"] = MAIN
