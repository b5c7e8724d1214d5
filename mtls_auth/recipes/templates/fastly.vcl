# Fastly for @{server_name}: a VCL snippet in vcl_recv, before all others. Not run here: inferred from the list of its
# variables. It holds a secret. Mutual TLS is switched on for the domain, with your clients' CA up to its root, and no
# other; "enforced: false" leaves clients without a good certificate to the application.

# Once: not again after a restart, and not at a shield, whose client is Fastly itself. A client cannot claim to be that:
# Fastly signs its own header.
if (fastly.ff.visits_this_service == 0 && req.restarts == 0) {
  # Python servers read X_SSL_Client_Cert, in any mixture of _ and -, as X-SSL-Client-Cert.
  unset req.http.X_SSL_Client_Cert;
  unset req.http.X_SSL_Client-Cert;
  unset req.http.X_SSL-Client_Cert;
  unset req.http.X_SSL-Client-Cert;
  unset req.http.X-SSL_Client_Cert;
  unset req.http.X-SSL_Client-Cert;
  unset req.http.X-SSL-Client_Cert;
  unset req.http.X_SSL_Client_Verify;
  unset req.http.X_SSL_Client-Verify;
  unset req.http.X_SSL-Client_Verify;
  unset req.http.X_SSL-Client-Verify;
  unset req.http.X-SSL_Client_Verify;
  unset req.http.X-SSL_Client-Verify;
  unset req.http.X-SSL-Client_Verify;
  unset req.http.X_Proxy_Secret;
  unset req.http.X_Proxy-Secret;
  unset req.http.X-Proxy_Secret;

  # Always, and never with a condition: what is not set here is what the client sent.
  unset req.http.X-SSL-Client-Cert;
  set req.http.X-SSL-Client-Cert = tls.client.certificate.raw_certificate_b64;
  # 1 only if Fastly verified the certificate.
  set req.http.X-SSL-Client-Verify = if(tls.client.certificate.is_verified, "1", "0");
}
# The application believes nothing without this: others connect from the same addresses, with services of their own.
set req.http.X-Proxy-Secret = "@{secret}";

# Answers depend on the certificate, so nothing may be cached: let vcl_recv end with return(pass). Not here, where it
# would skip what comes after.
#
# What raw_certificate_b64 holds is not documented beyond its name: record a request of your own, and give it to
# mtls-auth explain. For @{proxy_address} name every range that Fastly publishes.
