"""Who is signed in, which workspace and round is open: what every screen starts from."""

import atexit
import gc
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, cast

import streamlit as st

from app.listening import told
from app.provider import identity_here, passwords_shut, way_is_open
from audit_store.chart import Chart
from audit_store.database import Store, open_store
from audit_store.errors import AccessError, RoundError, StoreError, WorkspaceError
from audit_store.guideline_sets import guidelines_of
from audit_store.guidelines import Guidelines
from audit_store.people import (
    PERMISSIONS,
    Person,
    authenticate,
    end_session,
    find_person,
    list_people,
    resume_session,
    session_seconds,
)
from audit_store.people import start_session as begin_session
from audit_store.rounds import RoundFile, check_cohort_matches, open_round
from audit_store.workspace import Workspace, open_workspace

WORKSPACE_VARIABLE = "MIRACL_WORKSPACE"
_PERSON = "person"
_SECRET = "session_secret"
_NOTICE = "notice"
_ROUND = "round_at_hand"
_LEFT = "signed_out"
_DEMO = "demo"
_OFFERED = "offered_round"
_CHECKED = "person_of_this_drawing"
_LOOKS = "looks"
_LOOKING = "looking"
_LOOK_AFTER_SECONDS = 5.0  # past the moment at which an unused session ends

SIGNED_OUT = (
    "You were signed out: after a while without use, or from elsewhere. Every answer you gave is kept; a comment that "
    "was still being typed is not. Sign in to go on."
)

log = logging.getLogger("miracl.app")


@dataclass(frozen=True)
class Context:
    """What a screen may use: the store, the round under review, the chart, and the person at the desk."""

    store: Store
    person: Person
    round_file: RoundFile
    chart: Chart
    guidelines: Guidelines

    def may(self, action: str) -> bool:
        """Whether the person's role lets a button for this act be shown; the store checks again."""
        return action in PERMISSIONS[self.person.role]


def workspace() -> Workspace:
    """The workspace this server was started on."""
    folder = Path(os.environ.get(WORKSPACE_VARIABLE, "workspace"))
    try:
        stamp = (folder / "workspace.json").stat().st_mtime_ns
    except OSError:
        return open_workspace(folder)  # says what is missing
    return _workspace(str(folder), stamp)


@st.cache_resource(show_spinner=False)
def _workspace(folder: str, stamp: int) -> Workspace:
    return open_workspace(Path(folder))


@st.cache_resource(show_spinner=False)
def settle_memory() -> None:
    """Set aside what the imports made, once a process: collections between key presses then look at little."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # so that the end of the process finds them again


@st.cache_resource(show_spinner=False)
def _chart(folder: str, stamp: float) -> Chart:
    return Chart.open(Path(folder))


@st.cache_resource(show_spinner=False)
def _check_cohort(_place: Workspace, _round_file: RoundFile, folder: str, stamp: float, round_id: int) -> None:
    """Refuse a cohort that changed since the round was trained; looked at again when the manifest changes."""
    check_cohort_matches(_place, _round_file)


@st.cache_resource(show_spinner=False)
def _guidelines(_chart: Chart, folder: str, stamp: float) -> Guidelines:
    """Guidelines of the cohort's labels, put together once."""
    return guidelines_of(_chart.manifest["labels"], _chart.manifest.get("label_groups"))


def store() -> Store:
    """The store of this server's workspace."""
    return open_store(workspace())


def context() -> Context:
    """Everything a signed-in screen needs.

    Raises
    ------
    StoreError
        When nobody is signed in, or the workspace, store, round or cohort can't be opened.
    """
    person = current_person()
    if person is None:
        raise AccessError("somebody signed in", "nobody", "sign in again")
    opened = store()
    place = opened.workspace
    if place.latest_round() is None:
        raise RoundError("a finished round in the workspace", "none yet", "run miracl train, then open this page again")
    manifest = place.cohort / "manifest.json"
    if not manifest.is_file():
        raise WorkspaceError("a cohort in the workspace", "none", "run miracl build-cohort, then open this page again")
    stamp = manifest.stat().st_mtime
    round_file = open_round(place, round_at_hand(place))
    _check_cohort(place, round_file, str(place.cohort), stamp, round_file.info.round_id)
    chart = _chart(str(place.cohort), stamp)
    return Context(opened, person, round_file, chart, _guidelines(chart, str(place.cohort), stamp))


def round_at_hand(place: Workspace) -> int | None:
    """The round of this sitting: the latest when it began, until the person takes up a newer one."""
    if _ROUND not in st.session_state or st.session_state[_ROUND] not in place.round_ids():
        newest = place.latest_round()
        if newest is None:
            return None
        st.session_state[_ROUND] = newest
    return int(st.session_state[_ROUND])


def newer_round(place: Workspace) -> int | None:
    """A round that finished since this sitting began, to be offered and not forced."""
    newest, mine = place.latest_round(), round_at_hand(place)
    return newest if newest is not None and mine is not None and newest > mine else None


def offers_another_round() -> bool:
    """Whether a round has finished that the frame on the screen does not offer yet."""
    return bool(st.session_state.get(_OFFERED) != newer_round(store().workspace))


def note_offered(round_id: int | None) -> None:
    """Remember which newer round the frame offers."""
    st.session_state[_OFFERED] = round_id


def take_up(round_id: int) -> None:
    """Go on with another round; what was decided in the one before stays in the store."""
    st.session_state[_ROUND] = round_id


def current_person() -> Person | None:
    """Who is signed in; an idle session is an ended one. Asked of the store once in a drawing of the page."""
    if _CHECKED in st.session_state:
        return cast("Person", st.session_state[_CHECKED])
    secret = st.session_state.get(_SECRET)
    if secret is None:
        return None
    person = resume_session(store(), secret, used=not st.session_state.pop(_LOOKING, False))
    if person is not None and not way_is_open(workspace(), person):
        end_session(store(), secret)
        person = None
    if person is None:
        forget()
        st.session_state[_LEFT] = True
        say(SIGNED_OUT)
        return None
    st.session_state[_PERSON] = person
    return person


def look() -> None:
    """Let the next drawing look whether the session lives, without counting as use: a page asks by itself."""
    st.session_state[_LOOKING] = True
    st.session_state[_LOOKS] = looks() + 1


def looks() -> int:
    """How often this page has looked by itself."""
    return int(st.session_state.get(_LOOKS, 0))


def seconds_to_look() -> float:
    """Seconds after which a page that nobody uses has to ask whether its session lives."""
    secret = st.session_state.get(_SECRET)
    left = 0.0 if secret is None else session_seconds(store(), secret)
    return left + _LOOK_AFTER_SECONDS


@contextmanager
def drawing(person: Person | None) -> Iterator[None]:
    """While a page is drawn, the person found at its start is who is signed in; acts and fragments ask anew."""
    before = st.session_state.get(_CHECKED)
    if person is not None:
        st.session_state[_CHECKED] = person
    try:
        yield
    finally:
        if before is None:
            st.session_state.pop(_CHECKED, None)


def sign_in(name: str, password: str) -> Person:
    """Check a name and password and open a session.

    Raises
    ------
    AccessError
        When they don't match or have to wait, passwords are shut, or the demo account is asked for beyond this machine.
    """
    opened = store()
    if passwords_shut(workspace()):
        raise AccessError("a sign-in with the identity provider", "a password", "use the button above")
    name = name.strip().lower()
    known = find_person(opened, name)
    if known is not None and known.demo and told().beyond:
        raise AccessError("an account of your own", "the demo's, which is closed here", "ask whoever runs this server")
    person = authenticate(opened, name, password, address=_client_address())
    hold(begin_session(opened, person), person)
    return person


def _client_address() -> str | None:
    """The client's network address, where it is known to be its own and not a proxy's or this machine's."""
    here = told()
    if not here.beyond or (here.behind_proxy and not os.environ.get("FORWARDED_ALLOW_IPS")):
        return None
    address = st.context.ip_address
    return address if isinstance(address, str) else None


def hold(secret: str, person: Person) -> None:
    """Take up a session that was opened for somebody."""
    st.session_state.pop(_LEFT, None)
    st.session_state[_SECRET] = secret
    st.session_state[_PERSON] = person


def sign_out() -> None:
    """End the session here, in the store, and at the identity provider where it began there."""
    secret, person = st.session_state.get(_SECRET), st.session_state.get(_PERSON)
    forget()
    st.session_state[_LEFT] = True
    if secret is not None:
        end_session(store(), secret)
    if isinstance(person, Person) and person.issuer is not None and identity_here(workspace()) is not None:
        st.logout()  # the browser's cookie goes, and the provider is told


def ticket() -> str | None:
    """What brings this sitting back after a reload of the tab: the session's secret and the round in hand."""
    held = st.session_state.get(_SECRET)
    return None if held is None else f"{st.session_state.get(_ROUND, 0)}.{held}"


def has_left() -> bool:
    """Whether somebody signed out, or was signed out, on this page: the tab then has nothing to bring back."""
    return bool(st.session_state.get(_LEFT))


def resume(kept: str) -> None:
    """Take up the sitting that the browser's tab kept a ticket of, where the store still has the session open."""
    number, _, held = kept.partition(".")
    person = resume_session(store(), held)
    if person is None or not way_is_open(workspace(), person):
        st.session_state[_LEFT] = True
        return
    st.session_state[_SECRET] = held
    st.session_state[_PERSON] = person
    if number.isdigit() and int(number) in workspace().round_ids():
        st.session_state[_ROUND] = int(number)


def forget() -> None:
    """Drop everything this browser session holds."""
    for key in list(st.session_state):
        del st.session_state[key]


def demo_accounts() -> frozenset[str]:
    """The open demo accounts of this workspace, which its sign-in page offers; looked up once a sitting."""
    if _DEMO not in st.session_state or _SECRET not in st.session_state:
        people = list_people(store())
        st.session_state[_DEMO] = frozenset(people.loc[people["demo"] & people["active"], "name"])
    return cast("frozenset[str]", st.session_state[_DEMO])


def is_demo() -> bool:
    """Whether this workspace has a demo account, so that each page can say so."""
    return bool(demo_accounts())


def say(text: str) -> None:
    """Keep one line for the next page drawn."""
    st.session_state[_NOTICE] = text


def notice() -> str | None:
    """The kept line, once."""
    text = st.session_state.pop(_NOTICE, None)
    return None if text is None else str(text)


def in_words(error: Exception) -> str:
    """One line a clinician can act on; never a stack trace, an id or a patient's text."""
    if isinstance(error, StoreError):
        todo = error.todo[:1].upper() + error.todo[1:]
        return f"Needed {error.expected}, but found {error.came}. {todo}."
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-4:]))
    log.error("a screen failed: %s at %s", type(error).__name__, places)
    return "The store did not answer. Nothing was written. Try again; if it stays so, tell whoever runs this server."


def guarded(act: Callable[..., None]) -> Callable[..., None]:
    """Turn an error inside a button's act into the one line shown on the next page drawn."""

    @wraps(act)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            act(*args, **kwargs)
        except Exception as error:
            if not isinstance(error, AccessError) or st.session_state.get(_NOTICE) != SIGNED_OUT:
                say(in_words(error))

    return run
