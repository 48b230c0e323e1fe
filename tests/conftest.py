"""For all tests: what one leaves in the process does not reach the next."""

import sys
from collections.abc import Iterator

import pytest

MAIN = sys.modules["__main__"]


@pytest.fixture(autouse=True)
def the_same_main_module() -> Iterator[None]:
    """Put ``__main__`` back: Streamlit's test runner leaves its page there, and spawned processes would run it."""
    sys.modules["__main__"] = MAIN
    yield
    sys.modules["__main__"] = MAIN
