"""`mtls-auth recipe`: a terminator's configuration, and the settings of the application behind it."""

import argparse
from collections.abc import Iterator
from dataclasses import fields
from difflib import get_close_matches
from pathlib import PurePosixPath
from textwrap import fill
from typing import TYPE_CHECKING

from mtls_auth.cli.assignments import assignments
from mtls_auth.errors import ConfigurationError
from mtls_auth.recipes import FORMATS, RECIPES, Places, Recipe
from mtls_auth.recipes.recipe import NO_FOLDER

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_WIDTH = 100
_PLACES = tuple(item.name for item in fields(Places))


def add_parser(subcommands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand and its arguments."""
    parser = subcommands.add_parser(
        "recipe",
        help="print the configuration of a proxy or load balancer, and the settings that go with it",
        description="Print a TLS terminator's configuration, which asks clients for certificates, forwards them and "
        "removes forged ones, and the settings of the application behind it. Addresses, names and files in them are "
        "examples, unless --set says otherwise.",
        epilog="Exit status: 0, or 2 for a name or a format that there is no recipe for.",
    )
    parser.add_argument("terminator", nargs="?", metavar="TERMINATOR", help="without it, list all recipes")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="what the application is; by default wsgi",
    )
    parser.add_argument(
        "--peer-hidden",
        action="store_true",
        help="the server does not tell who connected (waitress, hypercorn, wsgiref, uvicorn without this package's "
        "protocol class): ask for the secret alone",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="places",
        metavar="NAME=VALUE",
        help=f"your own value in place of an example: {', '.join(_PLACES)} (repeatable)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one recipe, or the list of all; raise `ConfigurationError` for what there is none for."""
    if options.terminator is None:
        print("\n".join(_list()))
        return 0
    recipe, advice = _find(options.terminator), f"write NAME=VALUE once, with one of {', '.join(_PLACES)}"
    places = Places(**assignments("--set", options.places, advice, names=_PLACES))
    settings = recipe.settings(options.format or recipe.formats[0], places, peer_hidden=options.peer_hidden)
    # What has no folder of its own is for another place than a server's disk.
    folder = places.folder or ("" if recipe.folder == NO_FOLDER else recipe.folder)
    for name, text in recipe.configuration(places).items():
        print(f"==> {PurePosixPath(folder, name)} <==\n{text}")
    print(f"==> the application <==\n{settings}", end="")
    for note in recipe.notes:
        print("\n" + fill(f"Note: {note}", _WIDTH, break_on_hyphens=False))
    return 0


def _list() -> Iterator[str]:
    width = max(map(len, RECIPES))
    for name, recipe in sorted(RECIPES.items()):
        yield f"{name:{width}}  {recipe.title}{'' if recipe.observed else ' (not run here)'}"


def _find(name: str) -> Recipe:
    recipe = RECIPES.get(name)
    if recipe is None:
        close = " or ".join(get_close_matches(name.lower(), RECIPES))
        advice = f"did you mean {close}?" if close else "run mtls-auth recipe for the list"
        raise ConfigurationError(f"there is no recipe for {name!r}: {advice}")
    return recipe
