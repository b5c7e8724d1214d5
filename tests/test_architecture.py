"""Who may import whom, read from the source; names and sizes of files; what the package offers."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import mtls_auth

ROOT = Path(__file__).parent.parent
PACKAGES = ("mtls_auth", "django_mtls", "example_project")
MAX_LINES = 260

STANDARD = set(sys.stdlib_module_names) | {"_typeshed"}
# What a module of `servers` imports that is not called like its server.
OF_SERVERS = {
    "asgi_worker": {"gunicorn"},
    "daphne": {"daphne", "twisted", "zope"},
    "pyopenssl_context": {"OpenSSL"},
    "tls_first": {"gunicorn"},
    "tornado_worker": {"gunicorn", "tornado"},
    "uvicorn_worker": {"gunicorn", "uvicorn_worker"},
}
NOT_CORE = ("mtls_auth.cli", "mtls_auth.probing", "mtls_auth.recipes", "mtls_auth.servers", "mtls_auth.starlette")


def files(*packages: str) -> list[Path]:
    """Return the Python files of these packages; templates of files are not theirs."""
    found = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if "templates" not in path.parts)


def module_name(path: Path) -> str:
    """Return the dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield every import of a file, wherever it stands: the module, and the name taken from it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import is written out: `.x` of a/b.py is a.x.
            origin = (
                [*module_name(path).split(".")[: -node.level], node.module or ""] if node.level else [node.module or ""]
            )
            yield from ((".".join(filter(None, origin)), alias.name) for alias in node.names)


def modules(path: Path) -> set[str]:
    """Return the modules that a file imports; of `from package import module` the module."""
    found = set()
    for module, name in imports(path):
        submodule = f"{module}.{name}"
        is_module = (ROOT / submodule.replace(".", "/")).is_dir() or (
            ROOT / f"{submodule.replace('.', '/')}.py"
        ).is_file()
        found.add(submodule if name is not None and is_module else module)
    return found


def within(module: str, *packages: str) -> bool:
    """Whether a module is one of these or below."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


CORE = {module_name(path): path for path in files("mtls_auth") if not within(module_name(path), *NOT_CORE)}


def by_name(paths: list[Path]) -> list[object]:
    """Return files as parameters that go by their names."""
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def test_the_walk_sees_something() -> None:
    """The rules below are about files that exist, and imports that are found."""
    assert {"mtls_auth", "mtls_auth.authenticator", "mtls_auth.wsgi", "mtls_auth.testing"} <= set(CORE)
    assert not any(within(name, *NOT_CORE) for name in CORE)
    assert {"cryptography", "mtls_auth.codecs"} <= {
        name for path in CORE.values() for module in modules(path) for name in (module, module.split(".")[0])
    }
    assert "mtls_auth.codecs" in modules(ROOT / "mtls_auth" / "dialect.py"), "from mtls_auth import codecs"
    assert "_typeshed.wsgi" in modules(ROOT / "mtls_auth" / "wsgi.py"), "below TYPE_CHECKING"


@pytest.mark.parametrize("path", by_name(list(CORE.values())))
def test_the_core_s_dependencies(path: Path) -> None:
    """The core imports the standard library, cryptography and itself, but no adapter of a framework or a server."""
    imported = modules(path)
    assert {module.split(".")[0] for module in imported} <= STANDARD | {"cryptography", "mtls_auth"}
    assert not [module for module in imported if within(module, *NOT_CORE)]


@pytest.mark.parametrize("path", by_name(files("mtls_auth")))
def test_frameworks_and_servers(path: Path) -> None:
    """Only `starlette.py` imports starlette, only the probe's HTTP/2 client h2; a module of `servers` its server."""
    allowed = STANDARD | {"cryptography", "mtls_auth"}
    if "servers" in path.parent.parts:
        allowed |= OF_SERVERS.get(path.stem, {path.stem})
    elif module_name(path) == "mtls_auth.starlette":
        allowed.add("starlette")
    elif module_name(path) == "mtls_auth.probing.http2":
        allowed.add("h2")
    assert {module.split(".")[0] for module in modules(path)} <= allowed


@pytest.mark.parametrize("path", by_name([path for path in files("mtls_auth") if "servers" in path.parent.parts]))
def test_servers_keep_to_themselves(path: Path) -> None:
    """A server's shim knows neither the command line nor a framework."""
    assert not [module for module in modules(path) if within(module, "mtls_auth.cli", "mtls_auth.starlette")]


def reach(start: str) -> set[str]:
    """Return the modules of the core that importing one of them loads."""
    reached: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        if name in CORE and name not in reached:
            reached.add(name)
            pending += modules(CORE[name])
    return reached


@pytest.mark.parametrize("name", ["policy", "identity", "mapping"])
def test_who_never_sees_a_source(name: str) -> None:
    """What decides about identities cannot reach what is unverified, not even by way of others."""
    reached = reach(f"mtls_auth.{name}")
    assert "mtls_auth.verification" in reached
    assert not reached & {
        f"mtls_auth.{module}" for module in ("sources", "dialects", "connection", "codecs", "authenticator")
    }


def test_no_cycles() -> None:
    """No module of the core imports itself by way of others."""
    for name, path in CORE.items():
        if name != "mtls_auth":
            assert not [
                module for module in modules(path) & set(CORE) if module != "mtls_auth" and name in reach(module)
            ]


@pytest.mark.parametrize("path", by_name(files("django_mtls")))
def test_django_uses_public_names(path: Path) -> None:
    """The Django app uses the core by its public names, of public modules."""
    for module, name in imports(path):
        if within(module, "mtls_auth"):
            parts = [*module.split("."), *([name] if name else [])]
            assert not [part for part in parts if part.startswith("_") and not part.startswith("__")]
            is_server = path.stem == "runserver_mtls" and module == "mtls_auth.servers.wsgiref"
            assert is_server or not within(module, *NOT_CORE)
            if name is not None and module == "mtls_auth":
                assert name in mtls_auth.__all__ or (ROOT / "mtls_auth" / f"{name}.py").is_file()


@pytest.mark.parametrize("path", by_name(files("django_mtls")))
def test_django_subclasses_nothing_of_the_core(path: Path) -> None:
    """The Django app implements the core's protocols; it inherits from none of its classes."""
    taken = {name for module, name in imports(path) if within(module, "mtls_auth")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert not {base.id for base in node.bases if isinstance(base, ast.Name)} & taken, node.name


@pytest.mark.parametrize("path", by_name(files("mtls_auth", "django_mtls")))
def test_nobody_needs_the_example(path: Path) -> None:
    """Neither package imports the example, the tests, or the core the Django app."""
    forbidden = ["example_project", "tests"] + (
        ["django_mtls", "django"] if path.is_relative_to(ROOT / "mtls_auth") else []
    )
    assert not [module for module in modules(path) if within(module, *forbidden)]


@pytest.mark.parametrize("statement", ["import mtls_auth", "import mtls_auth.wsgi, mtls_auth.asgi, mtls_auth.testing"])
def test_importing_the_core_loads_no_framework(statement: str) -> None:
    """`import mtls_auth`, and the adapters for plain WSGI and ASGI, load no framework and no server."""
    names = "django starlette asgiref uvicorn gunicorn anyio rest_framework pytest mtls_auth.cli mtls_auth.starlette"
    program = f"import sys; {statement}; print(*(name for name in {names.split()!r} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def order(name: str) -> tuple[int, str]:
    """Return the place of a name in `__all__`: constants, classes, then the rest, as isort sorts."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_public_names() -> None:
    """`__all__` lists what can be imported, nothing more and nothing less, in order."""
    offered = {
        name
        for name, value in vars(mtls_auth).items()
        if not isinstance(value, ModuleType) and (not name.startswith("_") or name == "__version__")
    }
    assert set(mtls_auth.__all__) == offered
    assert mtls_auth.__all__ == sorted(mtls_auth.__all__, key=order)
    for name in offered:
        assert getattr(importlib.import_module("mtls_auth"), name).__doc__, name


@pytest.mark.parametrize("path", by_name(files(*PACKAGES, "tests")))
def test_file_names(path: Path) -> None:
    """A file is named after what is in it: utils, helpers and common are not."""
    assert not {part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts} & {
        "util",
        "utils",
        "utilities",
        "helper",
        "helpers",
        "common",
        "misc",
    }


@pytest.mark.parametrize("path", by_name(files(*PACKAGES)))
def test_file_sizes(path: Path) -> None:
    """A file of the packages is read in one sitting."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
