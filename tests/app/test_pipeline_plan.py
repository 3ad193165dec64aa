"""Pipeline files: what is wrong is said before anything starts, and steps stand in the order they need."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretaste.app.cli import cli
from foretaste.app.pipeline.commands import find_command
from foretaste.app.pipeline.keys import ROOMS
from foretaste.app.pipeline.plan import RESERVED, Pipeline, read_pipeline
from foretaste.app.pipeline.resources import Resource, content
from foretaste.app.pipeline.steps import KINDS, Kind
from foretaste.data.errors import InputError

pytestmark = pytest.mark.usefixtures("home")

IMPORT = '[steps.import]\ncommand = "data import"\ndata-dir = "."\nname = "shop"\n'
DESCRIBE = '[steps.describe]\ncommand = "data describe"\nname = "shop"\n'

Read = Callable[[str], Pipeline]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a pipeline file and read it."""
    (tmp_path / "items.csv").write_text("item_id\na\n")

    def read_text(text: str) -> Pipeline:
        path = tmp_path / "shop.toml"
        path.write_text(text)
        return read_pipeline(path)

    return read_text


def test_a_step_waits_for_what_it_reads_wherever_it_stands_in_the_file(read: Read) -> None:
    pipeline = read(DESCRIBE + IMPORT)
    assert [step.name for step in pipeline.steps] == ["import", "describe"]
    describe = pipeline.step("describe")
    assert describe.after == ("import",)
    assert describe.reads == (Resource("dataset", "shop"),)
    assert str(describe.makes[0]) == "runs/shop/figures/describe.json"
    assert describe.command.line(figures=describe.figures) == [
        *("data", "describe", "shop", "--json", "runs/shop/figures/describe.json")
    ]
    assert pipeline.step("import").reads == (Resource("file", "."),)


def test_a_file_within_a_folder_that_a_step_makes_comes_from_that_step(read: Read) -> None:
    answers = '[steps.answers]\ncommand = "recommend"\ndataset = "shop"\nuser = "u"\n'
    judge = '[steps.judge]\ncommand = "judge run"\nin = "{run}/a/result.json"\nrubric = "tag"\n'
    told = judge + 'out = "{run}/v.jsonl"\n' + IMPORT + answers + 'out = "{run}/a"\n'
    assert [step.name for step in read(told).steps] == ["import", "answers", "judge"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = [", "shop.toml is not TOML"),
        ("", "steps were expected"),
        ("colour = 1\n" + IMPORT, "unknown key 'colour'"),
        ("[steps.a]\nname = 'shop'", "a command was expected"),
        ("[steps.a]\ncommand = 'data improt'", "no step can be 'data improt'"),
        ("[steps.a]\ncommand = 'data'", "which 'data' was expected"),
        ("[steps.a]\ncommand = 'run'", "no step can be 'run'"),
        ("[steps.a]\ncommand = 'app'", "no step can be 'app'"),
        (IMPORT + "datadir = '.'", "has no option 'datadir'"),
        (IMPORT + "json = 'x'", "has no option 'json'"),
        (IMPORT + "max-bad-share = 7", "max-bad-share"),
        (IMPORT + "order-only = 'yes'", "order-only expects true or false"),
        ("[steps.a]\ncommand = 'evaluate ranking'", "Missing option '--dataset'"),
        (DESCRIBE, "dataset:shop is not there and no step makes it"),
        (IMPORT + 'after = ["nobody"]', "there is no such step"),
        (IMPORT + DESCRIBE + '[steps.b]\nafter=["c"]\ncommand="models list"\n'
         '[steps.c]\nafter=["b"]\ncommand="models list"', "wait for each other: b, c"),
        (IMPORT + IMPORT.replace("steps.import", "steps.again"), "import and again both make dataset:shop"),
        (IMPORT + '[steps.e]\ncommand="data export"\nname="shop"\nout="elsewhere"', "{run}/elsewhere"),
        (IMPORT.replace("steps.import", 'steps."a.b"'), "a name without dots"),
        (IMPORT + 'makes = ["home:../x"]', "a path below the home"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(read: Read, text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_wrong_file_ends_with_exit_code_2(refused: Callable[..., tuple[object, str]]) -> None:
    code, said = refused("run", "nowhere.toml")
    assert code == 2
    assert said.startswith("foretaste: The pipeline file")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.sets(st.integers(0, n - 1)), min_size=n, max_size=n)
    )
)
def test_every_step_comes_after_those_it_names_or_a_circle_is_said(
    read: Read, waits: list[set[int]]
) -> None:
    text = "".join(
        f'[steps.s{at}]\ncommand = "models list"\nafter = {[f"s{one}" for one in sorted(named)]}\n'
        for at, named in enumerate(waits)
    )
    left = set(range(len(waits)))
    while free := {at for at in left if not waits[at] & left}:
        left -= free
    if left:
        with pytest.raises(InputError, match="wait for each other"):
            read(text)
        return
    order = [int(step.name[1:]) for step in read(text).steps]
    assert sorted(order) == list(range(len(waits)))
    assert all(order.index(one) < order.index(at) for at in order for one in waits[at])


@given(st.text("ab/", max_size=6), st.text("ab/", max_size=6))
def test_resources_touch_when_one_holds_the_other(one: str, two: str) -> None:
    first, second = Resource("file", one), Resource("file", two)
    assert first.touches(first)
    assert first.touches(second) == second.touches(first)
    assert not first.touches(Resource("home", two))
    assert Resource("file", f"{one}/x").touches(first)


def test_a_fingerprint_is_of_names_and_contents_and_not_of_locks(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    assert content(folder) is None
    folder.mkdir()
    assert content(folder) is None
    (folder / "a").write_text("1")
    first = content(folder)
    (folder / ".lock").write_text("")
    assert content(folder) == first
    (folder / "a").rename(folder / "b")
    assert content(folder) != first


def _leaves(
    command: object, words: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], list[str]]]:
    below = getattr(command, "commands", None)
    if not below:
        return [(words, [one.name for one in getattr(command, "params", ())])]
    return [leaf for name, one in below.items() for leaf in _leaves(one, (*words, name))]


def test_declarations_name_commands_and_options_that_there_are() -> None:
    known = {" ".join(words): names for words, names in _leaves(typer.main.get_command(cli))}
    for kind in KINDS.values():
        fields = re.findall(r"\{(\w+)\}", " ".join((*kind.reads, *kind.makes, kind.state)))
        assert set(fields) <= set(known[kind.command]), kind.command


def test_no_option_is_called_like_a_key_of_a_step() -> None:
    for words, _ in _leaves(typer.main.get_command(cli)):
        if words[0] in ("run", "app"):
            continue
        with pytest.raises(InputError, match="has no option"):
            find_command(" ".join(words), {"command": "x"}, "here")
        for key in RESERVED:
            with pytest.raises(InputError, match=f"has no option '{key}'"):
                find_command(" ".join(words), {key: "x"}, "here")


INSIDE = [kind for kind in KINDS.values() if kind.room != "app"]


@pytest.mark.parametrize("kind", INSIDE, ids=lambda kind: kind.command)
def test_a_command_uses_no_code_right_of_its_room(kind: Kind) -> None:
    leaf: Any = typer.main.get_command(cli)
    for word in kind.command.split():
        leaf = leaf.commands[word]
    source = Path(inspect.getfile(inspect.unwrap(leaf.callback)))
    named = [one.module or "" for one in ast.walk(ast.parse(source.read_text()))
             if isinstance(one, ast.ImportFrom)]  # fmt: skip
    own = ("foretaste.app.console", "foretaste.app.commands")
    rooms = {
        name.split(".")[1]
        for name in named
        if name.startswith("foretaste.") and not name.startswith(own)
    }
    assert rooms <= set(ROOMS[: ROOMS.index(kind.room) + 1])


EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").rglob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_right_and_begin_with_their_command(path: Path) -> None:
    told = path.read_text().splitlines()[0].removeprefix("# foretaste run ")
    assert path.as_posix().endswith(told)
    assert len(read_pipeline(path).steps) >= 9
