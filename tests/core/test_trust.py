"""Whom new files do not trust any more, of those who are connected."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from mtls_auth import Reason
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from mtls_auth.trust import Trust
from tests.core.tls_lab import PKI, endless_crl
from tests.pki import revocation_list

NOW = datetime.now(UTC)


def trust(*authorities: CertificateAuthority, crls: Sequence[bytes] | None = None, at: datetime = NOW) -> Trust:
    """Return what files with these authorities and CRLs make; None where no CRL is looked at."""
    lists = None if crls is None else map(x509.load_pem_x509_crl, crls)
    return Trust.of((authority.certificate for authority in authorities), lists, at=at)


@pytest.fixture(scope="session")
def bob(pki: PKI) -> IssuedCertificate:
    """Another client of the same CA."""
    return pki.ca.issue("bob")


def test_the_same_generation(pki: PKI) -> None:
    """Its own connections a generation does not hold against anything: the handshake did."""
    same = trust(pki.ca, crls=[revocation_list(pki.ca, pki.alice)])
    assert same.objection_to(pki.alice.der, accepted_under=same) is None
    assert same.objection_to(b"not read", accepted_under=same) is None


def test_authorities(pki: PKI) -> None:
    """A CA more changes nothing; one that is gone takes its clients with it."""
    one, both, other = trust(pki.ca), trust(pki.ca, pki.elsewhere), trust(pki.elsewhere)
    assert trust(pki.ca).objection_to(pki.alice.der, accepted_under=one) is None
    assert both.objection_to(pki.alice.der, accepted_under=one) is None
    assert other.objection_to(pki.alice.der, accepted_under=both) is Reason.UNTRUSTED
    assert other.objection_to(pki.alice.der, accepted_under=one) is Reason.UNTRUSTED


def test_a_new_key_of_the_same_name(pki: PKI) -> None:
    """A CA is its certificate: another one of the same name is another CA."""
    renewed = CertificateAuthority()
    assert renewed.subject == pki.ca.subject
    assert trust(renewed).objection_to(pki.alice.der, accepted_under=trust(pki.ca)) is Reason.UNTRUSTED


def test_revoked(pki: PKI, bob: IssuedCertificate) -> None:
    """Who is on a CRL of the new files is revoked, and nobody else is."""
    before, after = (
        trust(pki.ca, crls=[revocation_list(pki.ca)]),
        trust(pki.ca, crls=[revocation_list(pki.ca, pki.alice)]),
    )
    assert after.objection_to(pki.alice.der, accepted_under=before) is Reason.REVOKED
    assert after.objection_to(bob.der, accepted_under=before) is None
    assert before.objection_to(pki.alice.der, accepted_under=after) is None
    assert trust(pki.ca).objection_to(pki.alice.der, accepted_under=before) is None


def test_crls_of_other_issuers(pki: PKI) -> None:
    """A serial number is revoked for its own issuer alone; without that one's CRL nobody knows, as in a handshake."""
    for crls in ([revocation_list(pki.elsewhere, pki.alice)], []):
        after = trust(pki.ca, crls=crls)
        assert after.objection_to(pki.alice.der, accepted_under=trust(pki.ca)) is Reason.UNTRUSTED
    both = trust(pki.ca, crls=[revocation_list(pki.elsewhere, pki.alice), revocation_list(pki.ca)])
    assert both.objection_to(pki.alice.der, accepted_under=trust(pki.ca)) is None


def test_a_ca_that_is_gone(pki: PKI) -> None:
    """When one CA goes, whoever another one signed stays; whose issuer is not among ours goes: it may be of either."""
    both, one = trust(pki.ca, pki.elsewhere), trust(pki.ca)
    assert one.objection_to(pki.alice.der, accepted_under=both) is None
    assert one.objection_to(pki.stranger.der, accepted_under=both) is Reason.UNTRUSTED
    assert one.objection_to(pki.leaves.from_impostor_ca.der, accepted_under=both) is Reason.UNTRUSTED
    below = pki.leaves.through_intermediate.der
    assert one.objection_to(below, accepted_under=both) is Reason.UNTRUSTED


def test_moments(pki: PKI) -> None:
    """CAs and CRLs count while they are in force; the next moment at which that changes ends the generation."""
    ca = CertificateAuthority(not_before=NOW - timedelta(days=10), not_after=NOW + timedelta(days=10))
    starts = ca.certificate.not_valid_before_utc, ca.certificate.not_valid_after_utc
    lists = [revocation_list(ca, pki.alice)]
    (read,) = map(x509.load_pem_x509_crl, lists)
    moments = sorted([*starts, read.last_update_utc, read.next_update_utc or NOW])
    for at, ends in zip([moments[0] - timedelta(seconds=1), *moments], [*moments, None], strict=True):
        found = trust(ca, crls=lists, at=at)
        assert found.ends == ends
        assert bool(found.authorities) is (starts[0] <= at <= starts[1])
        assert bool(found.revoked) is (read.last_update_utc <= at <= (read.next_update_utc or NOW))
        assert found.revoked is not None
    assert trust(ca, at=NOW).revoked is None
    assert trust(crls=[endless_crl(pki.ca)]).ends is None


def test_after_a_crl_s_end(pki: PKI) -> None:
    """When the CRL has ended, its CA's clients are unknown, as to a handshake; when the CA has, untrusted."""
    ca = CertificateAuthority(not_after=NOW + timedelta(days=10))
    leaf = ca.issue("alice").der
    lists = [revocation_list(ca, ends=timedelta(days=5))]
    before, ended = trust(ca, crls=lists), trust(ca, crls=lists, at=NOW + timedelta(days=6))
    assert before.objection_to(leaf, accepted_under=trust(ca, crls=lists)) is None
    assert ended.objection_to(leaf, accepted_under=before) is Reason.UNTRUSTED
    assert trust(ca, at=NOW + timedelta(days=11)).objection_to(leaf, accepted_under=trust(ca)) is Reason.UNTRUSTED


def test_what_cannot_be_read(pki: PKI) -> None:
    """A certificate that cannot be read is refused, where anything has changed."""
    for leaf in (b"", b"0\x03\x02\x01\x00", b"\xff" * 100):
        assert trust(pki.ca).objection_to(leaf, accepted_under=trust(pki.ca)) is Reason.MALFORMED_CERTIFICATE


def test_several_crls(pki: PKI, bob: IssuedCertificate) -> None:
    """The CRLs of one issuer add up, in any order."""
    lists = [
        revocation_list(pki.ca, pki.alice),
        revocation_list(pki.elsewhere, pki.stranger),
        revocation_list(pki.ca, bob),
    ]
    for crls in (lists, lists[::-1]):
        after = trust(pki.ca, crls=crls)
        for leaf in (pki.alice, bob, pki.stranger):
            assert after.objection_to(leaf.der, accepted_under=trust(pki.ca)) is Reason.REVOKED


def test_untrusted_goes_before_revoked(pki: PKI) -> None:
    """Of a CA that is gone, the CRL is not asked."""
    after = trust(pki.elsewhere, crls=[revocation_list(pki.ca, pki.alice)])
    assert after.objection_to(pki.alice.der, accepted_under=trust(pki.ca)) is Reason.UNTRUSTED


def test_the_issuer_s_name_in_another_encoding(pki: PKI) -> None:
    """The issuer of a CRL is the issuer of the leaf however both are encoded, as in the handshake. RFC 5280 §7.1."""
    printable = [x509.NameAttribute(NameOID.COMMON_NAME, "Test CA", _type=_ASN1Type.PrintableString)]
    name = x509.Name(printable)
    assert name == pki.ca.subject
    after = trust(pki.ca, crls=[revocation_list(pki.ca, pki.alice, issuer=name)])
    assert after.objection_to(pki.alice.der, accepted_under=trust(pki.ca)) is Reason.REVOKED
