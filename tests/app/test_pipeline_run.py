"""The road of `foretaste run`: done once, skipped when unchanged, gone on after a kill, traced to its rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.app.pipeline.figures import _walk
from foretaste.app.pipeline.forecast import expect
from foretaste.app.pipeline.keys import Key, code_version
from foretaste.app.pipeline.plan import read_pipeline
from foretaste.app.pipeline.records import (
    Begun,
    Spent,
    Timing,
    begun_of,
    left_state,
    settings_of,
)
from foretaste.app.pipeline.roads import explain, perform, preview
from foretaste.app.pipeline.running import StepFailed, alone
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.importing import ImportOptions, find_files, import_dataset

pytestmark = pytest.mark.usefixtures("home")

IMPORT = """# foretaste run shop.toml
[steps.import]
command = "data import"
data-dir = "data"
name = "shop"
"""
PIPELINE = f"""{IMPORT}
[steps.describe]
command = "data describe"
name = "shop"
"""
ITEMS = "item_id,title,category\na,Red lipstick,Makeup\nb,Blue mug,Kitchen\n"
EVENTS = "user_id,item_id,timestamp,event\nu1,a,100,view\nu1,b,200,purchase\nu2,b,300,view\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A pipeline file with its data."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "items.csv").write_text(ITEMS)
    (tmp_path / "data" / "interactions.csv").write_text(EVENTS)
    path = tmp_path / "shop.toml"
    path.write_text(PIPELINE)
    return path


def states(path: Path, start: str | None = None, only: str | None = None) -> list[str]:
    """What a run did about each step."""
    return [row["state"] for row in perform(path, start, only)[1]["steps"]]


def foreseen(path: Path) -> list[tuple[str, str]]:
    """What a run would do about each step, and why."""
    return [(row["state"], row["reason"]) for row in preview(path, None, None)[1]["steps"]]


def test_done_once_skipped_when_unchanged_and_led_back_to_the_rows(shop: Path) -> None:
    assert states(shop) == ["done", "done"]
    assert states(shop) == ["skipped", "skipped"]
    folder = shop.parent / "runs" / "shop"
    assert "| describe.counts.interactions | 3 | describe |" in (folder / "report.md").read_text()
    assert "<td class='n'>3</td>" in (folder / "report.html").read_text()
    lineage = json.loads((folder / "lineage.json").read_text())
    assert lineage["figures"]["describe.counts.interactions"]["pointer"] == "/counts/interactions"
    lines, found = explain(shop, "describe.counts.interactions")
    assert found["value"] == 3
    assert [one["step"] for one in found["chain"]] == ["describe", "import"]
    read = found["chain"][1]["inputs"]["data"]["files"]
    assert [(one["file"], one["rows"]) for one in read] == [
        ("interactions.csv", 3),
        ("items.csv", 2),
    ]
    assert any("3 rows  interactions.csv" in line for line in lines)
    with pytest.raises(InputError, match=r"near it are: describe\.counts\.interactions"):
        explain(shop, "describe.counts.interaction")

    # Another file with the same rows: it is imported again, and what reads the rows is not repeated.
    (shop.parent / "data" / "interactions.csv").write_text(EVENTS.replace("\n", "\r\n"))
    assert foreseen(shop) == [
        ("run", "its input data changed"),
        ("perhaps", "when import makes something else than before"),
    ]
    assert states(shop) == ["done", "skipped"]

    # What somebody altered does not count as done.
    figures = folder / "figures" / "describe.json"
    figures.write_text(figures.read_text().replace("3", "4"))
    told = ("run", "runs/shop/figures/describe.json is not what it made")
    with pytest.raises(InputError, match="is not what describe made"):
        explain(shop, "describe.counts.interactions")
    assert foreseen(shop) == [("skip", "unchanged"), told]
    assert states(shop, only="describe") == ["done"]
    assert json.loads(figures.read_text())["counts"]["interactions"] == 3


def test_a_failing_step_ends_the_run_with_its_sentence_and_the_same_command_goes_on(
    shop: Path,
) -> None:
    strict = IMPORT + "max-bad-share = 0\n"
    export = '[steps.export]\ncommand = "data export"\nname = "shop"\nout = "{run}/out"\n'
    shop.write_text(strict + export)
    events = shop.parent / "data" / "interactions.csv"
    events.write_text(EVENTS + "u2,,1,view\n")
    with pytest.raises(StepFailed, match=r"import failed: .*the same command goes on") as caught:
        perform(shop, None, None)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="export reads dataset:shop, which import makes"):
        perform(shop, "export", None)
    events.write_text(EVENTS)
    assert states(shop) == ["done", "done"]
    assert (shop.parent / "runs" / "shop" / "out").is_dir()


@contextmanager
def under_way(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own."""
    code = "from foretaste.app.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-P", "-c", code, "run", str(path)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield run
    finally:
        run.kill()
        run.wait()


def wait_for(there: Callable[[], bool]) -> None:
    """Wait until something is there."""
    end = time.monotonic() + 120
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_in_the_middle_it_goes_on_to_the_same_result(shop: Path) -> None:
    folder = shop.parent / "runs" / "shop"
    with under_way(shop) as run:
        wait_for((folder / "steps" / "import.begun.json").exists)
        with pytest.raises(InputError, match=r"Another run works here already \(shop.toml, proc"):
            perform(shop, None, None)
        wait_for((folder / "steps" / "describe.begun.json").exists)
        os.kill(run.pid, signal.SIGKILL)
    pipeline = read_pipeline(shop)
    assert begun_of(pipeline.step("describe"), pipeline) is not None
    assert foreseen(shop)[1] == ("run", "it was stopped on its way and goes on")
    wait_for(lambda: _free(shop))
    assert states(shop) == ["skipped", "done"]
    after = json.loads((folder / "figures" / "describe.json").read_text())
    assert after["counts"] == {"items": 2, "items_with_events": 2, "users": 2,
        "users_with_attributes": 0, "interactions": 3, "environment": 0}  # fmt: skip
    record = json.loads((folder / "steps" / "describe.json").read_text())
    assert record["attempts"] == 2


def _free(shop: Path) -> bool:
    try:
        with alone(read_pipeline(shop)):
            return True
    except InputError:
        return False


def test_a_training_is_resumed_only_when_this_step_left_something(shop: Path, home: Path) -> None:
    towers = '[steps.towers]\ncommand = "finetune towers"\ndataset = "shop"\n'
    shop.write_text(PIPELINE + towers)
    step = read_pipeline(shop).step("towers")
    folder = home / "runs" / "towers" / "shop-12345678"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text('{"dim": 16}')
    assert settings_of(step) == {"dim": 16}
    since = (folder / "settings.json").stat().st_mtime_ns
    again = Begun(key="k", since=since, attempts=2)
    assert not left_state(step, again)
    (folder / "state.safetensors").write_bytes(b"")
    assert left_state(step, again)
    assert not left_state(step, again.model_copy(update={"attempts": 1}))
    assert not left_state(step, again.model_copy(update={"since": since + 1}))


def test_what_a_step_will_take_is_recorded_scaled_or_stated(shop: Path) -> None:
    import_dataset("shop", find_files(shop.parent / "data"), ImportOptions())
    towers = '[steps.towers]\ncommand = "finetune towers"\ndataset = "shop"\npreset = "smoke"\n'
    page = '[steps.page]\ncommand = "recommend"\ndataset = "shop"\nengine = "none"\nuser = "u1"\n'
    pages = page.replace("page", "pages").replace('user = "u1"', 'all = true\nout = "{run}/pages"')
    shop.write_text(PIPELINE + towers + page + pages)
    pipeline = read_pipeline(shop)
    step = pipeline.step("describe")
    line, spent = tuple(step.command.line()), Spent(seconds=9, cpu_s=8, peak_mb=70, disk_mb=1)
    assert expect(step, [Timing(line=line, size=3, spent=spent)]) == (spent, "recorded")
    grown, source = expect(step, [Timing(line=line, size=30, spent=spent)])
    assert (source, grown and grown.seconds, grown and grown.peak_mb) == ("scaled", 0.9, 70)
    assert expect(pipeline.step("towers"), [])[1] == "stated"
    found = [expect(pipeline.step(name), [])[0] for name in ("page", "pages")]
    assert [one.seconds for one in found if one] == [20, 22]  # the least is a fifth of 110


@pytest.mark.parametrize("text", ["{", "[]", '{"step": 1}'])
def test_a_damaged_record_is_one_sentence(shop: Path, home: Path, text: str) -> None:
    record = shop.parent / "runs" / "shop" / "steps" / "import.json"
    timings = home / "pipelines" / "timings.json"
    for path in (record, timings):
        path.parent.mkdir(parents=True)
        path.write_text(text)
        if path is timings and text == "[]":
            continue
        with pytest.raises(ForetasteError, match="delete it and run the command again"):
            preview(shop, None, None)
        path.unlink()


def test_the_code_of_a_step_is_that_of_its_rooms() -> None:
    command = Path(__file__)
    assert len({code_version(room, command) for room in ("data", "judge", "app")}) == 3


@given(st.dictionaries(st.text("abc", min_size=1), st.none() | st.text("01", max_size=2)))
def test_any_other_input_is_another_key(inputs: dict[str, str | None]) -> None:
    key = Key(("data", "list"), "c", inputs, {})
    assert key.digest == Key(("data", "list"), "c", dict(reversed(inputs.items())), {}).digest
    for name in inputs:
        changed = Key(key.command, key.code, inputs | {name: "other"}, {})
        assert changed.digest != key.digest
        assert f"its input {name} changed" in changed.differs({"command": ["data", "list"],
            "code": "c", "inputs": inputs, "environment": {}})  # fmt: skip


_JSON = st.recursive(
    st.floats(allow_nan=False) | st.integers() | st.booleans() | st.text("a/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a~/b"), inner, max_size=3),
    max_leaves=12,
)


@given(_JSON)
def test_a_pointer_leads_to_its_figure(value: Any) -> None:
    for figure in _walk(value, "step", ""):
        found = value
        for part in figure.pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        assert found == figure.value


def test_rows_are_called_by_their_names_when_all_have_their_own() -> None:
    rows = [{"name": "a", "x": 1}, {"name": "b", "x": 2}]
    assert [one.name for one in _walk(rows, "e", "")] == ["e.a.x", "e.b.x"]
    assert [one.name for one in _walk([*rows, rows[0]], "e", "")] == ["e.0.x", "e.1.x", "e.2.x"]


def test_an_interval_stands_with_its_figure_in_both_forms() -> None:
    table = {"mix": {"r@10": 0.2, "intervals": {"r@10": [0.1, 0.3]}}, "gain": {"mean": 1, "low": 0, "high": 2}}  # fmt: skip
    found = {one.name: one for one in _walk(table, "e", "")}
    assert set(found) == {"e.mix.r@10", "e.gain"}
    assert found["e.mix.r@10"].text == "0.2000 [0.1000, 0.3000]"
    assert found["e.gain"].pointer == "/gain/mean"
