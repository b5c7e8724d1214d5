"""Ingress controllers and service meshes: what runs inside of a cluster, by its documentation and source."""

from mtls_auth.recipes.recipe import Recipe

_NOT_RUN = (
    "Not run: this follows documentation and source. Look at a request of your own, with a certificate and without "
    "one, before you rely on it."
)
_WORKLOADS = (
    "What the application learns is which workload is calling, by name. A person behind it is unknown: pass that "
    "person's certificate to the application by another way."
)

RECIPES = (
    Recipe(
        name="ingress-nginx",
        title="ingress-nginx, Kubernetes",
        dialect="ingress-nginx",
        files={"app.yaml": "ingress-nginx.yaml"},
        observed=False,
        notes=(_NOT_RUN,),
    ),
    Recipe(
        name="contour",
        title="Contour, Kubernetes",
        dialect="contour",
        files={"app.yaml": "contour.yaml"},
        observed=False,
        notes=(_NOT_RUN,),
    ),
    Recipe(
        name="openshift-router",
        title="OpenShift router",
        dialect="openshift-router",
        files={"app.yaml": "openshift-router.yaml"},
        observed=False,
        notes=(_NOT_RUN,),
    ),
    Recipe(
        name="istio",
        title="Istio sidecar: which workload is calling",
        dialect="istio",
        files={"app.yaml": "istio.yaml"},
        address='"127.0.0.6"',
        states_names=True,
        observed=False,
        notes=(_NOT_RUN, _WORKLOADS),
    ),
    Recipe(
        name="consul",
        title="Consul service mesh: which service is calling",
        dialect="consul",
        files={"app.hcl": "consul.hcl"},
        address='"127.0.0.1"',
        secret=False,
        states_names=True,
        observed=False,
        notes=(_NOT_RUN, _WORKLOADS),
    ),
    Recipe(
        name="linkerd",
        title="Linkerd: which workload is calling",
        dialect="linkerd",
        files={"app.yaml": "linkerd.yaml"},
        address='os.environ["PROXY_ADDRESS"]',
        secret=False,
        states_names=True,
        observed=False,
        notes=(_NOT_RUN, _WORKLOADS),
    ),
)
