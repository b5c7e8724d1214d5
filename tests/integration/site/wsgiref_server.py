"""The standard library's server on 127.0.0.1: `python -m tests.integration.site.wsgiref_server MODULE PORT`."""

import importlib
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that one that a proxy keeps open does not hold the others up."""

    daemon_threads = True


if __name__ == "__main__":
    module, port = sys.argv[1:]
    application = importlib.import_module(module).application
    with make_server("127.0.0.1", int(port), application, server_class=Server) as server:
        server.serve_forever()
