"""`python -m example_project`: the whole product on one port, with a PKI to try it with."""

import argparse
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

from example_project.nginx import nginx_command
from example_project.pki import PASSWORD
from example_project.processes import Processes, check_port, interrupt_on_terminate
from example_project.servers import APPS, SERVERS, choose, server_command
from example_project.site import CannotStart, Site


def main(arguments: list[str] | None = None) -> int:
    """Run the example until Ctrl-C; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        interrupt_on_terminate()
        _serve(options)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _serve(options: argparse.Namespace) -> None:
    site = Site(options.directory.expanduser().absolute())
    name, app = choose(options.server, options.app)
    environment = {
        "MTLS_EXAMPLE_DIRECTORY": str(site.directory),
        "MTLS_EXAMPLE_BEHIND": options.behind or "",
        "MTLS_EXAMPLE_APP": app,
    }
    os.environ |= environment
    check_port(options.port)
    server = server_command(name, app, site, None if options.behind else options.port)
    site.prepare()
    home = {"HOME": str(site.directory)}  # where gunicorn keeps its control socket
    with Processes({**environment, **home}) as processes:
        if options.behind:
            proxy = nginx_command(site, options.port)
            site.socket.unlink(missing_ok=True)
            processes.start(server, site.socket)
            processes.start(proxy, options.port)
        else:
            processes.start(server, options.port)
        print(_what_next(site, options.port), flush=True)
        processes.wait()
    raise CannotStart("The server has stopped: see above.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m example_project",
        description="Serve a site over mutual TLS, with a throw-away PKI, two users and the Django admin.",
    )
    parser.add_argument("--port", type=_port, default=8443, metavar="N", help="loopback port (default: 8443)")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(__file__).parent / "state",
        metavar="DIR",
        help="where everything is kept; delete it to start again (default: example_project/state)",
    )
    parser.add_argument("--behind", choices=["nginx"], help="put a real proxy in front (default: none)")
    parser.add_argument("--app", choices=APPS, help="the application (default: one that fits the server, or django)")
    parser.add_argument("--server", choices=SERVERS, help="the Python server (default: one that fits the application)")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port: give a number from 1 to 65535")
    return int(text)


def _what_next(site: Site, port: int) -> str:
    url = f"https://localhost:{port}"
    pki = site.pki
    with suppress(ValueError):
        pki = pki.relative_to(Path.cwd())
    quoted = {name: shlex.quote(str(pki / name)) for name in ("ca.pem", "alice.pem", "alice.key", "bob.pem", "bob.key")}
    curl = f"curl --cacert {quoted['ca.pem']}"
    alice = f"{curl} --cert {quoted['alice.pem']} --key {quoted['alice.key']}"
    bob = f"{curl} --cert {quoted['bob.pem']} --key {quoted['bob.key']}"
    return f"""\
Serving {url} with mutual TLS. Ctrl-C stops it.

Who are you? Paste these into another terminal, in this folder:

  {alice} {url}/whoami
  {bob} {url}/whoami
  {curl} {url}/whoami

Only alice's certificate may read the reports:

  {alice} {url}/reports
  {bob} {url}/reports

The admin, in a browser:

  1. Import {pki / "alice.p12"} as a client certificate; its password is {PASSWORD}
  2. Open {url}/admin/ and choose alice's certificate (accept the unknown server, or trust {pki / "ca.pem"})
  3. Revoke bob's certificate there, and ask again who he is
"""


if __name__ == "__main__":
    sys.exit(main())
