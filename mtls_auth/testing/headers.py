"""Certificates as proxies write them into headers."""

import base64
import ssl
from urllib.parse import quote


def escaped_pem(der: bytes) -> str:
    """Return what nginx's $ssl_client_escaped_cert holds: PEM with its last newline, percent-encoded."""
    return quote(ssl.DER_cert_to_PEM_cert(der), safe="")


def client_cert_field(der: bytes) -> str:
    """Return the Client-Cert field value of RFC 9440 §2.2: base64 of the DER between colons."""
    return f":{base64.b64encode(der).decode('ascii')}:"
