"""One terminator: what it sends, as its row says, and the published recipe, as the command line prints it."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from ext.dialects import beside, encoding, none_when, variable_rows, verified_when
from ext.generated import Generated, code, table
from ext.wire import WITHOUT, shown, with_certificate
from mtls_auth import Dialect, ServerVariables
from mtls_auth.dialects import BUILTIN
from mtls_auth.recipes import RECIPES, Places, Recipe
from mtls_auth.recipes.recipe import NO_FOLDER
from mtls_auth.server_environ import BUILTIN_VARIABLES

_CONFIDENCE = {
    "observed": "observed: it was run, and its bytes were looked at",
    "documented": "documented: the vendor's documentation or source says so, it was not run here",
    "inferred": "inferred: it follows from what is documented, or others report it. Record a request of your own and "
    "give it to `mtls-auth explain` before you rely on it",
}
_APPLICATIONS = {"asgi": "any ASGI application", "wsgi": "any WSGI application"}
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".lua": "lua", ".ini": "ini", ".json": "json", ".py": "python"}


class TerminatorFacts(Generated):
    """What the rows of these names read: one table each, with an example request for each dialect."""

    required_arguments = 1
    final_argument_whitespace = True

    def markdown(self) -> str:
        names = self.arguments[0].split()
        return "\n".join("\n".join(_facts(name, len(names) > 1)) for name in names)


class RecipeText(Generated):
    """The files of a recipe, its notes, and the settings of the application behind it."""

    required_arguments = 1

    def markdown(self) -> str:
        if self.arguments[0] not in RECIPES:
            raise self.error(f"there is no recipe {self.arguments[0]!r}")
        return "\n".join(_recipe(RECIPES[self.arguments[0]]))


class TerminatorTable(Generated):
    """Every dialect and every row of server variables, with its page and its recipes."""

    def markdown(self) -> str:
        rows: list[tuple[str, ...]] = []
        sources: tuple[Dialect | ServerVariables, ...] = (*BUILTIN.values(), *BUILTIN_VARIABLES.values())
        for row in sources:
            name, page = row.name, page_of(row.name)
            recipes = ", ".join(code(recipe.name) for recipe in RECIPES.values() if name == _row_of(recipe))
            rows.append((f"[{row.title}]({page}.md)", code(name), recipes or "–", row.confidence.value))
        return table(("Terminator", "`SOURCE`", "`mtls-auth recipe`", "Facts"), rows)


# Rows that share a page with the one that names it.
_PAGES = {
    "nginx-folded": "nginx",
    "apache-escaped": "apache",
    "f5-base64": "f5",
    "aws-alb-passthrough": "aws-alb",
    "cloudflare-rfc9440": "cloudflare",
    "alibaba-alb": "alibaba",
    "alibaba-clb": "alibaba",
    "cheroot": "python-servers",
    "werkzeug": "python-servers",
    "pyvoy": "python-servers",
}


def page_of(name: str) -> str:
    """Return the page of a row, a name in `docs/howto/terminators`."""
    return _PAGES.get(name, name)


def _row_of(recipe: Recipe) -> str | None:
    return recipe.dialect or recipe.server_source


def _facts(name: str, several: bool) -> Iterator[str]:
    row = BUILTIN.get(name) or BUILTIN_VARIABLES[name]
    if several:
        yield f"**{code(name)}**: {row.title}\n"
    if not isinstance(row, Dialect):
        yield table(("", ""), [*variable_rows(row), ("facts", _CONFIDENCE[row.confidence.value])])
        return
    yield table(
        ("", ""),
        [
            ("`SOURCE`", code(name)),
            ("certificate", f"{code(row.leaf)}: {encoding(row.decode)}"),
            ("verified when", verified_when(row)),
            ("no certificate when", none_when(row)),
            ("beside it", beside(row)),
            ("facts", _CONFIDENCE[row.confidence.value]),
        ],
    )
    yield f"With a certificate:\n\n{_block('text', shown(with_certificate(row)))}"
    if WITHOUT[name]:
        yield f"Without one:\n\n{_block('text', shown(WITHOUT[name]))}"
    else:
        yield "Without one: none of these headers.\n"


def _recipe(recipe: Recipe) -> Iterator[str]:
    places = Places()
    yield f"The addresses, names and files are examples. `mtls-auth recipe {recipe.name}` prints the same.\n"
    if recipe.observed:
        yield "The tests run this very text.\n"
    else:
        yield "It was written from documentation and source, and never run here.\n"
    for name, text in recipe.configuration(places).items():
        # Where the terminator has no folder of its own, the file is for another place.
        shown_name = name if recipe.folder == NO_FOLDER else PurePosixPath(recipe.folder, name)
        yield f"`{shown_name}`:\n\n{_block(_language(name, recipe), text)}"
    yield from (f"- {note}" for note in recipe.notes)
    yield ""
    # Django first, which needs no more than its settings.
    for format in sorted(recipe.formats, key=lambda format: format != "django"):
        text = _block("python", recipe.settings(format, places))
        if format == "django":
            yield f"The application, with Django:\n\n{text}"
        else:
            yield f"<details><summary>The same for {_APPLICATIONS[format]}</summary>\n\n{text}\n</details>\n"


def _block(language: str, text: str) -> str:
    # Forced: the lexers do not know all of these languages' words.
    return f"````{{code-block}} {language}\n:force:\n:class: recipe\n\n{text.rstrip()}\n````\n"


def _language(name: str, recipe: Recipe) -> str:
    if recipe.name.startswith("nginx") and name.endswith(".conf"):
        return "nginx"
    if name.endswith(".conf") and (recipe.name.startswith("apache") or recipe.name == "mod_wsgi"):
        return "apacheconf"
    return _LANGUAGES.get(PurePosixPath(name).suffix, "text")
