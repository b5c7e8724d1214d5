# Cloudflare for @{server_name}, its own headers. Not run here: written from its documentation.
#
# Set first: ZONE_ID, CLOUDFLARE_API_TOKEN. Your clients' CA, and no other, has been uploaded (for Access, or as an API
# Shield CA) and belongs to the host name.
set -eu
ZONE="https://api.cloudflare.com/client/v4/zones/$ZONE_ID"
put() {
    curl --fail --request "$1" "$ZONE/$2" --header "Authorization: Bearer $CLOUDFLARE_API_TOKEN" \
        --header 'Content-Type: application/json' --data "@$3"
}

# Cf-Client-Cert-Der-Base64 and Cf-Client-Cert-Sha256. The file names all host names that are to have them.
put PUT access/certificates/settings certificate-forwarding.json
# Cf-Cert-Verified, Cf-Cert-Revoked, Cf-Cert-Presented: the verdict.
put PATCH managed_headers managed-headers.json
# The secret. This replaces all request header transform rules of the zone: merge yours into the file.
put PUT rulesets/phases/http_request_late_transform/entrypoint transform-rules.json
# Refuses forged headers, and clients without a good certificate. This replaces all custom rules of the firewall.
put PUT rulesets/phases/http_request_firewall_custom/entrypoint firewall-rules.json

# Whether Cloudflare removes a client's own Cf-Client-Cert-… is not documented, and no transform rule may touch names
# that begin with Cf-: so the first firewall rule refuses them. If it refuses everybody, Cloudflare writes its own
# earlier than we think: take it away, and send a forged one (mtls-auth probe).
#
# One page says that the certificate comes with every request of a connection, another that it comes with the first
# only: send two on one connection, and see that the application knows both.
#
# Anybody can lead a zone of his own to your origin, from the same addresses: the secret tells yours. For
# @{proxy_address} name every range that Cloudflare publishes. With cloudflared beside the application it is 127.0.0.1,
# and no port is open.
