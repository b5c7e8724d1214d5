"""TLS of the site by `ServerTLS`; to gunicorn, `-c python:tests.integration.site.server_tls`, a configuration file."""

import os

from mtls_auth import ServerTLS

tls = ServerTLS(
    certificate=os.environ["MTLS_SITE_CERTIFICATE"],
    key=os.environ["MTLS_SITE_KEY"],
    client_ca=os.environ["MTLS_SITE_CLIENT_CA"],
    required=os.environ["MTLS_SITE_CERTIFICATES"] == "required",
)
ssl_context = tls.gunicorn
