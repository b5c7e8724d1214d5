"""The built documentation says what the code says, and builds without a warning."""

import html
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.dispatch import Signal

import mtls_auth
from django_mtls import signals
from django_mtls.settings import Settings
from mtls_auth import Dialect, Policy, Reason, ServerVariables
from mtls_auth.dialects import BUILTIN
from mtls_auth.known_headers import known_headers
from mtls_auth.recipes import RECIPES, Places
from mtls_auth.server_environ import BUILTIN_VARIABLES
from mtls_auth.silent_servers import SERVERS
from tests.docs.snippets import ROOT, pages

TERMINATORS = [path for path in (ROOT / "docs/howto/terminators").glob("*.md") if path.stem != "index"]
# The row of the table of facts that names the source.
FACTS = '<td><p><code class="docutils literal notranslate"><span class="pre">{}</span></code></p></td>'
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# Errors of the settings are made by number, the others are messages with their whole id.
CHECK_ID = re.compile(r'"(?:django_mtls\.)?([EW]\d{3})"')


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages; skip where Sphinx is missing, unless CI runs this."""
    missing = [module for module in ("sphinx", "furo", "myst_parser") if find_spec(module) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)} (pip install -e '.[docs]')"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    output = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "docs", str(output)]
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")
    return output


def page(built: Path, name: str) -> str:
    """Return the page's HTML, entities resolved."""
    return html.unescape((built / f"{name}.html").read_text())


def codes(text: str) -> set[str]:
    """Return everything that the page shows as code."""
    return {re.sub(r"<[^>]+>", "", code) for code in re.findall(r"<code[^>]*>(.*?)</code>", text, re.DOTALL)}


def blocks(text: str) -> set[str]:
    """Return the literal blocks of a page as they were written."""
    found = re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)
    return {html.unescape(re.sub(r"<[^>]+>", "", block)).strip() for block in found}


def test_every_reason_has_its_status_and_a_section(built: Path) -> None:
    table, sections = page(built, "reference/reasons"), page(built, "howto/troubleshooting")
    for reason in Reason:
        target = f"reason-{reason.value.replace('_', '-')}"
        assert f'id="{target}"' in sections, reason
        row = next(row for row in table.split("<tr") if f"#{target}" in row)
        assert reason.value in row
        status = "no denial" if reason is Reason.NO_CERTIFICATE else f"HTTP {reason.status}"
        assert status in row, reason
        assert f"Reason.{reason.name}" in codes(sections)


def test_every_setting_is_in_the_table(built: Path) -> None:
    found = codes(page(built, "reference/settings"))
    assert {field.name.upper() for field in fields(Settings)} <= found


def test_the_checks_are_those_of_the_code(built: Path) -> None:
    in_code = {number for file in (ROOT / "django_mtls").rglob("*.py") for number in CHECK_ID.findall(file.read_text())}
    in_docs = {
        code.removeprefix("django_mtls.")
        for code in codes(page(built, "reference/checks"))
        if re.fullmatch(r"django_mtls\.[EW]\d{3}", code)
    }
    assert in_docs == in_code


def test_every_dialect_and_header_is_there(built: Path) -> None:
    """The reference has every row, every header and every value."""
    found = codes(page(built, "reference/dialects"))
    assert set(BUILTIN) | set(BUILTIN_VARIABLES) <= found
    assert known_headers().names <= found
    for dialect in BUILTIN.values():
        assert set(dialect.headers) <= found
        for verdict in dialect.verdicts:
            assert verdict.success - {""} <= found
    for row in BUILTIN_VARIABLES.values():
        assert row.verdict is None or row.verdict.success <= found
        assert {".".join(path) for path in (*row.leaf, *row.chain)} <= found


def test_every_codec_is_there(built: Path) -> None:
    """The reference has every decoder that a row uses, for rows of one's own."""
    used = {dialect.decode for dialect in BUILTIN.values()} | {dialect.decode_chain for dialect in BUILTIN.values()}
    names = {decode.__name__ for decode in used if inspect.isfunction(decode)}
    assert names <= codes(page(built, "reference/dialects"))


def test_every_terminator_has_a_page(built: Path) -> None:
    """Each row is in the list, and on one page with what it reads and how well it is known."""
    listed = page(built, "howto/terminators/index")
    pages = {path.stem: page(built, f"howto/terminators/{path.stem}") for path in TERMINATORS}
    assert set(BUILTIN) | set(BUILTIN_VARIABLES) <= codes(listed)
    rows: list[Dialect | ServerVariables] = [*BUILTIN.values(), *BUILTIN_VARIABLES.values()]
    for row in rows:
        (own,) = (text for text in pages.values() if FACTS.format(row.name) in text)
        assert row.confidence.value in own
        reads = row.headers if isinstance(row, Dialect) else [".".join(path) for path in row.leaf]
        assert set(reads) <= codes(own)
    assert all(f'href="{name}.html"' in listed for name in pages), "a page that nobody finds"


def test_every_server_that_hides_its_peer_is_named(built: Path) -> None:
    """Under each of these the middleware does not start, and the page says what to do."""
    servers = page(built, "howto/who-is-trusted").partition('id="servers"')[2]
    assert servers
    for name, server in SERVERS.items():
        assert name in servers or server.name in servers, name
        assert all(value in servers for value in server.values if "." not in value and server.name == "gunicorn")


def test_every_recipe_is_shown_as_it_is(built: Path) -> None:
    """A page has each recipe's files and settings, letter by letter: what the integration tests run."""
    shown = {path: blocks(path.read_text()) for path in (built / "howto").rglob("*.html")}
    for recipe in RECIPES.values():
        texts = list(recipe.configuration(Places()).values())
        texts += [recipe.settings(format, Places()) for format in recipe.formats]
        wanted = {text.strip() for text in texts}
        assert any(wanted <= found for found in shown.values()), recipe.name


def test_every_policy_is_in_the_table(built: Path) -> None:
    text = page(built, "reference/policies")
    for name in mtls_auth.__all__:
        value = getattr(mtls_auth, name)
        if isinstance(value, type) and issubclass(value, Policy) and value is not Policy:
            assert f"#mtls_auth.{name}" in text, name


def test_every_public_name_is_described(built: Path) -> None:
    text = page(built, "reference/api")
    assert [name for name in mtls_auth.__all__ if f'id="mtls_auth.{name}"' not in text] == []


def test_every_signal_is_described(built: Path) -> None:
    names = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert names <= codes(page(built, "reference/signals"))


def test_every_command_is_described(built: Path) -> None:
    text = page(built, "reference/commands")
    commands = {name for name, app in get_commands().items() if app == "django_mtls"}
    assert commands, "the app has no commands"
    assert {f"manage.py {name}" for name in commands} <= codes(text)
    for subcommand in _subcommands():
        assert f"usage: mtls-auth {subcommand} " in text


def _subcommands() -> Iterator[str]:
    command = [sys.executable, "-m", "mtls_auth.cli", "--help"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    yield from re.findall(r"^    ([a-z]+) ", output, re.MULTILINE)


def test_links_between_files_lead_somewhere() -> None:
    broken = [
        f"{source.relative_to(ROOT)}: {link}"
        for source in pages()
        for link in LINK.findall(source.read_text())
        if not (source.parent / link).exists()
    ]
    assert broken == []


def test_the_standards_table_names_files_that_exist() -> None:
    table = (ROOT / "README.md").read_text().partition("## Standards")[2].partition("\n## ")[0]
    names = re.findall(r"`([\w/]+\.py)`", table)
    assert names
    assert [name for name in names if not ((ROOT / "mtls_auth" / name).exists() or (ROOT / name).exists())] == []
