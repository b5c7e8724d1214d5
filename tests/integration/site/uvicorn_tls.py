"""uvicorn by `uvicorn.run`, HTTP/2 and all: `python -m tests.integration.site.uvicorn_tls TARGET PORT`."""

import sys

import uvicorn

from tests.integration.site.server_tls import tls

if __name__ == "__main__":
    target, port = sys.argv[1:]
    uvicorn.run(
        target,
        host="127.0.0.1",
        port=int(port),
        http="mtls_auth.servers.uvicorn:HTTP2Protocol",
        timeout_keep_alive=60,
        ssl_certfile=tls.certificate,
        ssl_keyfile=str(tls.key),
        ssl_context_factory=tls.uvicorn,
    )
