# Google Cloud Application Load Balancer for @{server_name}. Not run here: written from its documentation.
#
# Set first: PROXY (the target HTTPS proxy), URL_MAP. This is for global external load balancers; for the others take
# --region where it says --global.
set -eu

# Your clients' CA: its root as the anchor, and no other. Intermediates beside it: ,intermediate-cas=FILE
gcloud certificate-manager trust-configs create client-ca --location=global --trust-store="trust-anchors=@{client_ca}"

# Put your project's name into the file first.
gcloud network-security server-tls-policies import clients --location=global --source=server-tls-policy.yaml
gcloud compute target-https-proxies update "$PROXY" --global --server-tls-policy=clients

# The load balancer sends nothing of a certificate by itself. In the editor that opens, add header-action.yaml at the
# top level of the URL map, so that it holds for every path.
gcloud compute url-maps edit "$URL_MAP" --global

# Classic Application Load Balancers have no headerAction: there each backend service takes the lines of it as
#    gcloud compute backend-services update … --custom-request-header='Client-Cert: {client_cert_leaf}'
# Whether that replaces what the client sent is not documented. Nor is what becomes of a header whose variable is empty;
# X-Client-Cert-Chain-Verified never is, and without its "true" nothing is believed.
#
# Every URL map and every backend service that leads to the application needs all of these headers, also behind a proxy
# that asks for no certificate: there they replace what clients have forged.
#
# Google's proxies connect from the same addresses for all customers, 130.211.0.0/22 and 35.191.0.0/16 (internal and
# regional ones from your proxy-only subnet): the secret tells yours. For @{proxy_address} name all of them. Health
# checks come without any of these headers.
