"""`python -m tests.fuzz`: fuzz every decoder of header text for its share of the time; say what was tried.

Needs atheris (`pip install atheris`, Linux). Exits with 1 and names the input if a decoder did anything wrong.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
MAX_LENGTH = 4096

_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_COVERED = re.compile(r"\bcov: (\d+) ft: (\d+) corp: (\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one campaign came to; `report` is libFuzzer's."""

    failed: bool
    executed: int
    covered: tuple[str, str, str]
    report: str


def fuzz(target: str, seconds: int, directory: Path) -> Outcome:
    """Run one campaign; what makes it fail is left in *directory*."""
    corpus = directory / target
    corpus.mkdir()
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", "-print_final_stats=1"]
    artifacts = f"-artifact_prefix={directory}/{target}-"
    command = [sys.executable, "-m", "tests.fuzz.campaign", target, *options, artifacts, str(corpus)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    report = (done.stdout + done.stderr).decode(errors="replace")
    executed = _EXECUTED.search(report)
    covered = _COVERED.findall(report)
    return Outcome(
        failed=done.returncode != 0 or executed is None or not covered,
        executed=int(executed[1]) if executed else 0,
        covered=covered[-1] if covered else ("", "", ""),
        report=report,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together; default: 600")
    options = parser.parse_args()
    if unknown := [name for name in options.targets if name not in TARGETS]:
        parser.error(f"there is no target {', '.join(unknown)}: the targets are {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install atheris")
    names = options.targets or list(TARGETS)
    directory = Path(tempfile.mkdtemp(prefix="mtls-auth-fuzz-"))
    print(f"{'target':22} {'inputs':>10} {'code':>6} {'features':>8} {'corpus':>6}   in {directory}", flush=True)
    total, failed = 0, []
    for name in names:
        outcome = fuzz(name, max(1, options.seconds // len(names)), directory)
        code, features, corpus = outcome.covered
        print(f"{name:22} {outcome.executed:10,} {code:>6} {features:>8} {corpus:>6}", flush=True)
        total += outcome.executed
        if outcome.failed:
            failed.append(name)
            print(outcome.report, file=sys.stderr)
    print(f"{'all':22} {total:10,} ", f"wrong: {', '.join(failed)}" if failed else "nothing wrong")
    if not failed:
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
