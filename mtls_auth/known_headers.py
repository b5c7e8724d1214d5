"""Every header name that some terminator fills with certificate facts: what nobody may bring along.

Removed from every request, believed from none but the configured dialect: code further in must not read by
accident what a client wrote.
"""

from collections.abc import Iterable

from mtls_auth.dialects import BUILTIN
from mtls_auth.header_names import HeaderNames

# Terminators and tutorials name one fact in many ways: every prefix with every fact.
_PREFIXES = ("ssl-client-", "x-ssl-client-", "x-ssl-", "x-client-", "x-client-cert-")
_FACTS = """
    authority b64cert b64cert-chain-0 ca ca-err cea cert cert-chain cert-chain-0 cert-chain-1 cert-chain-2
    cert-chain-3 cert-der certificate chain chain-0 chain-1 chain-2 chain-3 chain-4 chain-5 chain-6 chain-7
    chain-verified cn conn der dn dn-2253 dnsname-sans error fingerprint has-crt hash i-dn i-dn-cn i-dn-legacy
    issuer issuer-dn leaf m-serial m-version not-after not-before notafter notbefore pem present public-key s-dn
    s-dn-cn s-dn-email s-dn-legacy s-dn-o s-dn-ou san san-dns san-email san-uri serial serial-number sess sha1 sha2
    sha256 spiffe subject subject-cn subject-dn uri-san uri-sans used user-dn v-end v-remain v-start valid-not-after
    valid-not-before verified verify version
""".split()

# Names of one product each.
_SINGLE = """
    x-client-cert x-ssl-issuer x-ssl-authenticated
    x-forwarded-client-cert x-forwarded-tls-client-cert x-forwarded-tls-client-cert-info
    x-forwarded-tls-client-cert-infos x-tls-client-cert x-tls-client-dn x-tls-client-verify
    x-forwarded-clientcert x-forwarded-clientcert-subjectdn x-forwarded-clientcert-issuerdn
    x-forwarded-clientcert-fingerprint x-forwarded-clientcert-clientverify x-forwarded-clientcert-serialnumber
    x-forwarded-clientcert-start x-forwarded-clientcert-end x-forwarded-clientcert-ciphers
    xforwardedfor-clientcertsubjectdn xforwardedfor-clientcertissuerdn xforwardedfor-clientcertfingerprint
    xforwardedfor-clientcertclientverify
    x-amzn-mtls-clientcert x-amzn-mtls-clientcert-leaf x-amzn-mtls-clientcert-subject
    x-amzn-mtls-clientcert-issuer x-amzn-mtls-clientcert-serial-number x-amzn-mtls-clientcert-validity
    cloudfront-viewer-cert-pem cloudfront-viewer-cert-sha256 cloudfront-viewer-cert-serial-number
    cloudfront-viewer-cert-issuer cloudfront-viewer-cert-subject cloudfront-viewer-cert-present
    cloudfront-viewer-cert-validity
    cf-client-cert-der-base64 cf-client-cert-sha256 cf-client-cert-issuer-dn cf-client-cert-subject-dn
    cf-cert-presented cf-cert-verified cf-cert-revoked cf-cert-serial cf-cert-issuer-serial cf-cert-issuer-dn
    cf-cert-issuer-dn-rfc2253 cf-cert-issuer-dn-legacy cf-cert-subject-dn cf-cert-subject-dn-rfc2253
    cf-cert-subject-dn-legacy cf-cert-fingerprint-sha1 cf-cert-fingerprint-sha256 cf-cert-not-before
    cf-cert-not-after cf-cert-ski cf-cert-issuer-ski
    akamai-cc-der x-forwarded-ssl-client-cert x-forwarded-ssl-client-cert-infos wl-proxy-client-cert
    tls-client-cert x-env-ssl-client-certificate x-common-name-ssl
    x-arr-clientcert x-ms-client-cert x-client-certificate-verification x-client-certificate-issuer
    l5d-client-id x-remote-user-dn
""".split()

OTHER_HEADERS = frozenset({*_SINGLE, *(prefix + fact for prefix in _PREFIXES for fact in _FACTS)})


def known_headers(configured: Iterable[str] = ()) -> HeaderNames:
    """Return the names of every built-in dialect, the *configured* ones, and `OTHER_HEADERS`."""
    built_in = (name for row in BUILTIN.values() for name in row.headers)
    return HeaderNames({*OTHER_HEADERS, *built_in, *configured})
