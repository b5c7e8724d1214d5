"""Every header name that some terminator fills with certificate facts: what nobody may bring along.

Removed from every request, believed from none but the configured dialect: code further in must not read by
accident what a client wrote.
"""

from mtls_auth.dialects import BUILTIN, Dialect
from mtls_auth.header_names import HeaderNames

# Written by terminators and tutorials beside, or instead of, what the rows of `dialects` read.
OTHER_HEADERS = """
    ssl-client-cert ssl-client-cert-chain-0 ssl-client-cert-chain-1 ssl-client-verify ssl-client-subject
    ssl-client-subject-dn ssl-client-issuer-dn ssl-client-s-dn ssl-client-i-dn ssl-client-s-dn-cn
    ssl-client-serial ssl-client-fingerprint
    x-ssl-cert x-ssl-client-der x-ssl-client-verified x-ssl-client-used x-ssl-client-dn x-ssl-client-cn
    x-ssl-client-s-dn x-ssl-client-i-dn x-ssl-client-subject-dn x-ssl-client-issuer-dn x-ssl-client-sha1
    x-ssl-client-serial x-ssl-client-fingerprint x-ssl-client-notbefore x-ssl-client-notafter x-ssl-client-san
    x-ssl-client-cert-chain x-ssl-issuer x-ssl-user-dn x-ssl-authenticated
    x-client-cert x-client-cert-chain x-client-verify x-client-certificate x-client-cert-present
    x-client-cert-chain-verified x-client-cert-error x-client-cert-hash x-client-cert-fingerprint
    x-client-cert-serial x-client-cert-serial-number x-client-cert-spiffe x-client-cert-uri-sans
    x-client-cert-dnsname-sans x-client-cert-subject-dn x-client-cert-issuer-dn
    x-client-cert-valid-not-before x-client-cert-valid-not-after x-client-cert-leaf
    x-client-subject x-client-issuer x-client-serial x-client-fingerprint x-client-dn
    x-forwarded-client-cert x-forwarded-tls-client-cert x-forwarded-tls-client-cert-info
    x-forwarded-clientcert x-forwarded-clientcert-subjectdn x-forwarded-clientcert-issuerdn
    x-forwarded-clientcert-fingerprint x-forwarded-clientcert-clientverify x-forwarded-clientcert-serialnumber
    x-forwarded-clientcert-start x-forwarded-clientcert-end x-forwarded-clientcert-ciphers
    x-amzn-mtls-clientcert x-amzn-mtls-clientcert-leaf x-amzn-mtls-clientcert-subject
    x-amzn-mtls-clientcert-issuer x-amzn-mtls-clientcert-serial-number x-amzn-mtls-clientcert-validity
    cloudfront-viewer-cert-pem cloudfront-viewer-cert-sha256 cloudfront-viewer-cert-serial-number
    cloudfront-viewer-cert-issuer cloudfront-viewer-cert-subject cloudfront-viewer-cert-present
    cf-client-cert-der-base64 cf-client-cert-sha256 cf-client-cert-issuer-dn cf-client-cert-subject-dn
    x-arr-clientcert x-ms-client-cert x-client-certificate-verification x-client-certificate-issuer
    l5d-client-id x-remote-user-dn
""".split()


def known_headers(*configured: Dialect) -> HeaderNames:
    """Return the names of every built-in and every *configured* dialect, and `OTHER_HEADERS`."""
    rows = (*BUILTIN.values(), *configured)
    return HeaderNames({*OTHER_HEADERS, *(name for row in rows for name in row.headers)})
