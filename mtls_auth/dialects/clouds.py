"""Load balancers and edges of clouds: one row each, from their documentation. None of them was run here."""

from mtls_auth import codecs
from mtls_auth.dialect import Confidence, Dialect, Verdict
from mtls_auth.xfcc import XFCC

_CHAIN, _LEAF = frozenset({"chain"}), frozenset({"leaf"})
_INFERRED = Confidence.INFERRED
_SUCCESS, _NONE = frozenset({"SUCCESS"}), frozenset({"NONE", ""})
_TRUE, _FALSE = frozenset({"true"}), frozenset({"false", ""})

AWS_ALB = Dialect(
    name="aws-alb",
    title="AWS Application Load Balancer, verify mode",
    leaf="x-amzn-mtls-clientcert-leaf",
    decode=codecs.escaped_pem,
)

AWS_ALB_PASSTHROUGH = Dialect(
    name="aws-alb-passthrough",
    title="AWS Application Load Balancer, passthrough mode",
    leaf="x-amzn-mtls-clientcert",  # the whole chain as presented
    decode=codecs.escaped_pem_list,
    leaf_has_chain=True,
    unverified=True,
)

CLOUDFRONT = Dialect(
    name="cloudfront",
    title="Amazon CloudFront, viewer mTLS",
    leaf="cloudfront-viewer-cert-pem",
    decode=codecs.escaped_pem,
    fingerprint="cloudfront-viewer-cert-sha256",
    verdicts=(
        Verdict(
            field="present",
            header="cloudfront-viewer-cert-present",
            success=frozenset({"1"}),
            absent=frozenset({"0", ""}),
            optional=True,
        ),
    ),
)

GOOGLE_CLOUD = Dialect(
    name="google-cloud",
    title="Google Cloud Application Load Balancer",
    leaf="client-cert",  # {client_cert_leaf}
    decode=codecs.byte_sequence,
    chain="client-cert-chain",  # {client_cert_chain}
    decode_chain=codecs.byte_sequence_list,
    lists=_CHAIN,
    verdicts=(
        Verdict(header="x-client-cert-chain-verified", success=_TRUE, absent=_FALSE, failure=frozenset({"false"})),
        Verdict(
            field="error",
            header="x-client-cert-error",
            success=frozenset({""}),
            absent=frozenset({"", "client_cert_not_provided"}),
            optional=True,
        ),
        Verdict(field="present", header="x-client-cert-present", success=_TRUE, absent=_FALSE, optional=True),
    ),
)

AZURE_APP_SERVICE = Dialect(
    name="azure-app-service",
    title="Azure App Service, IIS Application Request Routing",
    leaf="x-arr-clientcert",
    decode=codecs.base64_der,
    unverified=True,
)

AZURE_APPLICATION_GATEWAY = Dialect(
    name="azure-application-gateway",
    title="Azure Application Gateway",
    leaf="x-client-certificate",  # {var_client_certificate}
    decode=codecs.escaped_pem,
    verdicts=(Verdict(header="x-client-certificate-verification", success=_SUCCESS, absent=_NONE),),
)

AZURE_CONTAINER_APPS = Dialect(
    name="azure-container-apps",
    title="Azure Container Apps",
    leaf="x-forwarded-client-cert",
    decode=XFCC(),
    leaf_has_chain=True,
    lists=_LEAF,
    unverified=True,
)

_REVOKED = Verdict(
    field="revoked",
    header="cf-cert-revoked",
    success=frozenset({"false", "0"}),
    absent=frozenset({"false", "0", ""}),
)

CLOUDFLARE = Dialect(
    name="cloudflare",
    title="Cloudflare, managed headers",
    leaf="cf-client-cert-der-base64",
    decode=codecs.base64_der,
    fingerprint="cf-client-cert-sha256",
    verdicts=(
        Verdict(
            header="cf-cert-verified",
            success=frozenset({"true", "1", "SUCCESS"}),
            absent=frozenset({"false", "0", "NONE", ""}),
            failure=frozenset({"false", "0"}),
        ),
        _REVOKED,  # apart from verification: a revoked certificate may be a verified one
        Verdict(
            field="presented",
            header="cf-cert-presented",
            success=frozenset({"true", "1"}),
            absent=frozenset({"false", "0", ""}),
            optional=True,
        ),
    ),
)

CLOUDFLARE_RFC9440 = Dialect(
    name="cloudflare-rfc9440",
    title="Cloudflare, RFC 9440 fields by transform rules",
    leaf="client-cert",  # cf.tls_client_auth.cert_rfc9440, filled in whether verified or not
    decode=codecs.byte_sequence,
    chain="client-cert-chain",
    decode_chain=codecs.byte_sequence_list,
    lists=_CHAIN,
    verdicts=(
        Verdict(
            header="x-client-cert-verified",  # cf.tls_client_auth.cert_verified
            success=frozenset({"true", "1"}),
            absent=frozenset({"false", "0", ""}),
            failure=frozenset({"false", "0"}),
        ),
        Verdict(
            field="revoked",
            header="x-client-cert-revoked",  # cf.tls_client_auth.cert_revoked
            success=_REVOKED.success,
            absent=_REVOKED.absent,
        ),
    ),
)

FASTLY = Dialect(
    name="fastly",
    title="Fastly, VCL",
    leaf="x-ssl-client-cert",  # tls.client.certificate.raw_certificate_b64
    decode=codecs.base64_der,
    absent=frozenset({"", "(null)"}),
    verdicts=(
        Verdict(
            header="x-ssl-client-verify",  # tls.client.certificate.is_verified
            success=frozenset({"1"}),
            absent=frozenset({"0", "", "(null)"}),
            failure=frozenset({"0"}),
        ),
    ),
    confidence=_INFERRED,
)

AKAMAI = Dialect(
    name="akamai",
    title="Akamai",
    leaf="akamai-cc-der",
    decode=codecs.byte_sequence,
)

HUAWEI_ELB = Dialect(
    name="huawei-elb",
    title="Huawei Cloud ELB",
    leaf="x-forwarded-clientcert",  # PEM; how its newlines travel is not documented
    decode=codecs.escaped_or_folded_pem,
    verdicts=(Verdict(header="x-forwarded-clientcert-clientverify", success=_SUCCESS, absent=_NONE),),
    confidence=_INFERRED,
)

ALIBABA_ALB = Dialect(
    name="alibaba-alb",
    title="Alibaba Cloud ALB: fingerprint and verdict only",
    leaf="x-forwarded-clientcert-fingerprint",
    decode=codecs.fingerprint,
    verdicts=(Verdict(header="x-forwarded-clientcert-clientverify", success=_SUCCESS, absent=_NONE),),
    states=frozenset({"fingerprint"}),
    confidence=_INFERRED,
)

ALIBABA_CLB = Dialect(
    name="alibaba-clb",
    title="Alibaba Cloud classic CLB: fingerprint and verdict only",
    leaf="x-forwarded-clientcert-fingerprint",  # set as the alias: servers drop the default's underscores
    decode=codecs.fingerprint,
    verdicts=(Verdict(header="x-forwarded-clientcert-clientverify", success=_SUCCESS, absent=_NONE),),
    states=frozenset({"fingerprint"}),
    confidence=_INFERRED,
)
