"""Why a certificate would be admitted or refused now: the steps of the request path, one by one, by its own parts.

What only a connection knows is not explained: whether the proxy is believed, and what a single view asks for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_mtls.presentation import presented
from mtls_auth import Authenticator, CertificateRejected, Evidence, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step and how it ended; after a refused one there is no further."""

    title: str | Promise
    found: str = ""
    rejected: CertificateRejected | None = None


def explain(chain: tuple[bytes, ...], authenticator: Authenticator) -> Iterator[Step]:
    """Yield what *authenticator* decides about *chain*, DER with the leaf first; the last step tells the outcome.

    Where several sources are configured, each may bring the certificate: a step is refused if all of them refuse.
    """
    ways = [_Way(evidence, authenticator) for evidence in presented(authenticator.source, chain)]
    for title, take in _STEPS:
        found: dict[str, str] = {}
        refused: dict[str, CertificateRejected] = {}
        for way in ways:
            try:
                found[way.name] = take(way)
            except CertificateRejected as rejected:
                refused[way.name] = rejected
        if not found:
            yield Step(title=title, rejected=next(iter(refused.values())))
            return
        yield Step(title=title, found=_together(found, refused))
        ways = [way for way in ways if way.name in found]


class _Way:
    """One place that may bring the certificate, and what becomes of it there."""

    identity: Identity

    def __init__(self, evidence: Evidence, authenticator: Authenticator) -> None:
        self.name = evidence.source
        self.evidence = evidence
        self.authenticator = authenticator
        self.now = authenticator.clock()

    def verify(self) -> str:
        verifier = self.authenticator.verifier
        self.identity = identity = Identity.from_verified(verifier.verify(self.evidence, at=self.now))
        if not verifier.needs_vouching:
            return _("up to a trust anchor of this application")
        found = _("if %(source)s says so: no signature is checked here") % {"source": identity.assurance.value}
        if identity.statement is None:
            return found
        return _("%(found)s; what arrives is %(statement)s alone") % {"found": found, "statement": identity}

    def check_validity(self) -> str:
        verified = self.identity.verified
        verified.check_validity(self.now)
        if self.identity.statement is not None:
            return _("whoever verifies it says so")
        return _("until %(end)s") % {"end": verified.good_until.isoformat(" ")}

    def check_policy(self) -> str:
        self.authenticator.policy.check(self.identity)
        return repr(self.authenticator.policy)

    def map(self) -> str:
        return str(self.authenticator.mapper.map(self.identity))


_STEPS: Sequence[tuple[Promise, Callable[[_Way], str]]] = (
    (gettext_lazy("Verified"), _Way.verify),
    (gettext_lazy("In force"), _Way.check_validity),
    (gettext_lazy("Admitted by the site’s policy"), _Way.check_policy),
    (gettext_lazy("Stands for a user"), _Way.map),
)


def _together(found: dict[str, str], refused: dict[str, CertificateRejected]) -> str:
    """Return one text for all sources, naming them where they differ."""
    if len(set(found.values())) == 1 and not refused:
        return next(iter(found.values()))
    parts = [_("by %(source)s: %(text)s") % {"source": name, "text": text} for name, text in found.items()]
    parts += [
        _("not by %(source)s: %(text)s") % {"source": name, "text": rejected.detail}
        for name, rejected in refused.items()
    ]
    return "; ".join(parts)
