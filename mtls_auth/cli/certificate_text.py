"""A certificate report as text for people."""

from collections.abc import Iterator

from mtls_auth.cli.certificate_report import CertificateReport, Digest, serial_decimal, serial_hex
from mtls_auth.cli.next_steps import next_step
from mtls_auth.cli.printable import printable

_LABEL_WIDTH = 20


def certificate_text(report: CertificateReport) -> str:
    """Return the report in lines. Every value is printable, whatever the certificate holds."""
    return "\n".join(
        [
            f"{printable(report.file)}, certificate {report.index}: {_judgement(report)}",
            *(f"  {label:<{_LABEL_WIDTH}}{printable(value)}" for label, value in _rows(report)),
        ]
    )


def _judgement(report: CertificateReport) -> str:
    rejected = report.rejected
    if rejected is None:
        return "accepted as a client certificate (who issued it was not checked)"
    return f"refused, {rejected.reason.value}: {printable(rejected.detail)}"


def _rows(report: CertificateReport) -> Iterator[tuple[str, str]]:
    if report.rejected is not None:
        yield "what to do", next_step(report.rejected.reason)
    for warning in report.warnings:
        yield "warning", warning
    yield from _facts(report)
    for mapped in report.mapped:
        yield f"{mapped.mapper} takes", mapped.name if mapped.name is not None else f"nothing: {mapped.detail}"
    yield from _digests(report)


def _facts(report: CertificateReport) -> Iterator[tuple[str, str]]:
    facts = report.facts
    if facts.version is None:
        return
    unreadable = "cannot be read"
    absent = "none" if facts.extensions_readable else unreadable
    yield "version", f"X.509 v{facts.version}"
    yield "subject", unreadable if facts.subject is None else facts.subject or "empty"
    yield "issuer", unreadable if facts.issuer is None else facts.issuer or "empty"
    yield "serial", f"{serial_hex(facts.serial_number)} (decimal {serial_decimal(facts.serial_number) or 'too long'})"
    yield "valid from", f"{facts.not_before:%Y-%m-%d %H:%M:%S} UTC" if facts.not_before else unreadable
    yield "valid until", f"{facts.not_after:%Y-%m-%d %H:%M:%S} UTC" if facts.not_after else unreadable
    bits = f", {facts.key_bits} bits" if facts.key_bits is not None else ""
    yield "key", f"{facts.key_type}{bits}" if facts.key_type else unreadable
    yield "signature", facts.signature or unreadable
    yield "key usage", absent if facts.key_usage is None else ", ".join(facts.key_usage) or "nothing"
    yield "extended key usage", absent if facts.extended_key_usage is None else ", ".join(facts.extended_key_usage)
    for kind, value in facts.alternative_names:
        yield "alternative name", f"{kind}:{value}"


def _digests(report: CertificateReport) -> Iterator[tuple[str, str]]:
    for label, digest in (("SHA-256", report.sha256), ("SHA-1", report.sha1)):
        if digest is not None:
            yield label, digest.hex
            yield f"{label} colons", digest.colons
            yield f"{label} base64", digest.base64
    if report.sha256 is not None:
        yield "x5t#S256", report.sha256.base64url
    if report.facts.spki_sha256 is not None:
        spki = Digest(report.facts.spki_sha256)
        yield "SPKI SHA-256", spki.hex
        yield "SPKI pin", f"sha256//{spki.base64}"
