"""The command line `mtls-auth`: one module for each subcommand, each with `add_parser` and `run`.

Nothing in the rest of the package imports this one.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

import mtls_auth
from mtls_auth.cli import explanation, inspection, probe, recipe
from mtls_auth.errors import ConfigurationError

INTERRUPTED = 130
NOBODY_READS = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status: 0 if it did its work, 2 if a file or an argument is wrong.

    `probe` returns 1 where something got through.
    """
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as finished:  # --help, --version, or a usage error that argparse has told
        return int(finished.code or 0)
    try:
        # cryptography warns of odd certificates on stderr; what matters of that is in the output.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status: int = options.run(options)
        sys.stdout.flush()
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"mtls-auth: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # as in `mtls-auth … | head`: the interpreter must not flush once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mtls-auth", description="Client certificates, seen as mtls_auth sees them.")
    parser.add_argument("--version", action="version", version=f"mtls-auth {mtls_auth.__version__}")
    subcommands = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
    inspection.add_parser(subcommands)
    explanation.add_parser(subcommands)
    probe.add_parser(subcommands)
    recipe.add_parser(subcommands)
    return parser
