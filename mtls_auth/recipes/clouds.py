"""Load balancers and edges of clouds, gateways and appliances: none of them was run, each says what it rests on."""

from collections.abc import Mapping

from mtls_auth.dialect import Confidence
from mtls_auth.dialects import BUILTIN
from mtls_auth.recipes.recipe import Recipe

_RESTS_ON = {
    Confidence.DOCUMENTED: "Documented, not run: this follows the vendor's documentation. What that leaves open, the "
    "comments say.",
    Confidence.INFERRED: "Inferred, not run: the vendor's documentation does not say what is in the headers. Record a "
    "request of your own and give it to `mtls-auth explain` first.",
}
_PROBE = (
    "Before you rely on it, send forged headers from outside, with a certificate and without one, to every name and "
    "port that leads to the application: `mtls-auth probe`."
)
_SPELLINGS = (
    "Nothing here removes names with underscores, which cheroot and wsgiref take for the same headers. Use gunicorn, "
    "which drops them, or uvicorn with `--http mtls_auth.servers.uvicorn:HTTPProtocol`: there the application refuses "
    "the request."
)
_NO_KEY = (
    "The application verifies who signed a certificate. That the client has its key, only the TLS handshake tells: a "
    "terminator that lets a client's own header pass makes everybody of everybody."
)
_RANGES = (
    "It connects from many networks. `TRUSTED_PROXIES` takes a list: name all of them. Others connect from there too, "
    "so the secret decides."
)
_NOTHING_READ = (
    "No certificate header is read behind this, and none can be: whatever arrives was written by the client. The "
    "settings are for TLS in the application's own server."
)


def _recipe(
    dialect: str,
    files: Mapping[str, str],
    *notes: str,
    name: str | None = None,
    title: str | None = None,
    secret: bool = True,
    confidence: Confidence | None = None,
) -> Recipe:
    row = BUILTIN[dialect]
    unverified = (_NO_KEY,) if row.unverified else ()
    return Recipe(
        name=name or dialect,
        title=title or row.title,
        dialect=dialect,
        files=files,
        secret=secret,
        observed=False,
        notes=(_RESTS_ON[confidence or row.confidence], *unverified, *notes, _PROBE),
    )


def _without_preset(name: str, title: str) -> Recipe:
    return Recipe(
        name=name,
        title=title,
        server_source="tls",
        files={f"{name}.txt": f"{name}.txt", "gunicorn.conf.py": "layer4-gunicorn.conf"},
        observed=False,
        notes=(_RESTS_ON[Confidence.DOCUMENTED], _NOTHING_READ),
    )


RECIPES = (
    _recipe("aws-alb", {"aws-alb.sh": "aws-alb.sh"}, secret=False),
    _recipe("aws-alb-passthrough", {"aws-alb.sh": "aws-alb-passthrough.sh"}, secret=False),
    _recipe(
        "cloudfront",
        {
            "cloudfront.sh": "cloudfront.sh",
            "origin-request-policy.json": "cloudfront-origin-request-policy.json",
            "distribution.json": "cloudfront-distribution.json",
        },
        _RANGES,
        _SPELLINGS,
    ),
    Recipe(
        name="aws-api-gateway",
        title="AWS API Gateway, Lambda",
        server_source="aws-api-gateway",
        files={"api-gateway.sh": "aws-api-gateway.sh", "handler.py": "aws-lambda-handler"},
        observed=False,
        notes=(_RESTS_ON[Confidence.DOCUMENTED],),
    ),
    _recipe(
        "google-cloud",
        {
            "google-cloud.sh": "google-cloud.sh",
            "server-tls-policy.yaml": "google-cloud-server-tls-policy.yaml",
            "header-action.yaml": "google-cloud-header-action.yaml",
        },
        _RANGES,
        _SPELLINGS,
    ),
    _recipe(
        "azure-app-service",
        {"app-service.sh": "azure-app-service.sh"},
        _SPELLINGS,
        title="Azure App Service",
        secret=False,
    ),
    _recipe(
        "azure-app-service",
        {"web.config": "iis-arr-web.config"},
        _SPELLINGS,
        name="iis-arr",
        title="IIS, Application Request Routing",
        confidence=Confidence.INFERRED,
    ),
    _recipe("azure-application-gateway", {"application-gateway.sh": "azure-application-gateway.sh"}, _SPELLINGS),
    _recipe(
        "azure-container-apps",
        {
            "container-apps.sh": "azure-container-apps.sh",
            "client-certificate-mode.json": "azure-container-apps-mode.json",
        },
        _SPELLINGS,
        secret=False,
    ),
    _recipe(
        "cloudflare",
        {
            "cloudflare.sh": "cloudflare.sh",
            "certificate-forwarding.json": "cloudflare-certificate-forwarding.json",
            "managed-headers.json": "cloudflare-managed-headers.json",
            "transform-rules.json": "cloudflare-transform-rules.json",
            "firewall-rules.json": "cloudflare-firewall-rules.json",
        },
        _RANGES,
        _SPELLINGS,
    ),
    _recipe(
        "cloudflare-rfc9440",
        {"cloudflare.sh": "cloudflare-rfc9440.sh", "transform-rules.json": "cloudflare-rfc9440-transform-rules.json"},
        _RANGES,
        _SPELLINGS,
    ),
    _recipe("fastly", {"client-certificate.vcl": "fastly.vcl"}, _RANGES),
    _recipe("akamai", {"akamai.txt": "akamai.txt", "rule.json": "akamai-rule.json"}, _RANGES, _SPELLINGS),
    _recipe("kong", {"kong.yml": "kong.yml"}),
    _recipe("f5", {"client-certificate.tcl": "f5.tcl"}, title="F5 BIG-IP, an iRule with the PEM"),
    _recipe("f5-base64", {"client-certificate.tcl": "f5-base64.tcl"}, title="F5 BIG-IP, an iRule with the base64 body"),
    _recipe(
        "huawei-elb",
        {
            "huawei-elb.txt": "huawei-elb.txt",
            "listener.json": "huawei-elb-listener.json",
            "l7policy.json": "huawei-elb-l7policy.json",
        },
        _SPELLINGS,
    ),
    _recipe(
        "alibaba-alb",
        {
            "alibaba-alb.txt": "alibaba-alb.txt",
            "listener.json": "alibaba-alb-listener.json",
            "rule.json": "alibaba-alb-rule.json",
        },
        _SPELLINGS,
    ),
    _recipe(
        "alibaba-clb",
        {"alibaba-clb.txt": "alibaba-clb.txt", "listener.json": "alibaba-clb-listener.json"},
        _SPELLINGS,
        secret=False,
    ),
    _without_preset("tencent-edgeone", "Tencent Cloud EdgeOne, layer 4"),
    _without_preset("tencent-clb", "Tencent Cloud CLB, layer 4"),
    _without_preset("alibaba-api-gateway", "Alibaba Cloud API Gateway: NLB instead, layer 4"),
)
