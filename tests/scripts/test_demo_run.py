"""The demo is ready to be read: its account stands and its protocol is signed, once."""

from pathlib import Path
from typing import Any

import pytest

from app.run import DEMO_NAME
from audit_store.database import open_store
from audit_store.guidelines import load
from audit_store.people import find_person
from audit_store.protocol import Terms, current_protocol, list_protocols, protocol_is_current
from audit_store.workspace import open_workspace
from scripts import demo_run


def test_a_first_visitor_to_the_demo_can_draw_a_batch_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any, **__: Any) -> int:
        return 1

    monkeypatch.setattr(demo_run, "invent", lambda *_: None)
    monkeypatch.setattr(demo_run, "run_training", train)
    for _ in range(2):
        assert demo_run.prepare(tmp_path, stays=10, epochs=1, seed=1, say=print) == 1
    store = open_store(open_workspace(tmp_path))
    signed = current_protocol(store)
    assert signed is not None
    assert signed.terms == Terms()
    assert signed.actor.startswith("operator:")
    assert len(list_protocols(store)) == 1
    assert protocol_is_current(store, load())
    demo = find_person(store, DEMO_NAME)
    assert demo is not None
    assert demo.demo
    store.close()
