"""The server: Streamlit's own, with the identity provider's settings from the workspace and the guard around it.

Nothing is written: client secret and cookie key go from the workspace's files into this process's memory.
"""

import os
from pathlib import Path

import streamlit
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from streamlit import config
from streamlit.starlette import App

from app.guard import Guard, content_policy, script_hashes
from app.listening import told
from app.provider import secrets
from app.run import WORKSPACE_VARIABLE
from audit_store.identity import cookie_secret, read_identity
from audit_store.workspace import open_workspace

_TOLD = told()
_PLACE = open_workspace(Path(os.environ.get(WORKSPACE_VARIABLE, "workspace")))
_INDEX = Path(streamlit.__file__).with_name("static") / "index.html"

config.set_option("server.cookieSecret", cookie_secret(_PLACE))  # the same for all servers on one workspace

app = App(
    Path(__file__).with_name("main.py"),
    secrets=secrets(read_identity(_PLACE), _TOLD, cookie_secret(_PLACE)),
    middleware=[
        Middleware(Guard, told=_TOLD, policy=content_policy(script_hashes(_INDEX))),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(_TOLD.hosts), www_redirect=False),
    ],
)
