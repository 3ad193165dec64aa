"""`foretaste bench serving`: its figures by hand, its options, and the pipeline's part end to end."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from foretaste.app.benching import limits
from foretaste.app.benching.engines import _prompt
from foretaste.app.cli import cli
from foretaste.serving.engine_config import EngineConfig


@pytest.fixture
def regulars() -> int:
    return 30


def test_the_pipeline_is_timed_through_the_whole_graph(cinema: str) -> None:
    words = ["bench", "serving", "--dataset", cinema, "--only", "overhead", "--requests", "20"]
    done = CliRunner().invoke(cli, [*words, "--users", "4", "--json", "-"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert list(figures) == ["overhead_ms"]
    row = figures["overhead_ms"]
    assert 0 < row["p50_without_embedder"] <= row["p50_instant"] <= row["p95_instant"]
    assert 0 < row["p50"] <= row["p95"]
    assert row["requests"] == 20
    assert row["fallback_share"] < 0.8, "most answers of the instant model pass the checks"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "users,cake"], "not 'cake'"),
        (["--index-items", "many"], "numbers with commas"),
        (["--set", "agents.kept=3"], "engine.FIELD=VALUE"),
        (["--only", "overhead", "--requests", "31"], "30 users"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    cinema: str,
    words: list[str],
    said: str,
    refused: Callable[..., tuple[object, str]],
) -> None:
    code, told = refused("bench", "serving", "--dataset", cinema, *words)
    assert code == 2
    assert said in told


def test_the_shares_of_the_limits_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """1e9 weights of 2 bytes: a step of 10 tokens takes max(2e9 / 1e10, 2e10 / 1e11) = 0.2 s."""
    monkeypatch.setattr(limits, "weights_of", lambda config: (10**9, 2))
    config = EngineConfig(max_num_seqs=10)
    read = {"decode_tokens_s": 25.0, "prefill": [{"text_tokens": 100, "text_s": 4.0}]}
    shares = limits.fractions({"matmul_gflops": 100, "bandwidth_gbs": 10}, config, read)
    assert shares == {"decode_fraction": 0.5, "prefill_fraction": 0.5}


def test_prompts_of_other_seeds_share_no_item_and_have_the_length_asked(cinema: str) -> None:
    from foretaste.data.store import load_dataset

    dataset = load_dataset(cinema)
    one, other = (_prompt(dataset, 8, seed)[1] for seed in (0, 1))
    keys = [{part.key for part in turn.parts if not isinstance(part, str)} for turn in (one, other)]
    assert [len(found) for found in keys] == [8, 8]
    assert one.text != other.text
