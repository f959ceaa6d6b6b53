"""The local CA and its certificates, as clients of the strict kind see them."""

import datetime as dt
import shlex
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509

from openecr.adapters.tls import (
    TlsFiles,
    check_certificate,
    ensure_certificate,
    own_certificate,
    registry_names,
    trust_hints,
)
from openecr.domain.errors import CannotStart
from tests.requirements import require_tool

DAY = 24 * 60 * 60 * 1_000_000
NOW = int(dt.datetime.now(tz=dt.UTC).timestamp()) * 1_000_000
NAMES = registry_names(
    regions=("us-east-1", "eu-west-1"),
    domains=("localhost", "ecr.example"),
    plain_names=("images.example",),
    addresses=("192.0.2.7", "0.0.0.0", "::"),
)


def shake_hands(files: TlsFiles, name: str) -> None:
    """Connect as a strict client that trusts the CA and nothing else."""
    assert files.authority is not None
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(files.certificate, files.key)
    client = ssl.create_default_context(cafile=str(files.authority))
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    one, other = socket.socketpair()

    def serve() -> None:
        try:
            serving.wrap_socket(one, server_side=True).close()
        except OSError:
            one.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        client.wrap_socket(other, server_hostname=name).close()
    finally:
        other.close()
        server.join()


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "127.0.0.1",
        "::1",
        "192.0.2.7",
        "images.example",
        "000000000000.dkr.ecr.us-east-1.localhost",
        "123456789012.dkr.ecr.eu-west-1.ecr.example",
        "123456789012.dkr.ecr-fips.us-east-1.localhost",
        "123456789012.dkr-ecr.us-east-1.ecr.example",
        "123456789012.dkr-ecr-fips.eu-west-1.localhost",
        "api.ecr.us-east-1.localhost",
        "api.ecr-fips.eu-west-1.ecr.example",
        "ecr.us-east-1.ecr.example",
        "ecr-fips.us-east-1.localhost",
        "sts.eu-west-1.ecr.example",
        "sts-fips.us-east-1.localhost",
        "sts.localhost",
    ],
)
def test_a_strict_client_that_trusts_the_ca_accepts_every_name_of_the_registry(
    tmp_path: Path, name: str
) -> None:
    shake_hands(ensure_certificate(tmp_path, NAMES, now_at=NOW), name)


@pytest.mark.parametrize(
    "name",
    [
        "example.org",
        "dkr.ecr.us-east-1.localhost",
        "1.2.dkr.ecr.us-east-1.localhost",
        "s3.us-east-1.localhost",
        "api.ecr.us-west-2.localhost",
    ],
)
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ensure_certificate(tmp_path, NAMES, now_at=NOW), name)


def test_addresses_that_mean_all_of_them_are_not_named() -> None:
    assert "0.0.0.0" not in NAMES
    assert "::" not in NAMES


def test_openssl_finds_the_chain_strictly_right(tmp_path: Path) -> None:
    openssl = require_tool("openssl")
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    command = [openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(files.authority)]
    done = subprocess.run([*command, str(files.certificate)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_keys_are_private(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, NAMES, now_at=NOW)
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600


def test_lifetimes_are_within_what_clients_accept(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    made = certificate(files.certificate)
    assert made.not_valid_after_utc - made.not_valid_before_utc <= dt.timedelta(days=825)
    assert files.authority is not None
    authority = certificate(files.authority)
    assert authority.not_valid_after_utc > made.not_valid_after_utc


def test_a_certificate_that_serves_stays(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    before = files.certificate.read_bytes()
    ensure_certificate(tmp_path, tuple(reversed(NAMES)), now_at=NOW + 700 * DAY)
    assert files.certificate.read_bytes() == before


def test_a_certificate_about_to_end_is_renewed_by_the_same_ca(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    assert files.authority is not None
    before, authority = certificate(files.certificate), files.authority.read_bytes()
    ensure_certificate(tmp_path, NAMES, now_at=NOW + 800 * DAY)
    after = certificate(files.certificate)
    assert after.not_valid_after_utc > before.not_valid_after_utc
    assert files.authority.read_bytes() == authority
    assert check_certificate(files, now_at=NOW + 800 * DAY) == []


def test_new_names_get_a_new_certificate_of_the_same_ca(tmp_path: Path) -> None:
    authority = ensure_certificate(tmp_path, ("localhost",), now_at=NOW).authority
    assert authority is not None
    content = authority.read_bytes()
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    assert authority.read_bytes() == content
    shake_hands(files, "images.example")


def test_an_ended_ca_is_made_anew_with_its_certificate(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW - 3640 * DAY)
    assert check_certificate(files, now_at=NOW) != []
    shake_hands(ensure_certificate(tmp_path, NAMES, now_at=NOW), "localhost")


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "server.pem", "server.key"])
@pytest.mark.parametrize("damage", ["gone", "garbage", "another"])
def test_what_is_damaged_or_does_not_match_is_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    ensure_certificate(tmp_path / "other", NAMES, now_at=NOW)
    ensure_certificate(tmp_path, NAMES, now_at=NOW)
    path = tmp_path / "tls" / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            b"garbage" if damage == "garbage" else (tmp_path / "other" / "tls" / name).read_bytes()
        )
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    assert check_certificate(files, now_at=NOW) == []
    shake_hands(files, "localhost")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls").touch()
    with pytest.raises(CannotStart):
        ensure_certificate(tmp_path, NAMES, now_at=NOW)


def test_what_is_wrong_with_a_certificate_is_told(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    assert check_certificate(files, now_at=NOW) == []
    assert "ends on" in check_certificate(files, now_at=NOW + 800 * DAY)[0]
    assert "valid only from" in check_certificate(files, now_at=NOW - 9 * DAY)[0]
    files.key.unlink()
    assert "missing" in check_certificate(files, now_at=NOW)[0]


def test_the_operators_own_files_must_be_readable_and_belong_together(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES, now_at=NOW)
    other = ensure_certificate(tmp_path / "other", NAMES, now_at=NOW)
    assert own_certificate(files.certificate, files.key) == TlsFiles(
        certificate=files.certificate, key=files.key
    )
    for certificate_file, key in ((files.certificate, other.key), (tmp_path / "absent", files.key)):
        with pytest.raises(CannotStart, match="do not belong together"):
            own_certificate(certificate_file, key)


def test_hints_name_the_ca_and_every_host_in_commands_that_a_shell_reads() -> None:
    authority = Path("/data folder/tls/ca.pem")
    docker, podman, aws, system = trust_hints(authority, ["localhost:5050", "images.example"])
    for host in ("localhost:5050", "images.example"):
        assert f"/etc/docker/certs.d/{host}/ca.crt" in docker
        assert f"/etc/containers/certs.d/{host}/ca.crt" in podman
    for hint in (docker, podman, aws, system):
        assert "\n" not in hint
        assert any(str(authority) in word for word in shlex.split(hint.partition(":")[2].replace("`", "")))
