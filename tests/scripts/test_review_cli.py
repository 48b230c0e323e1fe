"""`miracl review` and `miracl identity check`: beyond this machine only with TLS or a declared proxy; one line else."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from audit_store import people
from audit_store.attestations import attestation_required
from audit_store.errors import StoreError
from audit_store.people import add_person, disable_person, operator
from scripts.cli import app as miracl
from scripts.cli import guarded
from scripts.review_cli import listen
from scripts.tls_files import check_files
from tests.app.fake_provider import providing
from tests.app.invented import FLAGS, NAME, Invented, make_workspace

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invented]:
    monkeypatch.setattr(people, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    made = make_workspace(tmp_path / "workspace", FLAGS[:1])
    yield made
    made.store.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def go(*words: object) -> tuple[int, str]:
        status = guarded(lambda standalone_mode: miracl([str(w) for w in words], standalone_mode=standalone_mode))
        said = capsys.readouterr()
        return status, said.out + said.err

    return go


def certificate(folder: Path, name: str, *more: str, names: str | None = "DNS:audit.test,DNS:*.wards.test") -> Path:
    folder.mkdir(exist_ok=True)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=test"]
    words += ["-addext", f"subjectAltName={names}"] if names else []
    words += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"), *(more or ("-nodes",))]
    subprocess.run(words, check=True, capture_output=True)
    return folder / f"{name}.pem"


def test_beyond_this_machine_there_is_tls_or_a_declared_proxy_or_nothing(place: Invented, run: Run) -> None:
    for address in ("0.0.0.0", "192.0.2.4", "::", "audit.test"):
        status, said = run("review", "-w", place.folder, "--address", address, "--check")
        assert (status, said.count("\n")) == (2, 1)
        assert "--tls-cert and --tls-key, or --behind-proxy" in said
    for address in ("127.0.0.1", "::1", "localhost"):
        assert run("review", "-w", place.folder, "--address", address, "--check")[0] == 0
    status, said = run("review", "-w", place.folder, "--behind-proxy", "https://audit.example.org/", "--check")
    assert (status, "https://audit.example.org;" in said) == (0, True)
    for proxy in (
        "audit.example.org",
        "http://audit.example.org",
        "https://a.org/path",
        "https://u@a.org",
        "https://a:b",
    ):
        status, said = run("review", "-w", place.folder, "--behind-proxy", proxy, "--check")
        assert (status, said.count("\n")) == (2, 1), proxy


def test_a_certificate_is_tried_before_it_serves(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    good, other = certificate(folder, "good"), certificate(folder, "other")
    nameless = certificate(folder, "nameless", names=None)
    locked = certificate(folder, "locked", "-passout", "pass:secret")
    key = good.with_suffix(".key")
    found = check_files(good, key)
    assert found.names == ("audit.test", "*.wards.test")
    place = listen(8600, "0.0.0.0", good, key)
    assert place.public_address == "https://audit.test:8600"
    for pair, said in (
        ((good, other.with_suffix(".key")), "another certificate"),
        ((good, folder / "none"), "No such file"),
        ((key, good), "can't be used"),
        ((nameless, nameless.with_suffix(".key")), "names none"),
        ((locked, locked.with_suffix(".key")), "can't be used"),
    ):
        with pytest.raises(StoreError, match=said) as caught:
            check_files(*pair)
        assert "secret" not in str(caught.value)
    with pytest.raises(StoreError, match="one of the two"):
        listen(8600, "0.0.0.0", good, None)


def test_a_certificate_out_of_date_is_refused(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    for begin, end, said in ((-60, -1, "expired"), (10, 60, "not valid yet")):
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now + timedelta(days=begin))
            .not_valid_after(now + timedelta(days=end))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("audit.test")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        (tmp_path / "c.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (tmp_path / "k.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        with pytest.raises(StoreError, match=said):
            check_files(tmp_path / "c.pem", tmp_path / "k.pem")


def test_beyond_this_machine_the_demo_account_alone_is_nobody(place: Invented, run: Run) -> None:
    disable_person(place.store, operator(), NAME)
    add_person(place.store, operator(), "demo", "demo-password", role="steward", demo=True)
    assert run("review", "-w", place.folder, "--check")[0] == 0
    status, said = run("review", "-w", place.folder, "--behind-proxy", "https://audit.example.org", "--check")
    assert status == 2
    assert "demo account" in said


def test_the_identity_check_says_what_is_wrong_or_what_it_means(
    place: Invented, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.folder / "identity.toml"
    assert run("identity", "check", "-w", place.folder)[0] == 2
    with providing() as provider:
        body = (
            f'[provider]\nname = "St. Anna"\nserver_metadata_url = "{provider.metadata_url}"\nclient_id = "miracl"\n'
            'client_secret = "hush-hush"\n[roles]\n"icu-stewards" = "steward"\n"icu-reviewers" = "reviewer"\n'
        )
        path.write_text(body, encoding="utf-8")
        path.chmod(0o600)
        status, said = run("identity", "check", "-w", place.folder, "--behind-proxy", "https://audit.example.org")
        assert status == 0, said
        assert "https://audit.example.org/oauth2callback" in said
        assert said.index("icu-stewards: steward") < said.index("icu-reviewers: reviewer")
        assert "hush" not in said
        assert run("review", "-w", place.folder, "--check") == (
            0,
            "Would serve http://localhost:8501; sign-in with St. Anna.\n",
        )
        monkeypatch.setattr(type(provider), "metadata", lambda self: {"issuer": "x"})
        status, said = run("identity", "check", "-w", place.folder)
        assert (status, said.count("\n")) == (2, 1)
        assert "authorization_endpoint" in said
    status, said = run("identity", "check", "-w", place.folder)
    assert (status, said.count("\n")) == (2, 1)
    assert "no answer" in said
    path.chmod(0o644)
    for words in (("identity", "check"), ("review", "--check")):
        status, said = run(*words, "-w", place.folder)
        assert (status, said.count("\n")) == (2, 1)
        assert "chmod 600" in said
    path.chmod(0o600)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install" in run("review", "-w", place.folder, "--check")[1]


def test_attestations_are_noted_and_asked_for_from_the_command_line(place: Invented, run: Run) -> None:
    assert run("person", "attest", NAME, "--agreement", "DUA [b]1.5", "-w", place.folder)[0] == 2
    status, said = run(
        "person", "attest", NAME, "--agreement", "DUA [b]1.5", "--until", "2027-06-30", "-w", place.folder
    )
    assert (status, said) == (0, f"{NAME}: DUA [b]1.5, until 2027-06-30.\n")
    assert run("person", "require-attestation", "-w", place.folder)[0] == 0
    assert attestation_required(place.store)
    assert run("person", "require-attestation", "--off", "-w", place.folder)[0] == 0
    assert not attestation_required(place.store)
    assert "any more" in run("person", "attest", NAME, "-w", place.folder)[1]
