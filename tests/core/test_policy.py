"""Policies: whom each predicate admits, that what lacks an attribute is denied, and the text for the audit."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from mtls_auth import (
    AllOf,
    Anonymous,
    AnyOf,
    AnyVerifiedCertificate,
    Assurance,
    AssuredBy,
    Authenticated,
    CertificateRejected,
    CommonName,
    ConfigurationError,
    Decision,
    Denied,
    Fingerprint,
    Identity,
    IssuedBy,
    NoneOf,
    OrganizationalUnit,
    Policy,
    Reason,
    SubjectPublicKey,
    load_certificate,
)
from mtls_auth.certificate import spki_sha256
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.core.conftest import reason_of
from tests.core.test_identity import identify, state


class Nobody(Policy):
    """A predicate of an application's own."""

    def allows(self, identity: Identity) -> bool:
        return False

    def __repr__(self) -> str:
        return "Nobody()"


def name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """Return a name of these attributes."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


@pytest.fixture(scope="module")
def people() -> dict[str, Identity]:
    """Certificates of two authorities, with and without the attributes that predicates ask for."""
    ours, theirs = CertificateAuthority("Our CA"), CertificateAuthority("Their CA")
    awkward = CertificateAuthority()
    awkward.subject = name(
        (NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, "Exa, mple"), (NameOID.COMMON_NAME, "CA")
    )
    unit = NameOID.ORGANIZATIONAL_UNIT_NAME
    return {
        "alice": identify(ours.issue("alice", organizational_unit="Ops")),
        "Alice": identify(ours.issue("Alice", organizational_unit="ops"), Assurance.PROXY_VERDICT),
        "their alice": identify(theirs.issue("alice", organizational_unit="Ops"), Assurance.PROXY_PRESENCE),
        "two units": identify(ours.issue(subject=name((unit, "Dev"), (unit, "Ops"), (NameOID.COMMON_NAME, "bob")))),
        "no unit": identify(awkward.issue("carol")),
        "no name": identify(ours.issue(san=[x509.DNSName("host.example.com")])),
    }


EVERYBODY = {"alice", "Alice", "their alice", "two units", "no unit", "no name"}
OURS = {"alice", "Alice", "two units", "no name"}
POLICIES: list[tuple[str, Policy, set[str]]] = [
    ("anybody", AnyVerifiedCertificate(), EVERYBODY),
    ("nobody", Nobody(), set()),
    ("name", CommonName("alice"), {"alice", "their alice"}),
    ("names", CommonName("bob", "carol"), {"two units", "no unit"}),
    ("name of nobody", CommonName("dave"), set()),
    ("empty name", CommonName(""), set()),
    ("the word None", CommonName("None"), set()),
    ("unit", OrganizationalUnit("Ops"), {"alice", "their alice", "two units"}),
    ("second unit", OrganizationalUnit("x", "Dev"), {"two units"}),
    ("empty unit", OrganizationalUnit(""), set()),
    ("issuer", IssuedBy("CN=Our CA"), OURS),
    ("issuers", IssuedBy("CN=Our CA", "CN=Their CA"), EVERYBODY - {"no unit"}),
    ("issuer in another case", IssuedBy("CN=our ca"), set()),
    ("issuer escaped needlessly", IssuedBy(r"CN=Our\20CA"), OURS),
    ("issuer of several parts", IssuedBy(r"CN=CA,O=Exa\, mple,C=DE"), {"no unit"}),
    ("issuer in another order", IssuedBy(r"C=DE,O=Exa\, mple,CN=CA"), set()),
    ("part of an issuer", IssuedBy("CN=CA"), set()),
    ("issuer of no part", IssuedBy(""), set()),
    ("socket", AssuredBy(Assurance.TLS_SOCKET), EVERYBODY - {"Alice", "their alice"}),
    ("proxy", AssuredBy(Assurance.PROXY_VERDICT, Assurance.PROXY_PRESENCE), {"Alice", "their alice"}),
    ("path", AssuredBy(Assurance.PATH), set()),
    ("both", CommonName("alice") & IssuedBy("CN=Our CA"), {"alice"}),
    ("either", CommonName("Alice") | CommonName("carol"), {"Alice", "no unit"}),
    ("all of one", AllOf(CommonName("alice")), {"alice", "their alice"}),
    ("all with nobody", AllOf(AnyVerifiedCertificate(), Nobody()), set()),
    ("any of one", AnyOf(CommonName("alice")), {"alice", "their alice"}),
    ("any with nobody", AnyOf(Nobody(), CommonName("carol")), {"no unit"}),
    ("none of", NoneOf(CommonName("alice"), OrganizationalUnit("ops")), {"two units", "no unit", "no name"}),
    ("all but", AllOf(IssuedBy("CN=Our CA"), NoneOf(CommonName("alice"))), OURS - {"alice"}),
    ("and before or", CommonName("carol") | CommonName("alice") & IssuedBy("CN=Our CA"), {"alice", "no unit"}),
    ("three", CommonName("alice") & IssuedBy("CN=Our CA") & OrganizationalUnit("Ops"), {"alice"}),
]


@pytest.mark.parametrize(("policy", "admitted"), [row[1:] for row in POLICIES], ids=[row[0] for row in POLICIES])
def test_predicates(people: dict[str, Identity], policy: Policy, admitted: set[str]) -> None:
    """A predicate admits exactly these; whoever lacks the attribute is not among them."""
    assert {who for who, identity in people.items() if policy.allows(identity)} == admitted
    for who, identity in people.items():
        assert reason_of(policy.check, identity) is (None if who in admitted else Reason.NOT_ALLOWED)


def test_fingerprint(people: dict[str, Identity]) -> None:
    """A fingerprint admits one certificate, in whatever spelling it is given."""
    digits = people["alice"].fingerprint_sha256
    spelled = with_colons(digits)
    assert {who for who, identity in people.items() if Fingerprint(spelled).allows(identity)} == {"alice"}
    assert Fingerprint(spelled) == Fingerprint(digits)
    assert repr(Fingerprint(spelled)) == f"Fingerprint('{digits}')"


def certified_again(issued: IssuedCertificate, ca: CertificateAuthority) -> IssuedCertificate:
    """Return another certificate of the same key and subject."""
    old = issued.certificate
    builder = x509.CertificateBuilder(
        ca.subject, old.subject, old.public_key(), 7, old.not_valid_before_utc, old.not_valid_after_utc
    )
    return replace(issued, certificate=builder.sign(ca.key, hashes.SHA256()))


def test_subject_public_key(people: dict[str, Identity]) -> None:
    """A key admits every certificate of it, renewed or of another authority, and no other key's."""
    ca, other = CertificateAuthority(), CertificateAuthority()
    first = ca.issue("alice")
    renewed, elsewhere = (certified_again(first, by) for by in (ca, other))
    digest = spki_sha256(load_certificate(first.der))
    for policy in (SubjectPublicKey(digest), SubjectPublicKey("0" * 64, digest.upper())):
        assert [policy.allows(identify(one)) for one in (first, renewed, elsewhere)] == [True] * 3
        assert {who for who, identity in people.items() if policy.allows(identity)} == set()
    assert not SubjectPublicKey(first.fingerprint_sha256).allows(identify(first))
    assert repr(SubjectPublicKey(digest.upper())) == f"SubjectPublicKey('{digest}')"


SHA1, SHA256 = "ab" * 20, "cd" * 32


@pytest.mark.parametrize(
    ("fingerprints", "stated", "allowed"),
    [
        ((SHA1,), SHA1, True),
        ((SHA1.upper(),), SHA1, True),
        (("ef" * 20,), SHA1, False),
        ((SHA256,), SHA256, True),
        (("ef" * 32,), SHA256, False),
        ((SHA256, SHA1), SHA1, True),
        ((SHA1, SHA256), SHA256, True),
        ((SHA256,), SHA1, None),
        ((SHA1,), SHA256, None),
        ((SHA256, "ef" * 20), SHA1, None),
        ((SHA1, SHA256), None, None),
        ((SHA256[:40],), SHA256, None),
    ],
)
def test_stated_fingerprints(fingerprints: tuple[str, ...], stated: str | None, allowed: bool | None) -> None:
    """A stated digest matches its own kind; what it cannot be compared with denies, in whatever combination."""
    policy, identity = Fingerprint(*fingerprints), state(fingerprint=stated, name="x")
    if allowed is None:
        for one in (policy, NoneOf(policy), AnyOf(policy, CommonName("bob")), AllOf(policy)):
            assert reason_of(one.check, identity) is Reason.INSUFFICIENT_EVIDENCE
    else:
        assert policy.allows(identity) is allowed
        assert NoneOf(policy).allows(identity) is not allowed


def test_sha1_of_a_certificate(people: dict[str, Identity]) -> None:
    """Where the certificate is there its SHA-1 can be compared: whoever is named by it comes in, or is kept out."""
    digest = hashlib.sha1(people["alice"].certificate.der, usedforsecurity=False).hexdigest()
    for policy in (Fingerprint(digest), Fingerprint("0" * 64, with_colons(digest)), Fingerprint("0" * 40, digest)):
        assert {who for who, identity in people.items() if policy.allows(identity)} == {"alice"}
        kept_out = AnyVerifiedCertificate() & NoneOf(policy)
        assert {who for who, identity in people.items() if kept_out.allows(identity)} == EVERYBODY - {"alice"}


def with_colons(digits: str) -> str:
    """Return a fingerprint as OpenSSL prints it."""
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).upper()


@pytest.mark.parametrize(
    "policy",
    [
        *(CommonName("bob"), OrganizationalUnit("Ops"), IssuedBy("CN=Our CA"), SubjectPublicKey("0" * 64)),
        *(CommonName(""), OrganizationalUnit(""), IssuedBy("")),
    ],
    ids=repr,
)
def test_statements(policy: Policy) -> None:
    """Whatever needs the certificate denies where there is none, inside every combination; who vouches is known."""
    for identity in (state(fingerprint=SHA256, name="bob"), state(fingerprint=SHA1), state(name="bob")):
        for one in (
            policy,
            NoneOf(policy),
            policy & AnyVerifiedCertificate(),
            policy | CommonName("bob"),
            AnyVerifiedCertificate() & NoneOf(policy),
            NoneOf(NoneOf(policy)),
        ):
            assert reason_of(one.check, identity) is Reason.INSUFFICIENT_EVIDENCE
        assert AnyVerifiedCertificate().allows(identity)
        assert AssuredBy(Assurance.PROXY_VERDICT).allows(identity)
        assert not AssuredBy(Assurance.TLS_SOCKET).allows(identity)
        # What decides before the certificate is asked for, decides.
        assert reason_of((Nobody() & policy).check, identity) is Reason.NOT_ALLOWED
        assert (AnyVerifiedCertificate() | policy).allows(identity)


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (AnyVerifiedCertificate(), "AnyVerifiedCertificate()"),
        (CommonName("alice", "bob"), "CommonName('alice', 'bob')"),
        (OrganizationalUnit("Ops"), "OrganizationalUnit('Ops')"),
        (IssuedBy(r"CN=Our\20CA"), "IssuedBy('CN=Our CA')"),
    ],
    ids=repr,
)
def test_repr(policy: Policy, text: str) -> None:
    """The text of a predicate is how it is written."""
    assert repr(policy) == text


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (AllOf(CommonName("alice"), Nobody()), ["AllOf", "CommonName('alice')", "Nobody()"]),
        (AnyOf(CommonName("alice"), OrganizationalUnit("Ops")), ["AnyOf", "OrganizationalUnit('Ops')"]),
        (NoneOf(CommonName("alice")), ["NoneOf", "CommonName('alice')"]),
        (AssuredBy(Assurance.PATH), ["AssuredBy", "path"]),
    ],
    ids=["AllOf", "AnyOf", "NoneOf", "AssuredBy"],
)
def test_repr_of_combinations(policy: Policy, names: list[str]) -> None:
    """The text of a combination shows what it is made of, in order."""
    positions = [repr(policy).find(text) for text in names]
    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("policy", "detail"),
    [
        (CommonName("bob"), "refused by CommonName('bob')"),
        (
            AllOf(CommonName("alice"), OrganizationalUnit("Dev"), CommonName("bob")),
            "refused by OrganizationalUnit('Dev')",
        ),
        (AllOf(AllOf(CommonName("bob")), Nobody()), "refused by CommonName('bob')"),
        (CommonName("alice") & Nobody(), "refused by Nobody()"),
    ],
    ids=["one", "first of all that fails", "nested", "operator"],
)
def test_denial_names_the_predicate(people: dict[str, Identity], policy: Policy, detail: str) -> None:
    """A denial names the first predicate that failed."""
    with pytest.raises(CertificateRejected) as refused:
        policy.check(people["alice"])
    assert refused.value.detail == detail


@pytest.mark.parametrize(
    "policy", [CommonName, OrganizationalUnit, Fingerprint, IssuedBy, SubjectPublicKey, AllOf, AnyOf, NoneOf]
)
def test_nothing_named(policy: type[Policy]) -> None:
    """A predicate without values, or a combination without policies, is an error."""
    with pytest.raises(ConfigurationError, match="name at least one"):
        policy()


def test_no_assurance_named() -> None:
    """A predicate without assurances is an error."""
    with pytest.raises(ConfigurationError):
        AssuredBy()


@pytest.mark.parametrize("policy", [CommonName, OrganizationalUnit, Fingerprint, IssuedBy, SubjectPublicKey])
@pytest.mark.parametrize("value", [None, b"alice", ["alice"], 7], ids=repr)
def test_values_are_text(policy: Callable[[object], Policy], value: object) -> None:
    """Anything but text is an error: `CommonName(None)` would admit every certificate without a name."""
    with pytest.raises(ConfigurationError, match="give text"):
        policy(value)


def test_unknown_assurance() -> None:
    """A word that is no assurance is a configuration error."""
    with pytest.raises(ConfigurationError):
        AssuredBy("socket")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["Our CA", "CN", "CN=a,,O=b", "CN=a,", "/CN=Our CA"])
def test_not_an_issuer(text: str) -> None:
    """What is no name in RFC 4514 form is an error that repeats it."""
    with pytest.raises(ConfigurationError, match="not a name in RFC 4514 form") as error:
        IssuedBy(text)
    assert repr(text) in str(error.value)


def test_multi_valued_issuer() -> None:
    """An RDN is a set: the order of its parts makes no difference. RFC 4514 §2.2."""
    ca = CertificateAuthority()
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b")]
    ca.subject = x509.Name([x509.RelativeDistinguishedName(parts)])
    identity = identify(ca.issue("alice"))
    assert IssuedBy("CN=a+O=b").allows(identity)
    assert IssuedBy("O=b+CN=a").allows(identity)


def test_not_a_fingerprint() -> None:
    """What is no fingerprint is an error."""
    for policy in (Fingerprint, SubjectPublicKey):
        with pytest.raises(ConfigurationError, match="is not a SHA-256 fingerprint"):
            policy("abc")
    with pytest.raises(ConfigurationError, match="is not a SHA-256 fingerprint"):
        SubjectPublicKey(SHA1)


def test_no_negation() -> None:
    """There is no `~`: it would admit what lacks the attribute."""
    with pytest.raises(TypeError):
        ~CommonName("alice")  # type: ignore[operator]


def test_a_policy_must_say_whom_it_allows(people: dict[str, Identity]) -> None:
    """A predicate that does not implement `allows` admits nobody by accident."""

    class Forgotten(Policy):
        pass

    with pytest.raises(NotImplementedError, match="Forgotten does not implement allows"):
        Forgotten().check(people["alice"])


def test_values() -> None:
    """Policies are values: equal if written alike, usable as keys, not to be changed."""
    assert CommonName("a") == CommonName("a")
    distinct: set[Policy] = {CommonName("a"), OrganizationalUnit("a"), AllOf(CommonName("a")), AnyOf(CommonName("a"))}
    assert len(distinct | {CommonName("a")}) == 4
    with pytest.raises(AttributeError):
        CommonName("a").values = ("b",)  # type: ignore[misc]


def test_decide(people: dict[str, Identity]) -> None:
    """A policy applied to a decision gives the identity that it admits, or the reason why nobody is."""
    alice = people["alice"]
    denied = Denied(Reason.EXPIRED)
    rows: list[tuple[Decision, object]] = [
        (Authenticated(alice, "user"), alice),
        (Authenticated(people["two units"], "user"), Reason.NOT_ALLOWED),
        (Anonymous(), Reason.CERTIFICATE_REQUIRED),
        (denied, Reason.EXPIRED),
    ]
    for decision, expected in rows:
        found = CommonName("alice").decide(decision)
        assert (found.reason if isinstance(found, Denied) else found) == expected
    assert CommonName("alice").decide(denied) is denied
    refused = CommonName("alice").decide(Authenticated(people["two units"], "user"))
    assert isinstance(refused, Denied)
    assert refused.identity == people["two units"]


@pytest.mark.parametrize("combination", [AllOf, AnyOf, NoneOf])
def test_only_policies_are_combined(combination: Any) -> None:
    """A class, or anything else that is no policy, is an error when it is combined, not when it is asked."""
    with pytest.raises(ConfigurationError, match="is not a policy"):
        combination(AnyVerifiedCertificate(), CommonName)


def test_any_of_asks_all() -> None:
    """Whoever one policy admits comes in although another cannot tell, in either order; its opposite keeps him out."""
    identity = state(fingerprint=SHA1, name="x")
    for policy in (CommonName("bob") | Fingerprint(SHA1), Fingerprint(SHA1) | CommonName("bob")):
        assert policy.allows(identity)
        assert not NoneOf(policy).allows(identity)
    undecided = CommonName("bob") | Fingerprint("ef" * 20)
    assert reason_of(undecided.check, identity) is Reason.INSUFFICIENT_EVIDENCE
    assert reason_of(NoneOf(undecided).check, identity) is Reason.INSUFFICIENT_EVIDENCE
