"""`foretaste bench hybrid` and the setting `agents.entities`, on a tiny shop with scripted answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Persona
from foretaste.app.benching import hybrid
from foretaste.app.benching.hybrid_answers import agreement, attribute_questions
from foretaste.app.benching.hybrid_reading import Cost, Forms, medians
from foretaste.app.cli import cli
from foretaste.app.entities import in_form
from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import ModelError
from foretaste.data.store import save_dataset
from foretaste.data.tables import COLUMNS
from foretaste.serving.chat import Answer, Ask, Parsed, Usage
from foretaste.serving.embedder import fingerprint_of
from foretaste.serving.engine import EngineConfig
from foretaste.serving.hybrid_adaptor import Adaptor, Belongs
from foretaste.serving.hybrid_chat import HybridChat
from foretaste.serving.hybrid_store import fitting_adaptor, publish
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.scripted_chat import ScriptedChat

KINDS = ("Drama", "Comedy", "Horror", "War", "Crime")


@pytest.fixture
def shop(home: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Fifty films of five kinds; eight people with 24 of them each."""
    draw = np.random.default_rng(0)
    items = [
        {
            "item_id": f"i{n}",
            "title": f"{KINDS[n % 5]} film{n}",
            "categories": [KINDS[n % 5]],
            "attributes": [],
        }
        for n in range(50)
    ]
    log = [
        {
            "user_id": f"u{user}",
            "item_id": f"i{row}",
            "timestamp": 1_600_000_000 + 86_400 * time,
            "event": "purchase",
            "position": 24 * user + time,
        }
        for user in range(8)
        for time, row in enumerate(draw.choice(50, 24, replace=False))
    ]
    given: dict[str, list[dict[str, Any]]] = {
        "items": items,
        "interactions": log,
        "users": [],
        "environment": [],
    }
    tables = {name: pl.DataFrame(rows, schema=COLUMNS[name]) for name, rows in given.items()}
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    monkeypatch.setattr("foretaste.serving.hybrid_store.load_embedder", lambda name: embedder)
    return save_dataset(Dataset(**tables, info=DatasetInfo(name="shop")))


class Counted:
    """Scripted answers with the tokens that the form would take, a word each."""

    def __init__(self, form: str) -> None:
        self.form, self.name = form, form
        self.inner = ScriptedChat(self.say)
        self.asks: list[Ask[Any]] = []

    def say(self, ask: Ask[Any]) -> dict[str, Any]:
        fields = ask.schema.model_fields
        if "personas" in fields:
            mine = [int(n) for n in re.findall(r"(\d+)\. Drama film", ask.messages[1].text)]
            return {"personas": [{"name": "Drama", "why": "Drama", "items": mine[:3]}]}
        if "values" in fields:
            options = ask.schema.model_json_schema()["properties"]["values"]["items"]["enum"]
            return {"values": [options[0]]}
        if "keep" in fields:
            return {"keep": [{"tag": 1, "why": "fits"}]}
        return {"tags": [{"tag": f"good {kind}", "why": "fits"} for kind in KINDS[:3]]}

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        self.asks.append(ask)
        answer = await self.inner.ask(ask)
        parts = [part for turn in ask.messages for part in turn.parts]
        words = [len(p.split()) if isinstance(p, str) else self.size(p.text) for p in parts]
        return Answer(answer.parsed, answer.text, Usage(sum(words), 0, 7, 10.0 * sum(words)))

    def size(self, text: str) -> int:
        return 1 if self.form == "hybrid" else len(text.split())

    async def close(self) -> None:
        return None


def belongs(embedder: Any, model: str) -> Belongs:
    return Belongs(
        embedder=embedder.name,
        embedder_fingerprint=embedder.fingerprint,
        model=model,
        model_fingerprint=fingerprint_of(Path(model)),
    )


def test_both_forms_are_asked_the_same(
    shop: Dataset, embedder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forms = Forms(Counted("text"), Counted("hybrid"), lambda entities: [])

    @asynccontextmanager
    async def opened(*given: Any) -> AsyncIterator[Forms]:
        yield forms

    monkeypatch.setattr(hybrid, "_opened", opened)
    monkeypatch.setattr(hybrid, "_engine", lambda bench: EngineConfig(adaptor="shop"))
    target = tmp_path / "figures.json"
    words = ["bench", "hybrid", "--dataset", "shop", "--users", "4", "--questions", "5"]
    done = CliRunner().invoke(
        cli, [*words, "--histories", "10,20,500", "--repeats", "2", "--json", str(target)]
    )
    assert done.exit_code == 0, done.output
    figures = json.loads(target.read_text())
    assert [row["history"] for row in figures["curve"]] == [10, 20], "nobody has 500"
    row = figures["curve"][1]
    assert row["text"]["prompt_tokens"] - row["hybrid"]["prompt_tokens"] == 20 * (3 - 1)
    assert row["hybrid"]["prefill_s"] < row["text"]["prefill_s"]
    for form in ("text", "hybrid"):
        assert set(figures[form]) >= {
            *("prompt_tokens", "prefill_s", "decode_s", "seconds_per_user", "attribute_accuracy"),
            *("hr@5", "hr@10", "hr@30"),
        }
    assert figures["agreement"]["evidence_overlap"] == 1.0
    told = {row["metric"]: row for row in figures["pairs"]["hybrid-text"]}
    assert told["hr@30"]["delta"] == 0
    assert told["attribute_accuracy"]["delta"] == 0
    said = [
        {"".join(turn.text for turn in ask.messages) for ask in chat.asks}
        for chat in (forms.text, forms.hybrid)
    ]
    assert said[0] == said[1]
    nobody = CliRunner().invoke(cli, [*words, "--least-events", "25"])
    assert "shop has nobody with 25 interactions" in str(nobody.exception)


def test_one_server_is_asked_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[EngineConfig] = []

    @asynccontextmanager
    async def server(engine: EngineConfig) -> AsyncIterator[Any]:
        given.append(engine)
        yield SimpleNamespace(url="http://127.0.0.1:1/v1", model="m", check=lambda: None)

    monkeypatch.setattr(hybrid, "vllm_server_async", server)
    monkeypatch.setattr(hybrid, "load_hybrid", lambda engine: ("writer", "vectors"))

    async def opened() -> Forms:
        async with hybrid._opened(hybrid.Bench(dataset="shop"), EngineConfig()) as forms:
            return forms

    forms = asyncio.run(opened())
    assert isinstance(forms.hybrid, HybridChat)
    assert type(forms.text) is OpenAIChat
    assert forms.vectors == "vectors"
    assert len(given) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--only", "speed"], "--only expects parts of curve"),
        (["--histories", "ten"], "--histories expects numbers"),
        (["--set", "engine.engine=transformers"], "starts it itself"),
    ],
)
def test_a_wrong_call_is_one_sentence(shop: Dataset, words: list[str], sentence: str) -> None:
    done = CliRunner().invoke(cli, ["bench", "hybrid", "--dataset", "shop", "--users", "4", *words])
    assert sentence in str(done.exception)


@pytest.mark.parametrize("cpu", [True, False])
def test_the_adapter_is_merged_on_a_processor_and_held_apart_elsewhere(
    shop: Dataset, embedder: Any, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, cpu: bool
) -> None:
    model = str(tiny_llama)
    publish("shop", Adaptor.untrained((embedder.dimension, 8, 128), belongs(embedder, model)))
    monkeypatch.setattr("foretaste.serving.vllm_server.is_cpu_build", lambda: cpu)
    monkeypatch.setattr(hybrid, "adapter_folder", lambda name: Path("/adapters") / name)
    bench = hybrid.Bench(dataset="shop", adapter="mine", settings=(f"engine.model={model}",))
    engine = hybrid._engine(bench)
    assert engine.model == (f"{model}+/adapters/mine" if cpu else model)
    assert engine.adapters == (None if cpu else "arm=/adapters/mine")
    assert fitting_adaptor("shop", engine.model) == Path(str(engine.adaptor)), "its base's"


def test_questions_are_about_what_training_never_saw(shop: Dataset) -> None:
    asked = attribute_questions(shop, 9, None, 5.0, 0)
    assert len(asked) == 5, "a tenth of fifty"
    for one in asked:
        options = one.ask.schema.model_json_schema()["properties"]["values"]["items"]["enum"]
        assert one.right in options
        assert len(set(options)) == 4
        assert f"({one.right})" in one.ask.messages[1].text


def test_agreement_by_hand(embedder: Any) -> None:
    def persona(name: str, *evidence: str) -> Persona:
        return Persona(name=name, description="", evidence=evidence, source="model")

    same = [persona("drama", "a", "b"), persona("war", "c")]
    assert agreement(same, same, embedder) == pytest.approx((1.0, 1.0))
    found = agreement([persona("drama", "a", "b")], [persona("drama", "b", "c")], embedder)
    assert found == pytest.approx((1.0, 1 / 3))
    assert agreement(same, [], embedder) is None


def test_medians_by_hand() -> None:
    found = medians([Cost(10, 1.0, 2.0, 5), Cost(30, 3.0, 2.0, 7), Cost(20, 2.0, 8.0, 6)])
    assert (found["prompt_tokens"], found["prefill_s"], found["decode_s"]) == (20, 2.0, 2.0)
    assert found["seconds"] == 5.0


def test_vectors_are_used_where_an_adaptor_fits_and_text_elsewhere(
    shop: Dataset,
    embedder: Any,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = AgentsConfig(entities="vectors")
    engine = EngineConfig(model=str(tiny_llama))
    plain, text = in_form(config, engine, "shop")
    assert (plain.entities, text.form if text else "") == ("text", "text")
    assert "There is no adaptor 'shop'" in capsys.readouterr().err
    mine = Adaptor.untrained((embedder.dimension, 8, 128), belongs(embedder, str(tiny_llama)))
    folder = publish("shop", mine)
    kept, vectors = in_form(config, engine, "shop")
    assert vectors is not None
    assert (kept.entities, vectors.form, vectors.adaptor) == ("vectors", "hybrid", str(folder))
    assert in_form(config, None, "shop") == (config, None)
    assert in_form(AgentsConfig(), engine, "shop") == (AgentsConfig(), engine)
    in_form(config, engine.model_copy(update={"engine": "transformers"}), "shop")
    assert "reads text only" in capsys.readouterr().err
    monkeypatch.setattr("foretaste.serving.vllm_server.is_cpu_build", lambda: True)
    kept, _ = in_form(config, engine.model_copy(update={"adapters": "films=somewhere"}), "shop")
    assert kept.entities == "text"
    assert "no vectors beside LoRA adapters" in capsys.readouterr().err


def test_an_adaptor_of_another_model_or_embedder_is_not_used(
    shop: Dataset, embedder: Any, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = belongs(embedder, str(tiny_llama))
    for field, said in (("model", "language model"), ("embedder", "embedder")):
        other = real.model_copy(update={f"{field}_fingerprint": "9" * 16})
        publish("shop", Adaptor.untrained((embedder.dimension, 8, 128), other))
        with pytest.raises(ModelError, match=f"trained for the {said}"):
            fitting_adaptor("shop", str(tiny_llama))
        config, _ = in_form(
            AgentsConfig(entities="vectors"), EngineConfig(model=str(tiny_llama)), "shop"
        )
        assert config.entities == "text"
        assert "written as text: The adaptor was trained for" in capsys.readouterr().err


def test_a_published_adaptor_replaces_the_one_before(home: Path) -> None:
    told = Belongs(
        embedder="e", embedder_fingerprint="0" * 16, model="m", model_fingerprint="1" * 16
    )
    first = publish("shop", Adaptor.untrained((4, 6, 5), told, seed=0))
    second = publish("shop", Adaptor.untrained((4, 6, 5), told, seed=1))
    assert not first.exists()
    assert second.exists()
