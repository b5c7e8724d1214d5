"""The system checks: what each of them says, taken from the checks themselves."""

import re
from typing import Any

from django.core.checks import CheckMessage
from django.core.checks.registry import registry

from django_mtls import checks
from django_mtls.problems import problems_of
from ext.generated import Generated, code, table

# A setting that raises each of the problems of `MTLS_AUTH`, whose texts name what was found.
EXAMPLES: dict[str, dict[str, Any]] = {
    "E001": {"SOURCE": "tls", "REQUIRE": True},
    "E002": {"SOURCE": "tls", "SESSION": "cookie"},
    "E003": {"TRUSTED_PROXIES": ["10.0.0.7"]},
    "E004": {"SOURCE": "tls", "TRUSTED_PROXIES": ["10.0.0.7"]},
    "E005": {"SOURCE": "nginx", "TRUSTED_PROXIES": ["0.0.0.0/0"]},
    "E006": {"SOURCE": "tls", "TRUST_ANCHORS": ["missing.pem"]},
    "E009": {"SOURCE": "rfc9440", "TRUSTED_PROXIES": ["10.0.0.7"]},
    "E010": {"SOURCE": "tls", "MAPPING": "common_name"},
    "E013": {"SOURCE": "tls", "MAPPING": "stated_name"},
}


class CheckTable(Generated):
    """Every check with its text and its hint."""

    def markdown(self) -> str:
        rows = {message.id: (_text(message.msg), message.hint) for message in _fixed_messages()}
        for number, value in EXAMPLES.items():
            rows[f"django_mtls.{number}"] = _problem(number, value)
        deployment = _deployment_ids()
        return table(
            ("Id", "Message", "Hint"),
            [
                (code(key) + (" with `--deploy`" if key in deployment else ""), message, _text(hint or ""))
                for key, (message, hint) in sorted(rows.items(), key=lambda item: str(item[0]))
            ],
        )


def _fixed_messages() -> list[CheckMessage]:
    return [value for value in vars(checks).values() if isinstance(value, CheckMessage)]


def _problem(number: str, value: dict[str, Any]) -> tuple[str, str]:
    problems = problems_of(value)
    if [problem.id for problem in problems] != [number]:
        raise ValueError(f"{value} should raise {number} alone, not {problems}")
    return f"{_text(problems[0].message)} *With* `{value!r}`", problems[0].hint


def _deployment_ids() -> set[str]:
    functions = [check for check in registry.deployment_checks if check.__module__ == checks.__name__]
    names = {name for function in functions for name in _names_in(function)}
    return {f"django_mtls.{name}" for name in names if re.fullmatch(r"[EW]\d{3}", name)}


def _names_in(function: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = function.__code__.co_names
    return names


def _text(message: object) -> str:
    # The names of settings as code, with what follows them in brackets; and whatever stands in quotes.
    return re.sub(r"\bMTLS_AUTH\['\w+'\]|\b[A-Z]+_[A-Z_]+\b|'[^' ]+'|\"[^\"]+\"", r"`\g<0>`", str(message))
