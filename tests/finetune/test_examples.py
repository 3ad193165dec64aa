"""Training rows: the served prompts word for word, nothing of the future, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from foretaste.agents.reasoning import expert, planner
from foretaste.agents.wording import prompting
from foretaste.app.cli import cli
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.splits import leave_one_out
from foretaste.finetune.examples import make as command
from foretaste.finetune.examples import rows as files
from foretaste.finetune.examples.config import ExamplesConfig, Preset, load_preset
from foretaste.finetune.examples.hindsight import Rejects, by_future, planned, sides
from foretaste.finetune.examples.make import held_out, make, ordered, unlike
from foretaste.finetune.examples.rows import ANSWERS, Row, answered, fingerprint, load, save
from foretaste.finetune.examples.teacher import Kept, Teacher, expected_tokens
from foretaste.finetune.presets import presets
from foretaste.serving.chat import Message
from foretaste.serving.scripted_chat import ScriptedChat

SMOKE = load_preset("smoke", ["agents.offered=3", "examples.rows=30"])


def row(text: str, agent: str = "expert", user: str = "u", part: Any = "train") -> Row:
    return Row(
        agent=agent,
        kind="behaviour",
        part=part,
        dataset="d",
        user=user,
        teacher="hindsight",
        stage=0,
        messages=[{"role": "user", "content": text}, {"role": "assistant", "content": "{}"}],
        fingerprint=fingerprint(),
    )


@pytest.fixture
def shop(tiny: Dataset, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    return tiny


def test_every_preset_loads_and_its_shares_sum_to_one() -> None:
    for name in presets("examples"):
        preset = load_preset(name)
        assert sum(preset.examples.shares().values()) == pytest.approx(1)
        preset.agents_config()
    with pytest.raises(InputError, match="no preset"):
        load_preset("huge")
    with pytest.raises(InputError, match="agents has no"):
        load_preset("cpu", ["agents.nothing=1"])
    nothing = {name: 0.0 for name in ExamplesConfig().shares()}
    with pytest.raises(InputError, match="shares"):
        ExamplesConfig(**nothing).shares()


def test_the_rows_of_a_shop_are_served_prompts_with_answers_that_fit(shop: Dataset) -> None:
    card = make(shop.name, SMOKE)
    rows = load(Path(card["folder"]))
    # Sentences about "lipstick number4 (Beauty, Lipstick)" repeat a word too often for the guard.
    assert {one.agent for one in rows} | {"explainer"} == set(ANSWERS)
    assert any(reason.startswith("explainer") for reason in card["rejects"])
    assert {one.part for one in rows} == {"train", "validation"}
    assert card["counts"]["agent"]["planner"] == sum(one.agent == "planner" for one in rows)
    for one in rows:
        ANSWERS[one.agent].model_validate_json(one.messages[-1]["content"])
        assert one.messages[0]["content"] == prompting.template("system")
    people = {
        part: {r.user for r in rows if r.part == part and r.user}
        for part in ("train", "validation")
    }
    assert not people["train"] & people["validation"]


def test_no_row_names_what_was_chosen_last_or_before_last_of_its_person(shop: Dataset) -> None:
    card = make(shop.name, SMOKE)
    split = leave_one_out(shop)
    place = {user: n for n, user in enumerate(shop.user_ids)}
    kept = {user: set(split.train[n].tolist()) for user, n in place.items()}
    for one in load(Path(card["folder"])):
        if one.agent != "planner":
            continue
        later = set(shop.histories[place[one.user]].tolist()) - kept[one.user]
        told = one.messages[1]["content"]
        assert not any(f"{shop.titles[item]} (" in told for item in later)


def test_the_planners_row_is_what_the_planner_would_be_asked(shop: Dataset) -> None:
    work = command._Work(shop, leave_one_out(shop), SMOKE, None, "")
    moment = next(iter(work._moments(0, 5)))
    personas = sides(moment)
    made = planned(moment, personas, Rejects())
    assert made is not None
    history = planner.history_of(moment.tools, moment.reader)
    asked = planner.planner_messages(moment.reader, history, len(made.answer.personas))
    assert made.prompt == asked
    assert planner.checked(made.answer.personas, history, moment.tools)
    assert sorted(one.name for one in by_future(moment, personas)) == sorted(
        one.name for one in personas
    )
    line = expert.expert_messages(moment.tools, moment.reader, personas[0])[1].text
    assert personas[0].description in line


def test_the_same_command_makes_the_same_rows(shop: Dataset, tmp_path: Path) -> None:
    first, second = (make(shop.name, SMOKE, tmp_path / name) for name in ("a", "b"))
    assert load(tmp_path / "a") == load(tmp_path / "b")
    assert first["rejects"] == second["rejects"]


def test_rows_of_other_prompts_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, [row("a")], {})
    assert load(tmp_path) == load(tmp_path / "rows.jsonl") == [row("a")]
    monkeypatch.setattr(prompting, "template", lambda name: f"other words of {name}")
    for cached in (prompting.fingerprint, files.fingerprint):
        cached.cache_clear()
    try:
        with pytest.raises(InputError, match="make them anew"):
            load(tmp_path)
    finally:
        for cached in (prompting.fingerprint, files.fingerprint):
            cached.cache_clear()


def test_files_that_are_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected in"):
        load(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(InputError, match="holds no training rows"):
        load(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(InputError, match="is empty"):
        load(tmp_path / "rows.jsonl")


def test_rows_that_were_not_finished_or_altered_are_refused(tmp_path: Path) -> None:
    save(tmp_path, [row("a"), row("b")], {})
    held = bytearray((tmp_path / files.ROWS).read_bytes())
    held[len(held) // 2] ^= 1
    (tmp_path / files.ROWS).write_bytes(held)
    with pytest.raises(InputError, match="was altered"):
        load(tmp_path)
    save(tmp_path, [row("a")], {})
    assert len(load(tmp_path)) == 1
    (tmp_path / files.CARD).unlink()
    with pytest.raises(InputError, match="were not finished"):
        load(tmp_path)
    assert len(load(tmp_path / files.LINES)) == 1


def test_rows_load_with_datasets(tmp_path: Path) -> None:
    from datasets import load_dataset

    save(tmp_path, [row("a"), row("b")], {})
    table = load_dataset(
        "parquet", data_files=str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path)
    )
    assert table["train"][0]["messages"][-1] == {"role": "assistant", "content": "{}"}


def test_a_repeated_prompt_counts_once_and_short_rows_come_first() -> None:
    rows = [row("x" * n, user=str(n)) for n in (9, 1, 5, 5, 7, 3, 8)]
    kept = unlike(rows)
    assert len(kept) == 6
    staged = ordered(kept)
    stages = {len(one.messages[0]["content"]): one.stage for one in staged}
    assert [stages[n] for n in (1, 3, 5, 7, 8, 9)] == [0, 0, 1, 1, 2, 2]
    assert [one.stage for one in staged] == sorted(one.stage for one in staged)


def test_of_two_people_one_is_held_out_and_never_both() -> None:
    parts = {one.user: one.part for one in held_out([row("a", user="1"), row("b", user="2")], 0.01)}
    assert sorted(parts.values()) == ["train", "validation"]
    assert held_out([row("a", user="1")], 0.5)[0].part == "train"


def test_an_answer_is_written_as_the_grammar_writes_it() -> None:
    answer = ANSWERS["expert"].model_validate({"tags": [{"tag": "red shoe", "why": "like it"}]})
    turns = answered((Message("user", "say"),), answer)
    assert turns[-1]["content"] == '{"tags":[{"tag":"red shoe","why":"like it"}]}'


def test_a_teacher_is_asked_once_and_what_fails_the_checks_is_counted(
    shop: Dataset, tmp_path: Path
) -> None:
    chat = ScriptedChat(lambda ask: "no answer at all", name="big")
    teacher = Teacher(chat, Kept(tmp_path / "big.jsonl"))
    few = Preset(examples=ExamplesConfig(rows=6, general=0.0), agents=SMOKE.agents)
    with pytest.raises(InputError, match="No training row"):
        make(shop.name, few, tmp_path / "out", "", teacher)
    asked = len(chat.asks)
    assert asked > 0
    again = Teacher(chat, Kept(tmp_path / "big.jsonl"))
    with pytest.raises(InputError, match="No training row"):
        make(shop.name, few, tmp_path / "out", "", again)
    assert len(chat.asks) == asked
    assert again.cached > 0
    read, written = expected_tokens(few)
    assert read > written > 0


def test_the_command_prints_the_card(shop: Dataset) -> None:
    done = CliRunner().invoke(
        cli,
        [
            "finetune",
            "examples",
            "--dataset",
            shop.name,
            "--preset",
            "smoke",
            "--base",
            "",
            "--json",
            "-",
        ],
    )
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)
    assert card["rows"] > 20
    assert np.isclose(sum(card["counts"]["kind"].values()), card["rows"])
