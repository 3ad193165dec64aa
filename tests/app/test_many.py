"""`foretaste recommend --all`: partitions, one row a user, killed and gone on with; here and on Ray."""

from __future__ import annotations

import json
import os
import runpy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.app.api.server import Serving
from foretaste.app.cli import cli
from foretaste.app.fleet import spread
from foretaste.app.fleet.config import FleetConfig, placed
from foretaste.app.fleet.deploy import deployed
from foretaste.app.fleet.people import parted, partition_of, usual_partitions
from foretaste.data.errors import EngineError, ForetasteError, InputError
from foretaste.data.feedback import feedback_table

SHOP = runpy.run_path(str(Path(__file__).parent / "test_recommend.py"))
USERS = [f"u{number}" for number in range(12)]


@pytest.fixture
def shop(home: Path, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small shop, imported by the command."""
    for name, text in (("items", SHOP["ITEMS"]), ("interactions", SHOP["EVENTS"])):
        (tmp_path / f"{name}.csv").write_text(text)
    files = [f"--{one}={tmp_path / one}.csv" for one in ("items", "interactions")]
    done = CliRunner().invoke(cli, ["data", "import", *files, "--name", "shop"])
    assert done.exit_code == 0, done.output
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    return "shop"


def _all(out: Path, *words: str) -> Any:
    call = ["recommend", "--all", "--dataset", "shop", "--engine", "local", "--out", str(out)]
    return CliRunner().invoke(cli, [*call, "--n", "3", "--json", "-", *words])


def _rows(out: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(out / "part-*.parquet").sort("user_id").to_dicts()


def test_users_keep_their_partition() -> None:
    assert [partition_of(user, 4) for user in ("ann", "bob", "cat")] == [1, 2, 3]
    assert parted(["ann", "bob", "cat"], 2) == {0: ["bob"], 1: ["ann", "cat"]}
    assert [usual_partitions(users) for users in (1, 5_000, 10**8)] == [8, 10, 10_000]


@given(st.sets(st.text(max_size=5)), st.integers(1, 40))
def test_each_user_is_in_one_partition(users: set[str], partitions: int) -> None:
    parts = parted(sorted(users), partitions)
    assert sorted(user for own in parts.values() for user in own) == sorted(users)
    assert all(0 <= part < partitions and own for part, own in parts.items())


def test_the_model_is_named_once() -> None:
    assert placed("local", "vllm", "none") == ("local", "vllm")
    with pytest.raises(InputError, match="--llm"):
        placed("transformers", "vllm", "none")


def test_everybody_has_one_row_and_a_second_call_makes_none(shop: str, tmp_path: Path) -> None:
    out = tmp_path / "rows"
    done = _all(out, "--partitions", "3")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["users"], figures["failed"], figures["made_now"]) == (12, 0, 12)
    rows = _rows(out)
    assert [row["user_id"] for row in rows] == sorted(USERS)
    first = rows[0]
    assert [one["rank"] for one in first["recommendations"]] == [1, 2, 3]
    assert first["recommendations"][0]["item_id"] == "a4"
    assert [one["item_id"] for one in first["history"]] == ["a1", "a2", "a3"]
    files = {one.name: one.stat().st_mtime_ns for one in out.glob("part-*")}
    for name in files:
        users = pl.read_parquet(out / name)["user_id"].to_list()
        assert {partition_of(user, 3) for user in users} == {int(name[5:10])}
        assert users == sorted(users)
    again = json.loads(_all(out, "--partitions", "3").stdout.splitlines()[-1])
    assert again["made_now"] == 0
    assert again["users"] == 12
    assert {one.name: one.stat().st_mtime_ns for one in out.glob("part-*")} == files


def test_stopped_in_the_middle_it_goes_on_and_nobody_is_answered_twice(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    async def until_the_engine_dies(tools: Tools, request: Request) -> dict[str, Any]:
        if len(asked) == 7:
            raise EngineError("The engine died.")
        asked.append(request.user_id)
        return await recommend(tools, request)

    out, words = tmp_path / "rows", ["--partitions", "2"]
    with monkeypatch.context() as patch:
        patch.setattr("foretaste.app.fleet.worker.recommend", until_the_engine_dies)
        patch.setattr("foretaste.app.fleet.worker._PAUSE_S", 0.01)
        assert "died" in str(_all(out, *words).exception)
    (journal,) = (out / ".unfinished").iterdir()
    with journal.open("a") as file:
        file.write('{"user_id": "u1", "rec')  # as a crash leaves it
    done = _all(out, *words)
    assert json.loads(done.stdout.splitlines()[-1])["made_now"] == 12 - len(set(asked)) == 5
    assert _all(tmp_path / "calm", *words).exit_code == 0
    assert _rows(out) == _rows(tmp_path / "calm")
    assert not (out / ".unfinished").exists()


def test_an_altered_file_is_made_again_and_other_calls_are_refused(
    shop: str, tmp_path: Path
) -> None:
    out = tmp_path / "rows"
    assert _all(out, "--partitions", "2").exit_code == 0
    before, manifest = _rows(out), (out / "manifest.jsonl").read_text()
    file = next(out.glob("part-*"))
    file.write_bytes(file.read_bytes()[:-9])
    done = _all(out, "--partitions", "2")
    assert done.exit_code == 0, done.output
    assert "altered" in done.stderr
    assert _rows(out) == before
    assert (out / "manifest.jsonl").read_text() == manifest, "the same file has the same line"
    assert "begun with another partitions" in str(_all(out, "--partitions", "3").exception)
    assert "another request" in str(_all(out, "--partitions", "2", "--seed", "5").exception)


def test_who_fails_keeps_a_row_with_the_reason(shop: str, tmp_path: Path) -> None:
    (tmp_path / "who").write_text("u1\nnobody\n\nu0\nu1\n")
    done = _all(tmp_path / "rows", "--users", str(tmp_path / "who"))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["failed"] == 1
    rows = {row["user_id"]: row for row in _rows(tmp_path / "rows")}
    assert list(rows) == ["nobody", "u0", "u1"]
    assert "'nobody' is not in shop" in rows["nobody"]["error"]
    assert rows["nobody"]["recommendations"] == []
    assert rows["u0"]["error"] is None
    judged = ["judge", "run", "--in", str(tmp_path / "rows" / "all.parquet"), "--rubric", "list"]
    pl.DataFrame(list(rows.values())).write_parquet(tmp_path / "rows" / "all.parquet")
    call = [*judged, "--judge", "rules", "--dataset", shop, "--out", str(tmp_path / "out.jsonl")]
    assert CliRunner().invoke(cli, call).exit_code == 0
    assert sorted(_lines(tmp_path / "out.jsonl")) == ["u0", "u1"], "no page, nothing to judge"


WRONG = [
    (["--all", "--engine", "local"], "give --out DIR"),
    (["--all", "--out", "x", "--user", "u0"], "about one person"),
    (["--user", "u0", "--partitions", "3"], "stand beside --all"),
    (["--users", "missing.txt", "--engine", "local", "--out", "x"], "one user id a line"),
    (["--all", "--engine", "local", "--out", "x", "--set", "fleet.cpus=0"], "fleet.cpus"),
    (["--all", "--engine", "local", "--out", "x", "--category", "Opera"], "passes the filters"),
    (["--all", "--engine", "cloud", "--out", "x"], "--engine expects"),
]


def test_wrong_calls_are_one_sentence(
    shop: str, refused: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORETASTE_STATE", raising=False)
    replicas = ["--ray", "--engine", "none", "--set", "fleet.workers=2"]
    calls = [("recommend", words, sentence) for words, sentence in WRONG]
    for command, words, sentence in [*calls, ("serve", replicas, "FORETASTE_STATE")]:
        code, said = refused(command, "--dataset", "shop", *words)
        assert code == 2, words
        assert sentence in said
        assert not Path("x").exists()


HOOK = """
import runpy
def setup():
    from foretaste.serving import embedder
    embedder.load_embedder = lambda name: runpy.run_path({conftest!r})["WordEmbedder"]()
"""


@pytest.fixture(scope="module")
def ray_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray of this machine, its workers with the embedder of these tests."""
    ray = pytest.importorskip("ray", reason="foretaste[ray] is not installed")
    place = tmp_path_factory.mktemp("hook")
    (place / "hook_of_a_test.py").write_text(
        HOOK.format(conftest=str(Path(__file__).parent.parent / "conftest.py"))
    )
    seen = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in spread.USUAL.items():
            patch.setenv(name, value)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={
                "env_vars": {"PYTHONPATH": os.pathsep.join(seen), "OMP_NUM_THREADS": "1"},
                "worker_process_setup_hook": "hook_of_a_test.setup",
            },
        )
        yield
        ray.shutdown()


def test_a_cluster_that_does_not_come_up_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="foretaste[ray] is not installed")

    def init(**_: Any) -> None:
        raise Exception("The node timed out during startup.\nMore")  # noqa: TRY002 (as Ray does)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    said = r"Ray at local does not answer \(The node timed out during startup\.\); run the same"
    with pytest.raises(ForetasteError, match=said), spread.cluster():
        pass


def test_ray_makes_the_same_files_and_the_same_judgements(
    ray_here: None, shop: str, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    words = ["--partitions", "3", "--set", "fleet.most_workers=1"]
    assert _all(here, *words).exit_code == 0
    done = _all(there, *words, "--engine", "ray")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["engine"] == "ray"
    for file in here.glob("part-*"):
        assert (there / file.name).read_bytes() == file.read_bytes()
    assert {one.name for one in there.iterdir()} == {one.name for one in here.iterdir()}

    rows = str(next(here.glob("part-*")))
    files = {where: tmp_path / f"{where}.jsonl" for where in ("local", "ray")}
    judging = ["judge", "run", "--in", rows, "--rubric", "item", "--judge", "rules"]
    for where, out in files.items():
        call = [*judging, "--dataset", shop, "--out", str(out), "--engine", where]
        done = CliRunner().invoke(cli, [*call, "--concurrency", "4", *words[2:], "--json", "-"])
        assert done.exit_code == 0, done.output
    assert _lines(files["ray"]) == _lines(files["local"]) != {}
    kept = files["ray"].read_text()
    assert CliRunner().invoke(cli, call).exit_code == 0
    assert files["ray"].read_text() == kept, "nothing is judged twice"


def _lines(file: Path) -> dict[str, dict[str, Any]]:
    """What was judged, without the milliseconds it took and the checksum over them."""
    lines = map(json.loads, file.read_text().splitlines())
    unlike = {"line_sha256": ""}
    return {line["id"]: line | {"spent": line["spent"] | {"ms": 0}} | unlike for line in lines}


def test_a_replica_on_ray_serve_answers_as_one_server_does(
    ray_here: None, shop: str, tmp_path: Path
) -> None:
    still = ("agents.swap=0",)  # else neighbours change places by chance
    serving = Serving(dataset=shop, engine="none", port=free_port(), settings=still)
    with (
        deployed(serving, FleetConfig()) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        assert client.get("/readyz").status_code == 200
        answer = client.post("/v1/recommendations", json={"user_id": "u0", "n": 3})
        thumb = {"request_id": answer.json()["request_id"], "item_id": "a4", "thumb": "up"}
        assert client.post("/v1/feedback", json={"feedback": [thumb]}).status_code == 200
    assert answer.json()["recommendations"][0]["item_id"] == "a4"
    assert feedback_table(shop)["thumb"].to_list() == [1]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
