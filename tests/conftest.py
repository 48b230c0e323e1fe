"""For all tests: what one leaves in the process does not reach the next."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def the_same_main_module() -> Iterator[None]:
    """Put ``__main__`` back: Streamlit's test runner leaves its page there, and spawned processes would run it."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before
