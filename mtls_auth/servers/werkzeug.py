"""werkzeug's development server with mutual TLS: `python -m mtls_auth.servers.werkzeug mysite.wsgi:application …`.

From code it needs nothing of this: `run_simple(host, port, app, threaded=True, ssl_context=tls.context())`, whose
environ has the socket in `werkzeug.socket`, and drops headers whose names have underscores. `RequestHandler`, as
`request_handler`, gives up on clients that say nothing; without it each of them keeps its thread.
"""

import sys
from collections.abc import Callable

from werkzeug import serving

from mtls_auth.servers.command_line import Served, main


class RequestHandler(serving.WSGIRequestHandler):
    """werkzeug's, with a limit for the handshake and for each read, in seconds."""

    timeout = 10


def _listen(served: Served) -> Callable[[], None]:
    return serving.make_server(
        served.host,
        served.port,
        served.application,
        threaded=True,
        request_handler=RequestHandler,
        ssl_context=served.tls.context(),
    ).serve_forever


if __name__ == "__main__":
    sys.exit(main(_listen, server="werkzeug"))
