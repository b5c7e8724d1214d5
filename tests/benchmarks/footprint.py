"""What the package takes at rest: memory a cached certificate, and the import."""

import json
import subprocess
import sys
import tracemalloc
from functools import partial

from mtls_auth import NGINX, AnyVerifiedCertificate, Authenticator, Connection
from mtls_auth.cache import MAX_ENTRIES
from mtls_auth.testing import escaped_pem
from tests.benchmarks import traffic
from tests.benchmarks.core import forwarded, nginx_fields
from tests.benchmarks.leaves import mint
from tests.benchmarks.report import Table
from tests.benchmarks.rounds import QUICK, Case, Pace, measure, repeated

FRAMEWORKS = ("django", "starlette", "fastapi", "asgiref", "flask", "werkzeug")


def tables(pace: Pace) -> list[Table]:
    return [_memory(100 if pace is QUICK else 1000), _import(pace)]


def _memory(count: int) -> Table:
    headers = [escaped_pem(der).encode() for der in mint("ec", count)]
    authenticator = Authenticator(forwarded(NGINX), policy=AnyVerifiedCertificate(), cache_entries=count // 2)
    environ = traffic.environs(nginx_fields(iter(headers)))
    sizes: list[int] = []
    tracemalloc.start()
    for _ in headers:
        authenticator.authenticate(Connection.from_environ(environ(), authenticator.known_headers))
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    half, tenth = count // 2, count // 10
    each = (sizes[half - 1] - sizes[tenth]) / (half - 1 - tenth)
    return Table(
        "Memory of the certificate cache",
        [
            {
                "header": f"P-256, {len(headers[0])} characters",
                "bytes a certificate": round(each),
                f"MB with the default of {MAX_ENTRIES} entries": each * MAX_ENTRIES / 1e6,
                "growth from half full to twice full": f"{(sizes[-1] - sizes[half - 1]) / each / half:.1%}",
                "entries kept of those offered": f"{half} of {count}",
            }
        ],
        ["By tracemalloc. “Growth” is what the second half of the certificates adds to a full cache: bounded is 0 %."],
    )


def _import(pace: Pace) -> Table:
    nothing, package, cryptography = (
        Case(code, repeated(partial(_python, code)), limit=1)
        for code in ("pass", "import mtls_auth", "import cryptography.x509.verification")
    )
    measured = measure([nothing, package, cryptography], pace)
    code = f"import json, sys, mtls_auth; print(json.dumps([name for name in {FRAMEWORKS!r} if name in sys.modules]))"
    loaded = json.loads(_python(code))
    return Table(
        "Import",
        [
            {
                "interpreter alone, ms": measured[nothing].total / 1000,
                "with mtls_auth, ms": measured[package].total / 1000,
                "with cryptography.x509 alone, ms": measured[cryptography].total / 1000,
                "frameworks loaded": ", ".join(loaded) or "none",
            }
        ],
    )


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
