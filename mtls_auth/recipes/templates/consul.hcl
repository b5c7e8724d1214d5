# Consul service mesh: the sidecar tells the application which service is its client. Not run here: written from its
# source; the Envoy in it was. These are names of services (spiffe://…), not certificates of people.

# consul config write app.hcl. Without "http", the sidecar passes bytes on and says nothing.
Kind     = "service-defaults"
Name     = "app"
Protocol = "http"

# In the mesh's own entry, leave HTTP.SanitizeXForwardedClientCert out: true removes the sidecar's statement as well.
# The sidecar appends it to what the client sent: the application reads the last one only.
#
# The sidecar cannot send a secret. Let the application listen on 127.0.0.1 alone, and no other program in its place:
# whatever connects from there is believed. And use a server that drops X_Forwarded_Client_Cert, such as gunicorn:
# others read it as X-Forwarded-Client-Cert.
