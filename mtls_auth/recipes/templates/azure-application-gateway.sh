# Azure Application Gateway (v2) for @{server_name}. Not run here: written from its documentation. It holds a secret.
#
# Set first: GROUP, GATEWAY, LISTENER (the HTTPS listener), RULE (the routing rule that leads to the application).
set -eu

# Your clients' CA up to its root, and no other.
az network application-gateway client-cert add --resource-group "$GROUP" --gateway-name "$GATEWAY" \
    --name client-ca --data "@{client_ca}"

# Clients without a good certificate are refused here. "true" also asks that the issuer directly above the client's
# certificate is the one in the file. Never verify-client-auth-mode=Passthrough: with that, certificates of anybody
# arrive, and are refused by the application for their verdict.
az network application-gateway ssl-profile add --resource-group "$GROUP" --gateway-name "$GATEWAY" \
    --name clients --client-auth-configuration true --trusted-client-certificates client-ca
az network application-gateway http-listener update --resource-group "$GROUP" --gateway-name "$GATEWAY" \
    --name "$LISTENER" --ssl-profile-id clients

# Each of these replaces what the client sent under that name; SUCCESS, FAILED:reason or NONE is the verdict. The
# application believes none of it without the secret, for others may connect from the same subnet.
az network application-gateway rewrite-rule set create --resource-group "$GROUP" --gateway-name "$GATEWAY" \
    --name client-certificate
az network application-gateway rewrite-rule create --resource-group "$GROUP" --gateway-name "$GATEWAY" \
    --rule-set-name client-certificate --name forward --sequence 100 --request-headers \
    'X-Client-Certificate={var_client_certificate}' \
    'X-Client-Certificate-Verification={var_client_certificate_verification}' \
    'X-Proxy-Secret=@{secret}'

# Every further rule and path rule that leads to the application needs the same set, also one whose listener asks for no
# certificate: there it removes what clients have forged.
az network application-gateway rule update --resource-group "$GROUP" --gateway-name "$GATEWAY" \
    --name "$RULE" --rewrite-rule-set client-certificate

# The gateway connects from its own subnet: let that be @{proxy_address}. What it makes of a variable that is empty is
# not documented: send a forged header without a certificate (mtls-auth probe) by a listener that asks for none.
