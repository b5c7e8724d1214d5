# Cloudflare for @{server_name}, RFC 9440 fields by transform rules. Not run here: written from its documentation.
#
# Set first: ZONE_ID, CLOUDFLARE_API_TOKEN. Your clients' CA, and no other, has been uploaded (for Access, or as an API
# Shield CA) and belongs to the host name.
set -eu

# This replaces all request header transform rules of the zone: merge yours into the file. The rules run in order:
#
# 1. Removes what the client sent, and writes the verdict and the secret. Always, for every host of the zone.
# 2. Writes the certificate. Cloudflare fills in the field whether it verified the certificate or not: the verdict
#    tells, and the application refuses what is not verified, or revoked, which is a thing of its own.
# 3. Writes the chain, for applications that verify by themselves. It is as the client sent it.
curl --fail --request PUT --header "Authorization: Bearer $CLOUDFLARE_API_TOKEN" \
    --header 'Content-Type: application/json' --data @transform-rules.json \
    "https://api.cloudflare.com/client/v4/zones/$ZONE_ID/rulesets/phases/http_request_late_transform/entrypoint"

# Certificates of more than 10 KiB are left out, and chains of more than 16: with a verdict and no certificate the
# application refuses the request. That Client_Cert does not pass is not documented: Python servers read it as
# Client-Cert. gunicorn drops it; where a server shows both, the application refuses the request.
#
# Anybody can lead a zone of his own to your origin, from the same addresses: the secret tells yours. For
# @{proxy_address} name every range that Cloudflare publishes. With cloudflared beside the application it is 127.0.0.1,
# and no port is open.
