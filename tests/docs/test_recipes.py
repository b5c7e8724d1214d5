"""Every block of README.md and of the documentation that a reader may paste has a test that runs it."""

from importlib import import_module
from pathlib import Path

from tests.docs.recipes import SNIPPETS, TESTED
from tests.docs.snippets import ANSWERS, ROOT, RUNNABLE, all_snippets

# Blocks whose lines the CI run executes, each line as far as its first path.
RUN_BY = {"contributing-check": ".ci/run"}


def test_every_block_has_an_id_or_is_an_answer() -> None:
    for snippet in all_snippets():
        if snippet.language.startswith("{"):
            directive = snippet.language.partition("}")[0]
            assert directive not in {"{code", "{code-block", "{sourcecode"}, f"{snippet.place}: name the language"
        elif snippet.language in ANSWERS:
            assert not snippet.id, f"{snippet.place}: an answer is not run"
        else:
            assert snippet.language in RUNNABLE, f"{snippet.place}: {snippet.language!r}"
            assert snippet.id, f"{snippet.place}: no <!-- recipe: id --> above it"


def test_ids_are_unique() -> None:
    ids = [snippet.id for snippet in all_snippets() if snippet.id]
    assert sorted(ids) == sorted(set(ids))


def test_every_block_is_run() -> None:
    for module in Path(__file__).parent.glob("test_recipes_*.py"):
        import_module(f"tests.docs.{module.stem}")
    assert set(SNIPPETS) == TESTED | set(RUN_BY)
    for recipe_id, file in RUN_BY.items():
        run = (ROOT / file).read_text()
        assert [line for line in SNIPPETS[recipe_id].splitlines() if line.partition(" docs ")[0] not in run] == []
