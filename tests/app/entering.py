"""The whole app in a test page: signed in as somebody, on one of its pages; what it says."""

from pathlib import Path

from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from tests.app.invented import NAME, PASSWORD

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # in place of the real one: tests sign in often
MAIN = Path(__file__).parents[2] / "app" / "main.py"


def entered(view: str | None = None, name: str = NAME, password: str = PASSWORD) -> AppTest:
    """Sign in and turn to a page."""
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    app.text_input(key="sign_in_name").input(name)
    app.text_input(key="sign_in_password").input(password)
    app.button[[b.label for b in app.button].index("Sign in")].click().run()
    if view is None:
        return app
    app.session_state["go"] = view
    return app.run()


def said(app: AppTest) -> str:
    """Everything on the page that a reader could read."""
    html = [str(element.proto.body) for element in app.get("html")]
    rest = [b.label for b in app.button]
    rest += [str(e.value) for kind in ("error", "info", "toast", "success", "markdown") for e in app.get(kind)]
    return "\n".join(part for part in [*html, *rest] if "<style" not in part)
