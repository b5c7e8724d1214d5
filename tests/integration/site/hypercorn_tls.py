"""A configuration file of hypercorn: `hypercorn -c file:tests/integration/site/hypercorn_tls.py`."""

from mtls_auth.servers.hypercorn import ContextFactory
from tests.integration.site.server_tls import tls

certfile, keyfile, create_ssl_context = tls.certificate, tls.key, ContextFactory(tls)
