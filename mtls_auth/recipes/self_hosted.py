"""The terminators that people run themselves, each of which was run with its recipe."""

from mtls_auth.recipes.recipe import Recipe

_SOCKET = (
    "Whoever can open the socket between the two can claim to be anybody: check its owner, its group and its mode."
)
_PASSES_ON = (
    "The Python server ends TLS, and has to be told: gunicorn --certfile … --keyfile … --ca-certs … --cert-reqs 1; or "
    "uvicorn --http mtls_auth.servers.uvicorn:HTTPProtocol --ssl-certfile … --ssl-keyfile … --ssl-ca-certs … "
    "--ssl-cert-reqs 1."
)

RECIPES = (
    Recipe(
        name="nginx",
        title="Nginx",
        dialect="nginx",
        files={"app.conf": "nginx.conf", "client-certificate.conf": "nginx-location.conf"},
        folder="/etc/nginx",
    ),
    Recipe(
        name="nginx-folded",
        title="Nginx with the deprecated $ssl_client_cert, and what to change",
        dialect="nginx-folded",
        files={"app.conf": "nginx.conf", "client-certificate.conf": "nginx-folded-location.conf"},
        folder="/etc/nginx",
        notes=("gunicorn, waitress, granian and uvicorn with httptools answer 400 to certificates sent this way.",),
    ),
    Recipe(
        name="nginx-uwsgi",
        title="Nginx before uWSGI, by uwsgi_param",
        server_source="gateway-params",
        files={
            "app.conf": "nginx-uwsgi.conf",
            "app-params.conf": "nginx-uwsgi-params.conf",
            "uwsgi.ini": "nginx-uwsgi.ini",
        },
        folder="/etc/nginx",
        formats=("wsgi", "django"),
        notes=(_SOCKET, "gunicorn's --protocol uwsgi drops these variables: this needs uWSGI itself."),
    ),
    Recipe(
        name="apache",
        title="Apache httpd, mod_proxy_http",
        dialect="apache",
        files={"app.conf": "apache.conf"},
        folder="/etc/apache2",
    ),
    Recipe(
        name="apache-escaped",
        title="Apache httpd, mod_proxy_http, with percent-encoding",
        dialect="apache-escaped",
        files={"app.conf": "apache-escaped.conf"},
        folder="/etc/apache2",
    ),
    Recipe(
        name="mod_wsgi",
        title="Apache httpd, mod_wsgi",
        server_source="mod_wsgi",
        files={"app.conf": "mod_wsgi.conf"},
        folder="/etc/apache2",
        formats=("wsgi", "django"),
    ),
    Recipe(
        name="haproxy",
        title="HAProxy",
        dialect="haproxy",
        files={"haproxy.cfg": "haproxy.cfg"},
        folder="/etc/haproxy",
        notes=(
            "HAProxy before 3.2 passes the fields after a chunked body on, and uvicorn's own httptools protocol adds "
            "them to the headers: there start uvicorn with --http mtls_auth.servers.uvicorn:HTTPProtocol.",
        ),
    ),
    Recipe(
        name="rfc9440",
        title="RFC 9440 Client-Cert, with Caddy as the example",
        dialect="rfc9440",
        files={"Caddyfile": "rfc9440.Caddyfile"},
        folder="/etc/caddy",
    ),
    Recipe(
        name="caddy",
        title="Caddy",
        dialect="caddy",
        files={"Caddyfile": "Caddyfile"},
        folder="/etc/caddy",
    ),
    Recipe(
        name="caddy-2.6",
        title="Caddy before 2.8",
        dialect="caddy",
        files={"Caddyfile": "Caddyfile-2.6"},
        folder="/etc/caddy",
    ),
    Recipe(
        name="traefik",
        title="Traefik",
        dialect="traefik",
        files={"traefik.yml": "traefik.yml", "app.yml": "traefik-app.yml"},
        folder="/etc/traefik",
    ),
    Recipe(
        name="envoy",
        title="Envoy",
        dialect="envoy",
        files={"envoy.yaml": "envoy.yaml"},
        folder="/etc/envoy",
    ),
    Recipe(
        name="lighttpd",
        title="lighttpd, mod_magnet",
        dialect="lighttpd",
        files={"lighttpd.conf": "lighttpd.conf", "client-certificate.lua": "lighttpd.lua"},
        folder="/etc/lighttpd",
    ),
    Recipe(
        name="uwsgi",
        title="uWSGI with its own HTTPS router",
        server_source="uwsgi",
        files={"uwsgi.ini": "uwsgi.ini"},
        folder="/etc/uwsgi",
        formats=("wsgi", "django"),
        notes=(_SOCKET,),
    ),
    Recipe(
        name="layer4-haproxy",
        title="HAProxy that passes TLS on to the Python server",
        server_source="tls",
        files={"haproxy.cfg": "layer4-haproxy.cfg"},
        folder="/etc/haproxy",
        notes=(_PASSES_ON,),
    ),
    Recipe(
        name="layer4-nginx",
        title="Nginx that passes TLS on to the Python server",
        server_source="tls",
        files={"nginx-stream.conf": "layer4-nginx.conf"},
        folder="/etc/nginx",
        notes=(_PASSES_ON,),
    ),
)
