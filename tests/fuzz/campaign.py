"""One target under libFuzzer, in a process of its own: `python -m tests.fuzz.campaign TARGET [libFuzzer's options]`."""

import importlib
import sys
from typing import Any

# It has no types, and is not a dependency of the tests.
atheris: Any = importlib.import_module("atheris")

# What is imported here is instrumented, so that inputs which reach new code are kept and changed further.
with atheris.instrument_imports(include=["mtls_auth", "tests.fuzz.reference", "urllib.parse"]):
    from tests.fuzz.targets import TARGETS
    from tests.fuzz.words import text_of


def main() -> None:
    name, *options = sys.argv[1:]
    target = TARGETS[name]

    def run(data: bytes) -> None:
        try:
            target(data)
        except Exception:
            print(f"{name} goes wrong with {text_of(data)!r}", file=sys.stderr)
            raise

    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
