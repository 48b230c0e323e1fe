"""`miracl review` and `miracl identity`: opening the review page, here or beyond this machine, and who may sign in."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlparse

import typer

from app.listening import LOOPBACK, Listening, is_loopback
from audit_store.errors import StoreError
from audit_store.identity import Identity
from scripts.running import console

DEFAULT_WORKSPACE = Path("workspace")
DISCOVERY_SECONDS = 10.0
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
AddressOption = Annotated[
    str, typer.Option(help="Address to listen on; beyond this machine, TLS or a proxy is needed.")
]
CertOption = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, PEM, with its chain.")]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", help="The certificate's key, PEM, without passphrase.")]
ProxyOption = Annotated[
    str | None, typer.Option("--behind-proxy", help="Address under which a proxy shows it: https://audit.example.org")
]

identity_app = typer.Typer(
    help="The identity provider (OpenID Connect) that people sign in with.\n\nExample: miracl identity check",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("review")(review)
    app.add_typer(identity_app, name="identity")


def review(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    port: PortOption = 8501,
    address: AddressOption = LOOPBACK,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    behind_proxy: ProxyOption = None,
    check: Annotated[bool, typer.Option("--check", help="Say what would be served, and start nothing.")] = False,
) -> None:
    """Open the review page, on this machine alone unless told otherwise.

    Example: miracl review --workspace ward3 --port 8502
    """
    from audit_store.database import open_store
    from audit_store.identity import read_identity
    from audit_store.people import list_people
    from audit_store.rounds import open_round
    from audit_store.workspace import open_workspace
    from scripts.serve import serve

    listening = listen(port, address, tls_cert, tls_key, behind_proxy)
    space = open_workspace(workspace)
    identity = read_identity(space)
    if identity is not None:
        need_authlib()
    people = list_people(open_store(space))
    if people.empty and identity is None:
        raise StoreError(
            "someone who can sign in", "a workspace without people", "run: miracl person add NAME --role reviewer"
        )
    if listening.beyond and identity is None and not (people["active"] & ~people["demo"]).any():
        raise StoreError(
            "someone besides the demo account, which is closed beyond this machine",
            "the demo account alone",
            "run: miracl person add NAME --role reviewer",
        )
    open_round(space).close()
    if check:
        said = f"Would serve {listening.public_address}"
        console.print(f"{said}; sign-in {'with a password' if identity is None else f'with {identity.name}'}.")
        return
    raise typer.Exit(serve(workspace, port, "The review page is ready:", listening))


def listen(
    port: int, address: str, certificate: Path | None = None, key: Path | None = None, proxy: str | None = None
) -> Listening:
    """Check how the server is to be reached.

    Raises
    ------
    StoreError
        When others could reach it without TLS or a declared proxy, or those are not as they have to be.
    """
    from audit_store.database import utc_now
    from scripts.tls_files import check_files

    if (certificate is None) != (key is None):
        raise StoreError("a certificate and its key", "one of the two", "give --tls-cert and --tls-key")
    if proxy is not None:
        proxy = _origin(proxy)
    if certificate is not None and key is not None:
        found = check_files(certificate, key)
        days = (found.until - utc_now()).days
        if days < 14:
            console.print(f"The certificate ends in {days} days.")
        return Listening(port, address, certificate, key, proxy, found.names)
    if proxy is None and not is_loopback(address):
        raise StoreError(
            "TLS, or a proxy that has it, to listen beyond this machine",
            "neither",
            "give --tls-cert and --tls-key, or --behind-proxy https://its.name",
        )
    return Listening(port, address, proxy=proxy)


def _origin(given: str) -> str:
    """Check a proxy's public address: a scheme and a host, no path; HTTPS, or this machine for trying things."""
    try:
        parsed = urlparse(given.strip())
        port, host = parsed.port, parsed.hostname
    except ValueError:
        port, host = None, None
    plain = bool(host) and not (parsed.path.strip("/") or parsed.query or parsed.fragment or parsed.username)
    if not plain or not (parsed.scheme == "https" or (parsed.scheme == "http" and is_loopback(host or ""))):
        raise StoreError(
            "the proxy's address as https://name", "something else", "give --behind-proxy https://audit.example.org"
        )
    shown = f"[{host}]" if ":" in (host or "") else host
    return f"{parsed.scheme}://{shown}" + (f":{port}" if port else "")


def need_authlib() -> None:
    """Refuse to start with an identity provider where the package that speaks with it is not installed."""
    from importlib.util import find_spec

    if find_spec("authlib") is None:
        raise StoreError("the package authlib for OpenID sign-in", "none", "pip install 'miracl-audit[oidc]'")


@identity_app.command("check")
def identity_check(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    port: PortOption = 8501,
    behind_proxy: ProxyOption = None,
    public: Annotated[
        str | None, typer.Option("--public", help="Address that browsers use, where it is not the default's.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Read the file alone; ask the provider nothing.")] = False,
) -> None:
    """Say in one line what of the configuration is wrong; otherwise what it means.

    Example: miracl identity check --workspace ward3 --behind-proxy https://audit.example.org
    """
    from app.provider import redirect_address
    from audit_store.identity import IDENTITY_FILE, read_identity
    from audit_store.workspace import open_workspace

    space = open_workspace(workspace)
    identity = read_identity(space)
    if identity is None:
        raise StoreError("an identity provider", f"no {IDENTITY_FILE} in the workspace", "write one, as the docs show")
    need_authlib()
    shown = public or behind_proxy
    origin = Listening(port).public_address if shown is None else _origin(shown)
    if not offline:
        ask_provider(identity)
    console.print(f"{identity.name}: the file holds{'' if offline else ', and the provider answers'}.")
    console.print(f"Address to register there: {redirect_address(origin)}", soft_wrap=True)
    ways = "and accounts with a password may sign in too" if identity.passwords else "accounts with a password are shut"
    console.print(f"The account's name is the claim {identity.name_claim}; {ways}.")
    console.print("Roles, the first group that someone is in deciding:")
    for group, role in identity.roles:
        console.print(f"  {group}: {role}", markup=False)


def ask_provider(identity: Identity) -> None:
    """Fetch the provider's discovery document, and check that it is one.

    Raises
    ------
    StoreError
        When it does not answer, answers something else, or names an address that is not HTTPS.
    """
    expected = f"{identity.name}'s discovery document"
    try:
        with urllib.request.urlopen(identity.metadata_url, timeout=DISCOVERY_SECONDS) as answer:
            body: Any = json.loads(answer.read(1 << 20))
    except (urllib.error.URLError, OSError, ValueError) as error:
        came = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else "no answer that is one"
        raise StoreError(expected, came, "check server_metadata_url, and that this machine may reach it") from None
    missing = [name for name in _NEEDED if not isinstance(body, dict) or not isinstance(body.get(name), str)]
    if missing:
        raise StoreError(expected, f"one without {missing[0]}", "check server_metadata_url")
    for name in _NEEDED[1:]:
        parsed = urlparse(body[name])
        if parsed.scheme != "https" and not is_loopback(parsed.hostname or ""):
            raise StoreError(f"{expected} with https addresses", f"{name} without", "tell whoever runs the provider")
