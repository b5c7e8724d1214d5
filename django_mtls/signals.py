"""Signals. `reason` is an `mtls_auth.Reason`; no signal carries a PEM, a key or a header.

`certificate_denied`: sender=`mtls_auth.Denied`, request, reason, detail, fingerprint_sha256 (None if not known;
SHA-1 where a terminator forwards no certificate and states no better digest).
`certificate_enrolled`, `certificate_revoked`, `certificate_suspended`, `certificate_reactivated`:
sender=EnrolledCertificate, certificate, by (a user or None); sent when the transaction commits.
"""

from django.dispatch import Signal

certificate_denied = Signal()
certificate_enrolled = Signal()
certificate_revoked = Signal()
certificate_suspended = Signal()
certificate_reactivated = Signal()
