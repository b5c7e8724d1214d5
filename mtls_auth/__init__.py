"""Client-certificate (mutual TLS) identity for Python web applications.

Start reading at `mtls_auth.authenticator`. Adapters are imported by path: `mtls_auth.wsgi`, `mtls_auth.asgi`,
`mtls_auth.starlette`; the dialects of all terminators are in `mtls_auth.dialects`, the servers' own variables in
`mtls_auth.server_environ`; the Django app is `django_mtls`. Importing this package imports no framework.
"""

from mtls_auth.authenticator import Authenticator
from mtls_auth.certificate import Certificate, load_certificate, load_client_certificate
from mtls_auth.connection import Connection
from mtls_auth.decision import Anonymous, Authenticated, Decision, Denied
from mtls_auth.dialect import Dialect, Verdict
from mtls_auth.dialects import NGINX, RFC9440
from mtls_auth.errors import CertificateRejected, ConfigurationError, MTLSAuthError, Reason
from mtls_auth.evidence import Assurance, Evidence, Statement
from mtls_auth.forwarded import Forwarded
from mtls_auth.identity import Identity
from mtls_auth.mapping import ByCommonName, ByFingerprint, ByIdentity, ByStatedName, PrincipalMapper
from mtls_auth.peers import TrustedProxies
from mtls_auth.policy import (
    AllOf,
    AnyOf,
    AnyVerifiedCertificate,
    AssuredBy,
    CommonName,
    Fingerprint,
    IssuedBy,
    NoneOf,
    OrganizationalUnit,
    Policy,
    SubjectPublicKey,
)
from mtls_auth.proxy_certificate import ProxyCertificate
from mtls_auth.proxy_secret import ProxySecret
from mtls_auth.server_context import ServerTLS
from mtls_auth.server_environ import ServerEnviron, ServerVariables
from mtls_auth.sources import AgreeingSources, Source, TLSSocket
from mtls_auth.verification import PathVerifier, VerifiedCertificate, Verifier, VouchedFor

__version__ = "0.1.0"

__all__ = [
    "NGINX",
    "RFC9440",
    "AgreeingSources",
    "AllOf",
    "Anonymous",
    "AnyOf",
    "AnyVerifiedCertificate",
    "Assurance",
    "AssuredBy",
    "Authenticated",
    "Authenticator",
    "ByCommonName",
    "ByFingerprint",
    "ByIdentity",
    "ByStatedName",
    "Certificate",
    "CertificateRejected",
    "CommonName",
    "ConfigurationError",
    "Connection",
    "Decision",
    "Denied",
    "Dialect",
    "Evidence",
    "Fingerprint",
    "Forwarded",
    "Identity",
    "IssuedBy",
    "MTLSAuthError",
    "NoneOf",
    "OrganizationalUnit",
    "PathVerifier",
    "Policy",
    "PrincipalMapper",
    "ProxyCertificate",
    "ProxySecret",
    "Reason",
    "ServerEnviron",
    "ServerTLS",
    "ServerVariables",
    "Source",
    "Statement",
    "SubjectPublicKey",
    "TLSSocket",
    "TrustedProxies",
    "Verdict",
    "VerifiedCertificate",
    "Verifier",
    "VouchedFor",
    "__version__",
    "load_certificate",
    "load_client_certificate",
]
