"""For all tests: what one leaves in the process does not reach the next."""

import sys
from collections.abc import Iterator

import pytest

from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]  # fixtures

MAIN = sys.modules["__main__"]
NEEDS = ("browser", "postgres")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write into the report what a test needs besides Python, so that .ci/run sees one that was skipped for it."""
    for item in items:
        item.user_properties += [("needs", name) for name in NEEDS if item.get_closest_marker(name)]


@pytest.fixture(autouse=True)
def the_same_main_module() -> Iterator[None]:
    """Put ``__main__`` back: Streamlit's test runner leaves its page there, and spawned processes would run it."""
    sys.modules["__main__"] = MAIN
    yield
    sys.modules["__main__"] = MAIN
