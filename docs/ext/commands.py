"""The help of the command lines, as they print it themselves."""

import os
from argparse import SUPPRESS
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from unittest.mock import patch

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

from ext.generated import Generated
from mtls_auth.cli import main

_WIDTH = "90"


class CommandLineHelp(Generated):
    """`mtls-auth [SUBCOMMAND] --help`."""

    optional_arguments = 1

    def markdown(self) -> str:
        output = StringIO()
        with patch.dict(os.environ, COLUMNS=_WIDTH, NO_COLOR="1"), redirect_stdout(output):
            main([*self.arguments, "--help"])
        return _literal(output.getvalue())


class ManageCommands(Generated):
    """The help of every `manage.py` command of the app, without the options that all of Django's have."""

    def markdown(self) -> str:
        return "\n".join(_command_help(name) for name in command_names())


def command_names() -> list[str]:
    """Return the names of the app's `manage.py` commands."""
    return sorted(name for name, app in get_commands().items() if app == "django_mtls")


def _command_help(name: str) -> str:
    command = load_command_class("django_mtls", name)
    parser = command.create_parser("manage.py", name)
    common = set(_options(BaseCommand().create_parser("manage.py", "")))
    for action in parser._actions:
        if common.intersection(action.option_strings):
            action.help = SUPPRESS
    with patch.dict(os.environ, COLUMNS=_WIDTH, NO_COLOR="1"):
        text = parser.format_help()
    return f"`manage.py {name}`\n\n{_literal(text)}"


def _options(parser: CommandParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings


def _literal(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"
