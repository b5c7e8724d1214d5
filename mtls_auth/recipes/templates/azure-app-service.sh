# Azure App Service for @{server_name}. Not run here: written from its documentation.
#
# Set first: GROUP, APP.
set -eu

# "Required" asks in the handshake and refuses clients without a certificate here. Whose it is, App Service does not
# look at: the application verifies it, up to the CA in its own @{client_ca}.
#
# No other mode and no exclusion paths: it has been reported that a certificate whose key the client does not have gets
# through in the optional modes. And no plain HTTP, where every X-ARR-ClientCert is the client's.
az webapp update --resource-group "$GROUP" --name "$APP" \
    --set clientCertEnabled=true clientCertMode=Required clientCertExclusionPaths='' httpsOnly=true

# Whether App Service removes a client's own X-ARR-ClientCert is not documented. Certificates are no secrets: if a
# client can send somebody else's in this header, it is that somebody. So send a forged one (mtls-auth probe) before you
# rely on this, in the mode that you use, by every host name of the app, *.azurewebsites.net too.
#
# App Service cannot send a secret. The application believes whoever connects from @{proxy_address}: which address the
# front end has inside of the container is not documented, so look at one request and name it as narrowly as you can.
