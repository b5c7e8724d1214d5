"""Test kit: a certificate authority in memory, and the header texts in which proxies forward certificates.

    ca = CertificateAuthority()
    alice = ca.issue("alice")
    headers = {"X-SSL-Client-Cert": escaped_pem(alice.der), "X-SSL-Client-Verify": "SUCCESS"}  # as Nginx sends them
    response = client.get("/", headers=headers)

It needs `cryptography` alone, no test framework. Its keys are for tests: never serve real clients with them.
"""

from mtls_auth.testing.authority import CLIENT_AUTH, SERVER_AUTH, CertificateAuthority, distinguished_name, server_name
from mtls_auth.testing.headers import client_cert_field, escaped_pem, headers_for
from mtls_auth.testing.issued import IssuedCertificate
from mtls_auth.testing.keys import KeyType, PrivateKey, generate_key

__all__ = [
    "CLIENT_AUTH",
    "SERVER_AUTH",
    "CertificateAuthority",
    "IssuedCertificate",
    "KeyType",
    "PrivateKey",
    "client_cert_field",
    "distinguished_name",
    "escaped_pem",
    "generate_key",
    "headers_for",
    "server_name",
]
