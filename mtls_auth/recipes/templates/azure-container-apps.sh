# Azure Container Apps for @{server_name}. Not run here: written from its documentation.
#
# Set first: GROUP, APP.
set -eu

# "require" refuses clients without a certificate here. Whose it is, the platform does not look at: the application
# verifies it, up to the CA in its own @{client_ca}. "accept" leaves clients without one to the application, and then
# a forged header has no true one beside it. No plain HTTP, where there is no certificate.
APP_ID=$(az containerapp show --resource-group "$GROUP" --name "$APP" --query id --output tsv)
az rest --method patch --url "https://management.azure.com$APP_ID?api-version=2024-03-01" \
    --headers Content-Type=application/json --body @client-certificate-mode.json

# Whether the platform removes a client's own X-Forwarded-Client-Cert is not documented. Certificates are no secrets: if
# a client can send somebody else's in this header, it is that somebody. So send a forged one (mtls-auth probe) before
# you rely on this.
#
# The ingress cannot send a secret. The application believes whoever connects from @{proxy_address}: which address the
# ingress has is not documented, so look at one request. Other apps of the same environment may connect from the same
# network, past the ingress too: let nothing run in it that you do not trust.
