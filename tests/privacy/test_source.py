"""What the source does not do: run data as code, put others' text into pages as it is, call out, import undeclared."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, requires
from pathlib import Path

import pytest

from app.run import command

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "audit_store", "app", "scripts")
RUNS_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
CALLS_OUT = {"requests", "httpx", "aiohttp", "urllib.request", "http.client", "ftplib", "smtplib", "telnetlib"}
MAY_CALL = {
    "scripts/serve.py",  # asks its own server whether it is up
    "scripts/review_cli.py",
    "scripts/benchmarks",  # the same, and a browser's part played
}
LOADED_BY_NAME = {
    "psycopg",  # SQLAlchemy, by the store's URL
    "authlib",  # Streamlit, for st.login
}


@cache
def modules() -> list[tuple[str, ast.Module]]:
    """Each module of the rooms with its path."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of the modules that a module imports from outside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, object], int]]:
    """Each call as its dotted name, its constant keywords and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)}
            yield ast.unparse(node.func), given, node.lineno


def dangerous(tree: ast.AST) -> list[str]:
    """Where a module could run data as code, or a shell."""
    found = [f"imports {name}" for name in imports(tree) if name.partition(".")[0] in RUNS_DATA]
    for name, given, line in calls(tree):
        last = name.rpartition(".")[2]
        bad = (
            name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp")
            or (name == "torch.load" and given.get("weights_only") is not True)
            or (last in ("load", "load_all", "unsafe_load", "full_load") and name.startswith("yaml."))
            or last in ("read_pickle", "to_pickle")
            or given.get("allow_pickle") is True
            or given.get("shell") is True
            or given.get("unsafe_allow_html") is True
            or given.get("unsafe_allow_javascript") is True
            or given.get("trust_remote_code") is True
            or name in ("ssl._create_unverified_context", "hashlib.md5", "hashlib.sha1")
        )
        if bad:
            found.append(f"line {line}: {name}")
    return found


def test_no_module_runs_data_as_code_or_opens_a_shell() -> None:
    assert {path: found for path, tree in modules() if (found := dangerous(tree))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(words, shell=True)",
        "st.markdown(text, unsafe_allow_html=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_what_would_run_data_is_found(code: str) -> None:
    assert dangerous(ast.parse(code))


def test_pages_take_their_escape_from_one_place_which_shows_control_characters_too() -> None:
    wrong = {
        path: name
        for path, tree in modules()
        for name in imports(tree)
        if path.startswith("app/") and path != "app/plain.py" and name.partition(".")[0] in ("html", "markupsafe")
    }
    assert wrong == {}


def test_the_server_sends_no_usage_statistics_and_no_page_shows_an_error_s_words() -> None:
    flags = [word for word in command(8501) if word.startswith("--")]
    assert {"--browser.gatherUsageStats=false", "--client.showErrorDetails=none"} <= set(flags)


def test_only_what_waits_for_its_own_server_opens_addresses() -> None:
    found = {path for path, tree in modules() for name in imports(tree) if name in CALLS_OUT}
    assert {path for path in found if not any(path.startswith(allowed) for allowed in MAY_CALL)} == set()


def named(wanted: list[str]) -> set[str]:
    """Names of distributions in requirements that hold without an extra, in lower case."""
    plain = (one for one in wanted if "extra ==" not in one)
    return {re.split(r"[\s\[(<>=!~;]", one, maxsplit=1)[0].lower().replace("_", "-") for one in plain}


def declared() -> tuple[set[str], set[str]]:
    """Distributions that pyproject names for running it (with all extras but that of the tests), and for the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    run = [*project["dependencies"], *(one for extra in extras if extra != "test" for one in extras[extra])]
    return named(run), named(extras["test"])


def brought(names: set[str]) -> set[str]:
    """What those distributions require themselves."""
    found: set[str] = set()
    for name in names:
        try:
            found |= named(requires(name) or [])
        except PackageNotFoundError:  # an extra that is not installed here
            continue
    return found


def imported() -> set[str]:
    """Distributions that the rooms import, in lower case."""
    known = packages_distributions()
    tops = {name.partition(".")[0] for _, tree in modules() for name in imports(tree)}
    found = {known[top][0] for top in tops - set(ROOMS) - set(sys.stdlib_module_names) if top in known}
    return {name.lower().replace("_", "-") for name in found}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    run, tests = declared()
    assert imported() - run - tests - brought(run) == set()
    assert run - imported() - LOADED_BY_NAME == set()


def test_no_library_it_runs_on_has_a_licence_that_binds_what_is_built_on_it() -> None:
    bound = {}
    for name in imported():
        about = metadata(name)
        told = [about.get("License-Expression") or "", (about.get("License") or "")[:80]]
        words = " ".join([*told, *about.get_all("Classifier", [])])
        if re.search(r"\bA?GPL|GNU (Affero )?General Public", words):
            bound[name] = words[:80]
    assert bound == {}
