"""Streamlit's own command, in a process that keeps quiet: python -m app.server run app/main.py …"""

import sys

from audit_store.quiet import keep_quiet


def main() -> None:
    """Begin to keep quiet, then hand over to Streamlit's command line."""
    keep_quiet()
    from streamlit.web.cli import main as streamlit  # it sets up logging as it is imported

    sys.exit(streamlit(prog_name="streamlit"))


if __name__ == "__main__":
    main()
