"""Terminators that teams run themselves: one row each. What a row reads is what the published recipe writes."""

from mtls_auth import codecs
from mtls_auth.dialect import Confidence, Dialect, Verdict
from mtls_auth.xfcc import XFCC

_CHAIN, _LEAF = frozenset({"chain"}), frozenset({"leaf"})
_FINGERPRINT, _NAME = frozenset({"fingerprint"}), frozenset({"name"})
_OBSERVED, _INFERRED = Confidence.OBSERVED, Confidence.INFERRED

# OpenSSL's outcome in words: SUCCESS, FAILED:reason, NONE; Apache also has GENEROUS, which is no success.
_OPENSSL_WORD = Verdict(header="x-ssl-client-verify", success=frozenset({"SUCCESS"}), absent=frozenset({"NONE", ""}))
# OpenSSL's outcome as a decimal code: 0 is "no error", also where there was nothing to check.
_OPENSSL_CODE = Verdict(header="x-ssl-client-verify", success=frozenset({"0"}), absent=frozenset({"0", ""}))

NGINX = Dialect(
    name="nginx",
    title="Nginx",
    leaf="x-ssl-client-cert",  # proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
    decode=codecs.escaped_pem,
    verdicts=(_OPENSSL_WORD,),  # proxy_set_header X-SSL-Client-Verify $ssl_client_verify;
    confidence=_OBSERVED,
)

NGINX_FOLDED = Dialect(
    name="nginx-folded",
    title="Nginx, deprecated $ssl_client_cert",
    leaf="x-ssl-client-cert",  # strict servers answer 400 to its folds before anything here is asked
    decode=codecs.folded_pem,
    verdicts=(_OPENSSL_WORD,),
    confidence=_OBSERVED,
)

INGRESS_NGINX = Dialect(
    name="ingress-nginx",
    title="ingress-nginx (Kubernetes)",
    leaf="ssl-client-cert",
    decode=codecs.escaped_pem,
    verdicts=(Verdict(header="ssl-client-verify", success=frozenset({"SUCCESS"}), absent=frozenset({"NONE", ""})),),
)

APACHE = Dialect(
    name="apache",
    title="Apache httpd, %{SSL_CLIENT_CERT}s",
    leaf="x-ssl-client-cert",
    decode=codecs.folded_pem,
    absent=frozenset({"", "(null)"}),
    chain="x-ssl-client-chain",  # %{SSL_CLIENT_CERT_CHAIN_0}s is the first intermediate
    decode_chain=codecs.folded_pem,
    numbered_chain=4,
    verdicts=(
        Verdict(
            header="x-ssl-client-verify",
            success=frozenset({"SUCCESS"}),
            absent=frozenset({"NONE", "", "(null)"}),
        ),
    ),
    confidence=_OBSERVED,
)

APACHE_ESCAPED = Dialect(
    name="apache-escaped",
    title="Apache httpd, expr=%{escape:…}",
    leaf="x-ssl-client-cert",
    decode=codecs.escaped_pem,
    verdicts=(_OPENSSL_WORD,),
    confidence=_OBSERVED,
)

RFC9440 = Dialect(
    name="rfc9440",
    title="RFC 9440",
    leaf="client-cert",
    decode=codecs.byte_sequence,
    chain="client-cert-chain",
    decode_chain=codecs.byte_sequence_list,
    lists=_CHAIN,
)

HAPROXY = Dialect(
    name="haproxy",
    title="HAProxy",
    leaf="x-ssl-client-cert",  # %[ssl_c_der,base64]
    decode=codecs.base64_der,
    absent=frozenset({"", '""'}),
    chain="x-ssl-client-chain",  # %[ssl_c_chain_der,base64], empty on a resumed session
    decode_chain=codecs.base64_der_list,
    verdicts=(
        _OPENSSL_CODE,  # %[ssl_c_verify]
        Verdict(  # %[ssl_c_used]
            field="used",
            header="x-ssl-client-used",
            success=frozenset({"1"}),
            absent=frozenset({"0", ""}),
            optional=True,
        ),
    ),
    confidence=_OBSERVED,
)

OPENSHIFT = Dialect(
    name="openshift-router",
    title="OpenShift router",
    leaf="x-ssl-client-der",
    decode=codecs.base64_der,
    absent=frozenset({"", '""'}),
    verdicts=(_OPENSSL_CODE,),
)

TRAEFIK = Dialect(
    name="traefik",
    title="Traefik",
    leaf="x-forwarded-tls-client-cert",  # percent-encoded before 2.9.2; the chain follows after commas
    decode=codecs.base64_list,
    leaf_has_chain=True,
    confidence=_OBSERVED,
)

CADDY = Dialect(
    name="caddy",
    title="Caddy",
    leaf="x-ssl-client-cert",  # {http.request.tls.client.certificate_der_base64}
    decode=codecs.base64_der,
    absent=frozenset({"", "<nil>"}),
    absent_prefix="{http.request.tls.client.",  # before 2.7 the placeholder itself comes without a certificate
    fingerprint="x-ssl-client-fingerprint",  # {http.request.tls.client.fingerprint}
    confidence=_OBSERVED,
)

LIGHTTPD = Dialect(
    name="lighttpd",
    title="lighttpd",
    leaf="x-ssl-client-cert",  # percent-encoded by mod_magnet
    decode=codecs.escaped_pem,
    verdicts=(_OPENSSL_WORD,),
    confidence=_OBSERVED,
)

ENVOY = Dialect(
    name="envoy",
    title="Envoy, SANITIZE_SET",
    leaf="x-forwarded-client-cert",
    decode=XFCC(),
    leaf_has_chain=True,
    lists=_LEAF,
    confidence=_OBSERVED,
)

CONTOUR = Dialect(
    name="contour",
    title="Contour",
    leaf="x-forwarded-client-cert",
    decode=XFCC(),
    leaf_has_chain=True,
    lists=_LEAF,
)

ISTIO = Dialect(
    name="istio",
    title="Istio sidecar: the SPIFFE ID of the mesh peer",
    leaf="x-forwarded-client-cert",
    decode=XFCC(appended=True, take="uri"),
    leaf_has_chain=True,
    lists=_LEAF,
    states=_FINGERPRINT | _NAME,
)

CONSUL = Dialect(
    name="consul",
    title="Consul Connect: the SPIFFE ID of the mesh peer",
    leaf="x-forwarded-client-cert",
    decode=XFCC(appended=True, take="uri"),
    leaf_has_chain=True,
    lists=_LEAF,
    states=_FINGERPRINT | _NAME,
)

LINKERD = Dialect(
    name="linkerd",
    title="Linkerd: the mesh's name of the client",
    leaf="l5d-client-id",
    decode=codecs.client_name,
    states=_NAME,
)

KONG = Dialect(
    name="kong",
    title="Kong, tls-metadata-headers",
    leaf="x-client-cert",
    decode=codecs.escaped_pem,
    unverified=True,
)

F5 = Dialect(
    name="f5",
    title="F5 BIG-IP, iRule with X509::whole",
    leaf="tls-client-cert",
    decode=codecs.folded_pem,
    verdicts=(_OPENSSL_CODE,),  # [SSL::verify_result]
    confidence=_INFERRED,
)

F5_BASE64 = Dialect(
    name="f5-base64",
    title="F5 BIG-IP, iRule with the base64 body",
    leaf="tls-client-cert",
    decode=codecs.base64_der,
    verdicts=(_OPENSSL_CODE,),
    confidence=_INFERRED,
)
