"""The parts of this documentation that are generated from the code: every table that could go stale."""

from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from ext.django_site import configure

configure()  # before the modules that import models

from ext import (  # noqa: E402
    api,
    checks,
    commands,
    dialects,
    limits,
    policies,
    probing,
    reasons,
    settings_table,
    terminators,
)

DIRECTIVES: dict[str, type[SphinxDirective]] = {
    "check-table": checks.CheckTable,
    "cli-help": commands.CommandLineHelp,
    "codec-table": dialects.CodecTable,
    "dialect-table": dialects.DialectTable,
    "known-headers": dialects.KnownHeaders,
    "limit-table": limits.LimitTable,
    "manage-commands": commands.ManageCommands,
    "meaning-table": dialects.MeaningTable,
    "outcome-table": probing.OutcomeTable,
    "policy-table": policies.PolicyTable,
    "probe-limits": probing.ProbeLimits,
    "public-api": api.PublicAPI,
    "reason": reasons.ReasonFacts,
    "reason-table": reasons.ReasonTable,
    "settings-table": settings_table.SettingsTable,
    "recipe": terminators.RecipeText,
    "terminator": terminators.TerminatorFacts,
    "terminator-table": terminators.TerminatorTable,
    "trick-table": probing.TrickTable,
    "variable-table": dialects.VariableTable,
}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives, and what checks that nothing was left out."""
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    app.connect("missing-reference", api.resolve_public_name)
    app.connect("env-check-consistency", reasons.check_complete)
    app.connect("env-purge-doc", reasons.forget)
    app.connect("env-merge-info", reasons.merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
