"""`--tls auto`: a local CA and a certificate for every name of the registry, in `<data>/tls`.

The certificates keep RFC 5280's strict profile, which Python 3.13 and Go insist on.
"""

import datetime as dt
import ipaddress
import re
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openecr.adapters.private_files import ensure_private_folder, sync_folder, write_private_file
from openecr.domain.errors import CannotStart

AUTHORITY_DAYS = 3650
SERVER_DAYS = 820
"""Apple's systems refuse certificates of a private CA beyond 825 days."""
RENEWAL_DAYS = 30
_BACKDATED = dt.timedelta(days=1)  # for clients whose clocks are behind

_MACHINE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)

_REGIONAL_NAMES = (
    *("*.dkr.ecr", "*.dkr.ecr-fips", "*.dkr-ecr", "*.dkr-ecr-fips"),
    *("api.ecr", "api.ecr-fips", "ecr", "ecr-fips"),
    *("sts", "sts-fips"),
)
"""What stands before region and domain in the names of the registries, of ECR's API and of STS."""

Name = x509.DNSName | x509.IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What the server needs to speak TLS; `authority` is None for the operator's own certificate."""

    certificate: Path
    key: Path
    authority: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def registry_names(
    *, regions: Sequence[str], domains: Sequence[str], plain_names: Sequence[str], addresses: Sequence[str]
) -> tuple[str, ...]:
    """Return the names and addresses that a server's certificate carries, each once; this machine's name among them.

    Shapes: ECR user guide, "Amazon ECR endpoints", and AWS general reference, "Service endpoints" (also FIPS and
    dual-stack); `*` stands for the account. Under a domain of AWS's they are what clients call without being told of an
    endpoint, credential helpers for one.
    """
    regional = [
        f"{prefix}.{region}.{domain}"
        for domain in domains
        for region in regions
        for prefix in _REGIONAL_NAMES
    ]
    sts = [f"sts.{domain}" for domain in domains]
    specific = [text for text in addresses if not ipaddress.ip_address(text).is_unspecified]
    own = socket.gethostname().lower()
    machine = [own] if _MACHINE_NAME.fullmatch(own) else []
    return tuple(
        dict.fromkeys(("localhost", "127.0.0.1", "::1", *machine, *specific, *plain_names, *regional, *sts))
    )


def certificate_files(data: Path) -> TlsFiles:
    """Return where the files of `--tls auto` are, whether they exist or not."""
    folder = data / "tls"
    return TlsFiles(certificate=folder / "server.pem", key=folder / "server.key", authority=folder / "ca.pem")


def ensure_certificate(data: Path, names: Sequence[str], *, now_at: int) -> TlsFiles:
    """Return certificate, key and CA for `names`, made or renewed where needed. Raises CannotStart.

    The server's certificate is renewed in its last thirty days and when the names change. The CA, which clients were
    told to trust, stays as long as it can be used.
    """
    folder = data / "tls"
    files = certificate_files(data)
    now = _instant(now_at)
    try:
        ensure_private_folder(folder)
        if any(folder.iterdir()):
            sync_folder(folder)  # who made what lies there may have been killed before it was durable
        authority = _authority(folder / "ca.pem", folder / "ca.key", now)
        wanted = tuple(map(_name, names))
        current = _load(files.certificate, files.key)
        if current is None or not _serves(current, authority, wanted, now):
            _save(_issue(authority, wanted, now), files.certificate, files.key)
    except OSError as error:
        raise CannotStart(message=f"cannot keep certificates in {folder}: {error}") from error
    return files


def own_certificate(certificate: Path, key: Path) -> TlsFiles:
    """Return the operator's own files. Raises CannotStart where they cannot be read or do not belong together."""
    if _load(certificate, key) is None:
        raise CannotStart(message=_unusable(certificate, key))
    return TlsFiles(certificate=certificate, key=key)


def check_certificate(files: TlsFiles, *, now_at: int) -> list[str]:
    """Return what is wrong with a certificate and its key, a line each; empty where nothing is."""
    current = _load(files.certificate, files.key)
    if current is None:
        return [_unusable(files.certificate, files.key)]
    now, problems = _instant(now_at), list[str]()
    if now < current.not_valid_before_utc:
        problems.append(f"{files.certificate} is valid only from {current.not_valid_before_utc:%Y-%m-%d}")
    if _days_left(current, now) < RENEWAL_DAYS:
        problems.append(f"{files.certificate} ends on {current.not_valid_after_utc:%Y-%m-%d}")
    if not _names_of(current):
        problems.append(f"{files.certificate} names no host (subjectAltName), so clients refuse it")
    return problems


def trust_hints(authority: Path, hosts: Sequence[str]) -> list[str]:
    """Return, in a line each, how clients come to trust the CA. `hosts` are registry names with their ports."""
    ca = shlex.quote(str(authority))
    install = f"sudo install -D -m 644 {ca}"
    system = "/usr/local/share/ca-certificates/openecr.crt"
    docker = " && ".join(f"{install} /etc/docker/certs.d/{host}/ca.crt" for host in hosts)
    containers = " && ".join(f"{install} /etc/containers/certs.d/{host}/ca.crt" for host in hosts)
    return [
        f"docker:                   {docker}",
        f"podman, skopeo, buildah:  {containers}",
        f"AWS CLI, boto3:           export AWS_CA_BUNDLE={ca}   (`openecr env` does)",
        f"everything else (Debian): {install} {system} && sudo update-ca-certificates",
    ]


def _authority(certificate: Path, key: Path, now: dt.datetime) -> _Issued:
    found = _load(certificate, key)
    if found is not None and _days_left(found, now) >= RENEWAL_DAYS:
        return _Issued(certificate=found, key=_load_key(key))
    made = _make_authority(now)
    _save(made, certificate, key)
    return made


def _make_authority(now: dt.datetime) -> _Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number keeps the names of two authorities apart: clients look issuers up by name.
    serial = x509.random_serial_number()
    name = _subject(f"OpenECR local CA {serial % 0x1_0000_0000:08x}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(
            subject_name=name,
            issuer_name=name,
            public_key=key.public_key(),
            serial_number=serial,
            not_valid_before=now - _BACKDATED,
            not_valid_after=now + dt.timedelta(days=AUTHORITY_DAYS),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, SHA256())
    )
    return _Issued(certificate=certificate, key=key)


def _issue(authority: _Issued, names: Sequence[Name], now: dt.datetime) -> _Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    end = min(now + dt.timedelta(days=SERVER_DAYS) - _BACKDATED, authority.certificate.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder(
            subject_name=_subject("OpenECR"),
            issuer_name=authority.certificate.subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - _BACKDATED,
            not_valid_after=end,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier.value),
            critical=False,
        )
        .sign(authority.key, SHA256())
    )
    return _Issued(certificate=certificate, key=key)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _serves(
    certificate: x509.Certificate, authority: _Issued, wanted: Sequence[Name], now: dt.datetime
) -> bool:
    """Tell whether a certificate will do: of this CA, for exactly these names, and not about to end."""
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    started = certificate.not_valid_before_utc <= now
    return started and _days_left(certificate, now) >= RENEWAL_DAYS and _names_of(certificate) == set(wanted)


def _names_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _days_left(certificate: x509.Certificate, now: dt.datetime) -> int:
    return (certificate.not_valid_after_utc - now).days


def _name(text: str) -> Name:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _instant(now_at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(now_at // 1_000_000, tz=dt.UTC)


def _load(certificate: Path, key: Path) -> x509.Certificate | None:
    """Return a certificate if it and its key can be read and belong together."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        return None
    return loaded if loaded.public_key() == private.public_key() else None


def _unusable(certificate: Path, key: Path) -> str:
    return f"{certificate} and {key} are missing, unreadable, behind a passphrase, or do not belong together"


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "the CA's key was made by us"
    return key


def _save(issued: _Issued, certificate: Path, key: Path) -> None:
    """Write the pair. A crash between the two leaves one that does not match, which is made anew."""
    write_private_file(key, issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_private_file(certificate, issued.certificate.public_bytes(Encoding.PEM))
