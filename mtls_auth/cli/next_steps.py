"""What to do about a refusal: one sentence a reason, for whoever runs the command line."""

from mtls_auth.errors import Reason

_NEXT_STEPS = {
    Reason.MALFORMED_HEADER: "look at the request as it was received; for nginx, forward $ssl_client_escaped_cert",
    Reason.AMBIGUOUS_HEADER: "have the proxy remove every spelling of these headers that a client sends",
    Reason.OVERSIZED_HEADER: "have the client send its certificate and the intermediates that it needs, no more",
    Reason.CONTRADICTORY_EVIDENCE: "have the proxy set or remove all of the dialect's headers on every request",
    Reason.MALFORMED_CERTIFICATE: "have the certificate issued anew, or give another file",
    Reason.PRIVATE_KEY: "keep the key secret and give the certificate alone (openssl x509 -in FILE -out CERT.pem, "
    "for PKCS#12 openssl pkcs12 -in FILE -clcerts -nokeys)",
    Reason.UNVERIFIED: "have the proxy forward its verdict, or name trust anchors with --anchors",
    Reason.PROXY_UNPROVEN: "have the proxy set its secret wherever it sets the certificate headers, on every request",
    Reason.INSUFFICIENT_EVIDENCE: "this terminator forwards no certificate: ask for no more than it states",
    Reason.PROXY_REJECTED: "read the proxy's log: its CA file does not lead to this certificate, or it has expired",
    Reason.UNTRUSTED: "check that --anchors names the root and that the intermediates are sent or named too",
    Reason.NOT_YET_VALID: "check the clock here and on the CA's machine",
    Reason.EXPIRED: "renew the certificate",
    Reason.WRONG_KEY_USAGE: "have it issued with extendedKeyUsage clientAuth and keyUsage digitalSignature",
    Reason.WEAK_KEY: "have it issued for a new key: EC P-256, or RSA of 2048 to 8192 bits",
    Reason.UNUSABLE_NAME: "have it issued with one plain, visible name of each kind",
}


def next_step(reason: Reason) -> str:
    """Return what to do about *reason*."""
    return _NEXT_STEPS.get(reason, "read the documentation of this reason")
