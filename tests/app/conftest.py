"""A small invented workspace for the tests of the screens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from tests.app.invented import NAME, PASSWORD, Invented, make_workspace


@pytest.fixture
def invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invented]:
    """A workspace with a round of eight flags; the environment names it."""
    made = make_workspace(tmp_path / "workspace")
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(made.folder))
    yield made
    made.store.close()


def page(name: str) -> AppTest:
    """One view in its own test page, with somebody signed in."""
    source = f"""
import streamlit as st
from app import session
from app.frame import guarded
from app.views import {name}
from tests.app.invented import NAME, PASSWORD

if "session_secret" not in st.session_state:
    session.sign_in(NAME, PASSWORD)
guarded({name}.render)()
"""
    return AppTest.from_string(source, default_timeout=30)


__all__ = ["NAME", "PASSWORD", "page"]
