"""Other people at the same server: WebSocket clients that speak the screens' own protocol, sign in and act.

Each is what a browser's tab is to the server: its own session, its own messages in full. Nothing is drawn.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

ACT_SECONDS = 5.0
ACTS = ("answer_absent", "next")
LIMIT_SECONDS = 60.0
LARGEST = 1 << 27


@dataclass
class Tab:
    """One client's view of the page: where each named control is, and what the server remembers it by."""

    widgets: dict[str, str] = field(default_factory=dict)
    submitters: dict[str, str] = field(default_factory=dict)
    values: dict[str, WidgetState] = field(default_factory=dict)
    cached: dict[str, ForwardMsg] = field(default_factory=dict)
    page: str = ""
    query: str = ""

    def take(self, message: ForwardMsg) -> bool:
        """Read one message of the server's; True where it says that the script has run to its end."""
        kind = message.WhichOneof("type")
        if kind == "ref_hash" and message.ref_hash in self.cached:
            return self.take(self.cached[message.ref_hash])
        if message.metadata.cacheable and message.hash:
            self.cached[message.hash] = message
        if kind == "new_session":
            self.page = message.new_session.page_script_hash
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            self._note(getattr(element, str(element.WhichOneof("type")), None))
        return kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN

    def _note(self, widget: Any) -> None:
        name = str(getattr(widget, "id", ""))
        if not name.startswith("$$ID-"):
            return
        key = name.split("-", 2)[2]
        self.widgets[key] = name
        if getattr(widget, "is_form_submitter", False):
            self.submitters[widget.label] = name

    def rerun(self, *triggered: str) -> bytes:
        """Give the message that asks for a run, with a press of the controls named."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self.query, self.page
        state.cached_message_hashes.extend(self.cached)
        state.widget_states.widgets.extend(self.values.values())
        state.widget_states.widgets.extend(WidgetState(id=name, trigger_value=True) for name in triggered)
        return bytes(message.SerializeToString())


@dataclass(frozen=True)
class Act:
    """One act of a client: who, when, and how long until the server had run the page to its end."""

    name: str
    key: str
    at: float
    seconds: float


class Crowd:
    """Within its block, clients are signed in and act every few seconds; `acts` is what they did.

    Parameters
    ----------
    address
        The server's.
    names, password
        Accounts, one a client.
    """

    def __init__(self, address: str, names: Sequence[str], password: str) -> None:
        self.address = address.replace("http", "ws", 1) + "/_stcore/stream"
        self.names, self.password = names, password
        self.acts: list[Act] = []
        self.ready = 0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        until = time.monotonic() + LIMIT_SECONDS + 2 * len(self.names)
        while self.ready + len(self.failed) < len(self.names) and time.monotonic() < until:
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(LIMIT_SECONDS)

    async def _run(self) -> None:
        places = asyncio.Semaphore(2)  # passwords are hashed one or two at a time, as people come in
        await asyncio.gather(*(self._client(i, name, places) for i, name in enumerate(self.names)))

    async def _client(self, number: int, name: str, places: asyncio.Semaphore) -> None:
        try:
            async with connect(self.address, subprotocols=["streamlit"], max_size=LARGEST) as wire:  # type: ignore[list-item]
                tab = Tab()
                async with places:
                    await self._enter(wire, tab, name)
                self.ready += 1
                step = 0
                due = time.monotonic() + ACT_SECONDS * number / len(self.names)
                while not self._stop.is_set():
                    if time.monotonic() < due:
                        await asyncio.sleep(0.1)
                        continue
                    due += ACT_SECONDS
                    key = ACTS[step % len(ACTS)]
                    step += 1
                    if key not in tab.widgets:
                        key = "next"
                    began = time.monotonic()
                    await _ask(wire, tab, tab.widgets[key])
                    self.acts.append(Act(name, key, began, time.monotonic() - began))
        except Exception as error:
            self.failed.append(f"{name}: {type(error).__name__}")

    async def _enter(self, wire: ClientConnection, tab: Tab, name: str) -> None:
        await _ask(wire, tab)
        for key, text in (("sign_in_name", name), ("sign_in_password", self.password)):
            tab.values[key] = WidgetState(id=tab.widgets[key], string_value=text)
        await _ask(wire, tab, tab.submitters["Sign in"])
        tab.values.clear()
        await _ask(wire, tab, tab.widgets["start"])


async def _ask(wire: ClientConnection, tab: Tab, *triggered: str) -> None:
    """Ask for a run and read until it has ended."""
    await wire.send(tab.rerun(*triggered))
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            message = ForwardMsg()
            message.ParseFromString(await wire.recv(decode=False))
            if tab.take(message):
                return
