"""The identity provider (OpenID Connect) that a workspace trusts, as its file ``identity.toml`` states it.

    [provider]
    name = "St. Anna"                       # on the button: Sign in with St. Anna
    server_metadata_url = "https://login.example.org/.well-known/openid-configuration"
    client_id = "miracl"
    client_secret_variable = "MIRACL_CLIENT_SECRET"   # or client_secret = "…"

    [claims]
    name = "preferred_username"             # or email, sub: becomes the account's name at the first sign-in
    groups = "groups"                       # a dotted path reaches into nested claims

    [roles]                                 # in several groups: the first listed decides
    "icu-stewards" = "steward"
    "icu-reviewers" = "reviewer"

    [rules]
    passwords = false                       # whether accounts with a password may sign in as well
    email_domains = ["example.org"]         # empty or missing: any

The file belongs to its owner alone (0600). Another path can be named by ``MIRACL_IDENTITY``.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import urlparse

from audit_store.errors import WorkspaceError
from audit_store.fileio import blake
from audit_store.tables import ROLES
from audit_store.workspace import Workspace

IDENTITY_VARIABLE = "MIRACL_IDENTITY"
IDENTITY_FILE = "identity.toml"
PROMPTS = ("select_account", "login", "none", "consent")
_SECTIONS: dict[str, frozenset[str]] = {
    "provider": frozenset(
        {"name", "server_metadata_url", "client_id", "client_secret", "client_secret_variable", "prompt", "scope"}
    ),
    "claims": frozenset({"name", "groups"}),
    "rules": frozenset({"passwords", "email_domains"}),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


@dataclass(frozen=True)
class Identity:
    """A provider, and what its claims mean here.

    Parameters
    ----------
    name
        Its name for people.
    metadata_url
        Address of its discovery document; HTTPS, or this machine.
    client_id, client_secret
        What this server is known by there.
    roles
        Role by group, in the order in which they are looked at: the first that a person is in decides.
    name_claim, groups_claim
        Where the account's name and the groups stand; a dotted path reaches into nested claims.
    passwords
        Whether accounts with a password may sign in as well.
    email_domains
        Domains of which the e-mail claim must be; empty for any.
    prompt, scope
        What the provider is asked for.
    """

    name: str
    metadata_url: str
    client_id: str
    client_secret: str = field(repr=False)
    roles: tuple[tuple[str, str], ...]
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    passwords: bool = True
    email_domains: tuple[str, ...] = ()
    prompt: str = "select_account"
    scope: str = "openid profile email"

    def role_of(self, groups: set[str]) -> str | None:
        """Role of somebody in these groups: that of the first group listed; None where none is."""
        return next((role for group, role in self.roles if group in groups), None)


def identity_path(workspace: Workspace) -> Path:
    """Where the provider is stated: `MIRACL_IDENTITY`, else ``identity.toml`` in the workspace."""
    named = os.environ.get(IDENTITY_VARIABLE)
    return Path(named).expanduser() if named else workspace.root / IDENTITY_FILE


def read_identity(workspace: Workspace) -> Identity | None:
    """Read the provider; None where the workspace names none.

    Raises
    ------
    WorkspaceError
        On the first thing in the file that is wrong, without quoting it.
    """
    path = identity_path(workspace)
    if not path.exists() and not os.environ.get(IDENTITY_VARIABLE):
        return None
    return identity_of(_parsed(path), path.name)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        body = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        came = getattr(error, "strerror", None) or type(error).__name__
        raise WorkspaceError(f"a file {path.name} that can be read", came, "see docs of OpenID sign-in") from None
    if mode & 0o077:
        raise WorkspaceError(f"{path.name} for its owner alone (0600)", f"mode {mode:04o}", f"chmod 600 {path.name}")
    try:
        return tomllib.loads(body)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at ([^)]*)\)", str(error))
        came = f"something else at {where.group(1)}" if where else "something else"
        raise WorkspaceError(f"{path.name} as TOML", came, "correct that line") from None


def identity_of(body: Mapping[str, Any], file: str = IDENTITY_FILE) -> Identity:
    """Check what the file says, and make an `Identity` of it.

    Raises
    ------
    WorkspaceError
        On the first thing that is wrong.
    """
    for name in body:
        if name not in (*_SECTIONS, "roles"):
            raise _wrong(file, "sections provider, claims, roles and rules", "another one", "remove it")
    parts = {name: _section(body, name, file) for name in (*_SECTIONS, "roles")}
    for name, keys in _SECTIONS.items():
        unknown = sorted(set(parts[name]) - keys)
        if unknown:
            raise _wrong(file, f"[{name}] with {', '.join(sorted(keys))}", unknown[0][:40], "correct its name")
    provider, claims, rules = parts["provider"], parts["claims"], parts["rules"]
    address = _text(provider, "provider", "server_metadata_url", file)
    parsed = urlparse(address)
    if not parsed.hostname or (parsed.scheme != "https" and parsed.hostname not in _LOOPBACK):
        raise _wrong(file, "server_metadata_url as an https address", "another one", "give the discovery document's")
    passwords = rules.get("passwords", True)
    if not isinstance(passwords, bool):
        raise _wrong(file, "passwords = true or false", type(passwords).__name__, "correct it")
    prompt = _text(provider, "provider", "prompt", file, PROMPTS[0])
    if prompt not in PROMPTS:
        raise _wrong(file, f"prompt of {', '.join(PROMPTS)}", "another word", "name one of them")
    scope = _text(provider, "provider", "scope", file, Identity.scope)
    if "openid" not in scope.split():
        raise _wrong(file, "a scope with openid in it", "one without", "add it")
    return Identity(
        name=_text(provider, "provider", "name", file),
        metadata_url=address,
        client_id=_text(provider, "provider", "client_id", file),
        client_secret=_client_secret(provider, file),
        roles=_roles(parts["roles"], file),
        name_claim=_text(claims, "claims", "name", file, Identity.name_claim),
        groups_claim=_text(claims, "claims", "groups", file, Identity.groups_claim),
        passwords=passwords,
        email_domains=_domains(rules.get("email_domains", []), file),
        prompt=prompt,
        scope=scope,
    )


def _wrong(file: str, expected: str, came: str, todo: str) -> WorkspaceError:
    return WorkspaceError(f"in {file} {expected}", came, todo)


def _section(body: Mapping[str, Any], name: str, file: str) -> dict[str, Any]:
    part = body.get(name, {})
    if not isinstance(part, dict):
        raise _wrong(file, f"[{name}] as a section", type(part).__name__, f"write [{name}] above its lines")
    return part


def _text(part: Mapping[str, Any], section: str, key: str, file: str, default: str | None = None) -> str:
    value = part.get(key, default)
    if value is None:
        raise _wrong(file, f"{key} in [{section}]", "none", "add it")
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 2_000:
        raise _wrong(file, f"{key} in [{section}] as text of one line", "something else", "correct it")
    return value.strip()


def _client_secret(provider: Mapping[str, Any], file: str) -> str:
    variable = provider.get("client_secret_variable")
    if (variable is None) == (provider.get("client_secret") is None):
        raise _wrong(
            file, "client_secret or client_secret_variable", "both" if variable else "neither", "give one of the two"
        )
    if variable is None:
        return _text(provider, "provider", "client_secret", file)
    name = _text(provider, "provider", "client_secret_variable", file)
    if not os.environ.get(name):
        raise _wrong(file, "a variable of the environment that holds the client's secret", "an empty one", "set it")
    return os.environ[name]


def _roles(part: Mapping[str, Any], file: str) -> tuple[tuple[str, str], ...]:
    if not part:
        raise _wrong(file, "[roles] with a role for at least one group", "none", 'add lines like "group" = "reviewer"')
    for role in part.values():
        if role not in ROLES:
            raise _wrong(file, f"roles of {', '.join(ROLES)}", "another word", "correct it in [roles]")
    return tuple((group, str(role)) for group, role in part.items())


def _domains(given: Any, file: str) -> tuple[str, ...]:
    if not _is_words(given) or not all(_DOMAIN.fullmatch(word.casefold()) for word in given):
        raise _wrong(file, 'email_domains as a list like ["example.org"]', "something else", "correct it")
    return tuple(word.casefold() for word in given)


def _is_words(given: Any) -> TypeGuard[list[str]]:
    return isinstance(given, list) and all(isinstance(word, str) for word in given)


def cookie_secret(workspace: Workspace) -> str:
    """Key of the cookies of every server on this workspace, derived from the workspace's secret."""
    return blake("cookies", key=workspace.secret)
