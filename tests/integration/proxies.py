"""Real TLS terminators, each started from its published recipe as it stands. It holds no test.

What a recipe leaves to the operator's machine (process ids, logs, modules, the file that includes the others) is
written around it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mtls_auth.recipes import RECIPES, Places
from tests.integration.servers import Process, requires, unavailable
from tests.integration.system_python import library

# Started as root, workers would become "nobody", who may not enter the tests' directories.
_AS_ROOT = os.geteuid() == 0
_NGINX = """\
daemon off;
{nginx_user}
worker_processes 1;
pid "{folder}/nginx.pid";
error_log stderr info;
events {{ worker_connections 128; }}
http {{
    {nginx_http2}
    access_log off;
    client_body_temp_path "{folder}/client_body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    include "{folder}/app.conf";
}}
"""
_STREAM_APART, _STREAM_MODULE = "--with-stream=dynamic", "usr/lib/nginx/modules/ngx_stream_module.so"
_NGINX_STREAM = """\
daemon off;
{nginx_user}
{nginx_stream}
worker_processes 1;
pid "{folder}/nginx.pid";
error_log stderr info;
events {{ worker_connections 128; }}
include "{folder}/nginx-stream.conf";
"""
_APACHE = """\
ServerRoot "{folder}"
ServerName localhost
PidFile "{folder}/apache.pid"
Mutex "file:{folder}"
ErrorLog "/dev/stderr"
{apache_user}
{apache_modules}
StartServers 1
ThreadsPerChild 16
MaxRequestWorkers 16
Protocols h2 http/1.1
Include "{folder}/app.conf"
"""
_APACHE_MODULES = "mpm_event authz_core ssl socache_shmcb headers http2 proxy proxy_http"
# Where the application's process may look for its socket, whoever it runs as.
_MOD_WSGI = """\
LoadModule wsgi_module {apache_folder}/mod_wsgi.so
WSGISocketPrefix "{public}/socket"
"""
# Several may run at once, none of them redirects port 80.
_CADDY = """\
{{
	admin off
	auto_https off
	storage file_system {folder}
}}
import {folder}/Caddyfile
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminator:
    """How a terminator runs on the files of its recipe, which lie in `{folder}`."""

    program: str
    arguments: str
    around: Mapping[str, str] = field(default_factory=dict)
    """Further files, by name."""
    speaks_http2: bool = True
    embeds: str | None = None
    """Where the library is that runs the application in process; None for a Python server behind the terminator."""


_NGINX_ROW = Terminator(
    program="nginx", arguments="-p {folder} -e stderr -c {folder}/nginx.conf", around={"nginx.conf": _NGINX}
)
_APACHE_ROW = Terminator(
    program="apache2", arguments="-D FOREGROUND -f {folder}/apache.conf", around={"apache.conf": _APACHE}
)
_HAPROXY_ROW = Terminator(program="haproxy", arguments="-db -f {folder}/haproxy.cfg")
_CADDY_ROW = Terminator(
    program="caddy", arguments="run --adapter caddyfile --config {folder}/around", around={"around": _CADDY}
)
_UWSGI = "--plugins-dir /usr/lib/uwsgi/plugins --plugin {plugins} --ini {{folder}}/uwsgi.ini"
_UWSGI_PLUGIN = "usr/lib/uwsgi/plugins/python3*_plugin.so"

TERMINATORS: Mapping[str, Terminator] = {
    "nginx": _NGINX_ROW,
    "nginx-folded": _NGINX_ROW,
    "nginx-uwsgi": replace(_NGINX_ROW, embeds=_UWSGI_PLUGIN),
    "apache": _APACHE_ROW,
    "apache-escaped": _APACHE_ROW,
    "mod_wsgi": replace(
        _APACHE_ROW, around={"apache.conf": _MOD_WSGI + _APACHE}, embeds="usr/lib/apache2/modules/mod_wsgi.so"
    ),
    "haproxy": _HAPROXY_ROW,
    "caddy": _CADDY_ROW,
    "rfc9440": _CADDY_ROW,
    "caddy-2.6": replace(_CADDY_ROW, program="caddy-2.6"),
    "traefik": Terminator(program="traefik", arguments="--configFile={folder}/traefik.yml"),
    "envoy": Terminator(
        program="envoy", arguments="-c {folder}/envoy.yaml --disable-hot-restart --concurrency 1 -l warn"
    ),
    "lighttpd": Terminator(program="lighttpd", arguments="-D -f {folder}/lighttpd.conf"),
    "uwsgi": Terminator(
        program="uwsgi", arguments=_UWSGI.format(plugins="http,python3"), embeds=_UWSGI_PLUGIN, speaks_http2=False
    ),
}
# Those that pass TLS on to the Python server.
LAYER4: Mapping[str, Terminator] = {
    "layer4-haproxy": _HAPROXY_ROW,
    "layer4-nginx": replace(_NGINX_ROW, around={"nginx.conf": _NGINX_STREAM}),
}
# What runs the application behind a terminator that speaks to it by another protocol than HTTP.
BEHIND: Mapping[str, Terminator] = {
    "nginx-uwsgi": Terminator(program="uwsgi", arguments=_UWSGI.format(plugins="python3")),
}
_ROWS = {**TERMINATORS, **LAYER4}


def start_terminator(
    name: str, places: Places, start: Callable[[Process], Process], *, mistake: tuple[str, str] | None = None
) -> Process:
    """Write the recipe's files and what is around them into `places.folder`, and start what they describe.

    A *mistake* is a text of the recipe and what stands in its place.
    """
    texts = RECIPES[name].configuration(places)
    if mistake is not None:
        assert any(mistake[0] in text for text in texts.values()), f"{name} does not say {mistake[0]!r}"
        texts = {file: text.replace(*mistake) for file, text in texts.items()}
    for file, text in texts.items():
        (Path(places.folder or "") / file).write_text(text)
    if name in BEHIND:
        start(_process(BEHIND[name], places, ready=Path(places.socket)))
    return start(_process(_ROWS[name], places, ready=int(places.listen_port)))


def check_installed(name: str) -> None:
    """Skip the test where the terminator is missing, or what runs the application with it."""
    program = _program(_ROWS[name])
    if name in BEHIND:
        _program(BEHIND[name])
    if name == "lighttpd":
        for module in ("mod_openssl", "mod_magnet"):
            library(f"lighttpd's {module}", [f"usr/{folder}/lighttpd/{module}.so" for folder in ("lib*", "lib/*")])
    if name == "layer4-nginx" and _STREAM_APART in _version(program, "-V"):
        library("nginx's stream module", [_STREAM_MODULE])


def check_speaks_http2(name: str) -> None:
    """Skip the test where the terminator is an nginx that speaks HTTP/2 only if its recipe said so."""
    program = _program(_ROWS[name])
    if _ROWS[name].program == "nginx" and not _has_http2_switch(_version(program, "-V")):
        pytest.skip("nginx before 1.25.1 has no switch for HTTP/2 outside of the recipe's own lines")


def _has_http2_switch(built: str) -> bool:
    numbers = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", built)
    assert numbers is not None
    return tuple(map(int, numbers.groups())) >= (1, 25, 1)


def _program(row: Terminator) -> str:
    return _older_caddy() if row.program == "caddy-2.6" else requires(row.program)


def _process(row: Terminator, places: Places, *, ready: int | Path) -> Process:
    program, folder = _program(row), Path(places.folder or "")
    values = {"folder": folder, "public": Path(places.script).parent, **_values(row.program, program)}
    for file, text in row.around.items():
        (folder / file).write_text(text.format(**values))
    command = [program, *row.arguments.format(**values).split()]
    log = folder / f"{row.program}.log"
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder))
    return Process(command, ready=ready, log=log, cwd=folder, env=homes)


def _values(name: str, program: str) -> Mapping[str, str]:
    match name:
        case "nginx":
            built = _version(program, "-V")
            return {
                "nginx_user": "user root root;" if _AS_ROOT else "",
                "nginx_http2": "http2 on;" if _has_http2_switch(built) else "",
                "nginx_stream": f"load_module /{_STREAM_MODULE};" if _STREAM_APART in built else "",
            }
        case "apache2":
            folder = library("Apache's module folder", ["usr/lib/apache2/modules", "usr/lib64/httpd/modules"])
            modules = [f"LoadModule {name}_module {folder}/mod_{name}.so" for name in _APACHE_MODULES.split()]
            user = "User www-data\nGroup www-data" if _AS_ROOT else ""
            return {"apache_user": user, "apache_folder": str(folder), "apache_modules": "\n".join(modules)}
        case _:
            return {}


def _older_caddy() -> str:
    program = shutil.which("caddy", path="/usr/bin:/usr/local/bin")
    if program is None or not re.match(r"v?2\.[0-7]\.", _version(program, "version")):
        unavailable("Caddy before 2.8")
    return program


def _version(program: str, argument: str) -> str:
    result = subprocess.run(
        [program, argument], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return result.stdout
