"""Every dialect that is built in, by name: the rows drive decoding, the removal of forged headers, checks and docs.

Adding a terminator: one constant in `proxies` or `clouds`, one file under `tests/vectors/`, one recipe.
"""

from mtls_auth.dialect import Confidence, Dialect, Verdict
from mtls_auth.dialects import clouds, proxies
from mtls_auth.dialects.clouds import (
    AKAMAI,
    ALIBABA_ALB,
    ALIBABA_CLB,
    AWS_ALB,
    AWS_ALB_PASSTHROUGH,
    AZURE_APP_SERVICE,
    AZURE_APPLICATION_GATEWAY,
    AZURE_CONTAINER_APPS,
    CLOUDFLARE,
    CLOUDFLARE_RFC9440,
    CLOUDFRONT,
    FASTLY,
    GOOGLE_CLOUD,
    HUAWEI_ELB,
)
from mtls_auth.dialects.proxies import (
    APACHE,
    APACHE_ESCAPED,
    CADDY,
    CONSUL,
    CONTOUR,
    ENVOY,
    F5,
    F5_BASE64,
    HAPROXY,
    INGRESS_NGINX,
    ISTIO,
    KONG,
    LIGHTTPD,
    LINKERD,
    NGINX,
    NGINX_FOLDED,
    OPENSHIFT,
    RFC9440,
    TRAEFIK,
)

BUILTIN: dict[str, Dialect] = {
    row.name: row for rows in (proxies, clouds) for row in vars(rows).values() if isinstance(row, Dialect)
}

__all__ = [
    "AKAMAI",
    "ALIBABA_ALB",
    "ALIBABA_CLB",
    "APACHE",
    "APACHE_ESCAPED",
    "AWS_ALB",
    "AWS_ALB_PASSTHROUGH",
    "AZURE_APPLICATION_GATEWAY",
    "AZURE_APP_SERVICE",
    "AZURE_CONTAINER_APPS",
    "BUILTIN",
    "CADDY",
    "CLOUDFLARE",
    "CLOUDFLARE_RFC9440",
    "CLOUDFRONT",
    "CONSUL",
    "CONTOUR",
    "ENVOY",
    "F5",
    "F5_BASE64",
    "FASTLY",
    "GOOGLE_CLOUD",
    "HAPROXY",
    "HUAWEI_ELB",
    "INGRESS_NGINX",
    "ISTIO",
    "KONG",
    "LIGHTTPD",
    "LINKERD",
    "NGINX",
    "NGINX_FOLDED",
    "OPENSHIFT",
    "RFC9440",
    "TRAEFIK",
    "Confidence",
    "Dialect",
    "Verdict",
]
