"""Why a certificate would be admitted or refused now: the steps of the request path, one by one, by its own parts.

What only a connection knows is not explained: whether the proxy is believed, and what a single view asks for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from mtls_auth import Assurance, Authenticator, CertificateRejected, Evidence, Identity, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step and how it ended; after a refused one there is no further."""

    title: str | Promise
    found: str = ""
    rejected: CertificateRejected | None = None


def explain(chain: tuple[bytes, ...], authenticator: Authenticator) -> Iterator[Step]:
    """Yield what *authenticator* decides about *chain*, DER with the leaf first; the last step tells the outcome."""
    now = authenticator.clock()
    title = _("Verified")
    try:
        evidence = Evidence("explanation", chain, _assurance(authenticator.source), lambda _raw: chain)
        identity = Identity.from_verified(authenticator.verifier.verify(evidence, at=now))
        yield Step(title=title, found=_by_whom(identity, authenticator))
        title = _("In force")
        identity.verified.check_validity(now)
        yield Step(title=title, found=_("until %(end)s") % {"end": identity.verified.good_until.isoformat(" ")})
        title = _("Admitted by the site’s policy")
        authenticator.policy.check(identity)
        yield Step(title=title, found=repr(authenticator.policy))
        title = _("Stands for a user")
        yield Step(title=title, found=str(authenticator.mapper.map(identity)))
    except CertificateRejected as rejected:
        yield Step(title=title, rejected=rejected)


def _assurance(source: Source) -> Assurance:
    """Return what the source says of every certificate that it forwards."""
    if not source.dialects:
        return Assurance.TLS_SOCKET
    with_verdict = all(dialect.has_verdict for dialect in source.dialects)
    return Assurance.PROXY_VERDICT if with_verdict else Assurance.PROXY_PRESENCE


def _by_whom(identity: Identity, authenticator: Authenticator) -> str:
    if authenticator.verifier.needs_vouching:
        return _("if %(source)s says so: no signature is checked here") % {"source": identity.assurance.value}
    return _("up to a trust anchor of this application")
