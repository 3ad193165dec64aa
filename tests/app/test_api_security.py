"""Who may ask and how much; and nobody's data in a log line."""

from __future__ import annotations

import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.app.api.errors import place_of
from foretaste.app.api.keys import KeyRing, add_key, keys_path, remove_key
from foretaste.app.api.limits import Limits
from foretaste.app.api.server import _NoTexts, check_host
from foretaste.app.cli import cli
from foretaste.data.errors import InputError
from foretaste.serving.scripted_chat import ScriptedChat


def _with(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_is_shown_once_and_kept_as_a_hash(home: Path) -> None:
    done = CliRunner().invoke(cli, ["serve", "keys", "add", "shop"])
    key = done.stdout.strip()
    assert key.startswith("ft_")
    kept = keys_path().read_text()
    assert key not in kept
    assert key.split("_", 2)[2] not in kept
    assert keys_path().stat().st_mode & 0o077 == 0
    found = KeyRing().find(key)
    assert found is not None
    assert found.name == "shop"
    listed = CliRunner().invoke(cli, ["serve", "keys", "list"]).stdout
    assert "shop" in listed
    assert key not in listed
    assert CliRunner().invoke(cli, ["serve", "keys", "remove", "shop"]).exit_code == 0
    assert KeyRing().find(key) is None


@pytest.mark.parametrize("wrong", ["", "ft_", "ft_x", "ft__", "x" * 10_000, "ft_é_é", "ft_0_0\x00"])
def test_a_wrong_key_is_nobody(home: Path, wrong: str) -> None:
    key = add_key("shop")
    ring = KeyRing()
    assert ring.find(wrong) is None
    assert ring.find(key[:-1]) is None
    assert ring.find(key + "A") is None
    with pytest.raises(InputError, match="already"):
        add_key("shop")
    with pytest.raises(InputError, match="plain name"):
        add_key("../shop")


def test_with_keys_only_they_open_the_door_and_changes_count_at_once(serve: Any) -> None:
    server = serve()
    assert server.call("GET", "/v1/models").status_code == 200, "no keys yet: this machine may ask"
    key = add_key("shop")
    assert server.call("GET", "/v1/models").status_code == 401
    refused = server.call("GET", "/v1/models", headers=_with(key + "x"))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert key not in refused.text
    assert server.call("GET", "/v1/models", headers=_with(key)).status_code == 200
    assert server.call("GET", "/v1/models", headers={"X-API-Key": key}).status_code == 200
    for path in ("/metrics", "/openapi.json", "/mcp", "/v1/users/ann"):
        assert server.call("GET", path).status_code == 401, path
    for path in ("/healthz", "/readyz"):
        assert server.call("GET", path).status_code == 200, path
    other = add_key("other")
    remove_key("shop")
    assert server.call("GET", "/v1/models", headers=_with(key)).status_code == 401
    assert server.call("GET", "/v1/models", headers=_with(other)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "shop.example"}, 403),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "null"}, 403),
    ],
)
def test_without_keys_no_web_page_of_elsewhere_reaches_the_api(
    serve: Any, headers: dict[str, str], status: int
) -> None:
    assert serve().call("GET", "/v1/models", headers=headers).status_code == status


def test_the_rate_by_hand() -> None:
    now = [0.0]
    limits = Limits(clock=lambda: now[0])

    def ask() -> int:
        try:
            with limits.using("shop", rate=2, burst=3, concurrency=5):
                return 200
        except Exception as refused:  # noqa: BLE001
            return int(getattr(refused, "status_code", 0))

    assert [ask() for _ in range(4)] == [200, 200, 200, 429]
    now[0] += 0.5
    assert [ask(), ask()] == [200, 429]
    now[0] += 60
    assert [ask() for _ in range(4)] == [200, 200, 200, 429], "a pause is not saved up beyond it"
    with limits.using("other", rate=2, burst=3, concurrency=5):
        assert True, "another key has its own"


def test_a_key_has_its_own_rate_and_its_own_number_under_way(serve: Any) -> None:
    quick, slow = add_key("quick"), add_key("slow", rate=0.5, concurrency=1)
    server = serve(model=ScriptedChat(lambda ask: {}, delay_s=0.3), burst=200, rate=50)
    seen = [server.call("GET", "/v1/models", headers=_with(slow)) for _ in range(4)]
    assert [answer.status_code for answer in seen] == [200, 200, 429, 429]
    assert int(seen[-1].headers["retry-after"]) >= 1
    assert server.call("GET", "/v1/models", headers=_with(quick)).status_code == 200
    narrow = add_key("narrow", concurrency=1)

    def ask(_: int) -> int:
        body = {"user_id": "ann", "n": 1}
        answer = server.call("POST", "/v1/recommendations", body, headers=_with(narrow))
        return int(answer.status_code)

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(ask, range(3))) == [200, 429, 429]
    assert ask(0) == 200, "what is over is not counted"


def test_a_body_that_does_not_come_is_not_waited_for(serve: Any) -> None:
    server = serve(body_s=0.5)
    host, port = server.url.removeprefix("http://").split(":")
    started = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(
            b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        assert b" 408 " in line.recv(200)
    assert time.monotonic() - started < 5


def test_no_log_line_holds_what_somebody_sent(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    private = "xyzzy-private"
    caplog.set_level(logging.DEBUG)
    logging.getLogger("bm25s").setLevel(logging.CRITICAL)
    server = serve(model=ScriptedChat(lambda ask: RuntimeError(f"a fault that says {private}")))
    event = {"user_id": private, "item_id": "fear-1"}
    server.call("POST", "/v1/interactions", {"interactions": [event]})
    broken = server.call("POST", "/v1/recommendations", {"user_id": private, "wish": private})
    assert broken.status_code == 500
    assert private not in broken.text
    server.call("GET", f"/v1/users/{private}")
    server.call("GET", f"/{private}", headers={"X-Forwarded-For": private})
    server.call("POST", "/v1/recommendations", {"user_id": f"{private}-unknown"})
    server.call("DELETE", f"/v1/users/{private}")
    ours = [one for one in caplog.records if one.name.split(".")[0] not in ("httpx", "httpcore")]
    assert any("RuntimeError" in one.getMessage() for one in ours)
    assert not any(private in _NoTexts("%(message)s").format(one) for one in ours)


def test_a_fault_is_logged_by_kind_and_place_alone() -> None:
    with pytest.raises(ValueError, match="somebody") as caught:
        raise ValueError("somebody's data")
    assert place_of(caught.value).startswith("test_api_security.py:")
    fault = (ValueError, caught.value, caught.value.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "went wrong", (), fault)
    text = _NoTexts("%(message)s").format(record)
    assert text.startswith("went wrong\nValueError at test_api_security.py:")
    assert "somebody" not in text


def test_another_host_needs_keys_or_a_clear_word(home: Path) -> None:
    ring = KeyRing()
    check_host("127.0.0.1", ring, without_keys=False)
    with pytest.raises(InputError, match="no API keys"):
        check_host("0.0.0.0", ring, without_keys=False)  # noqa: S104
    check_host("0.0.0.0", ring, without_keys=True)  # noqa: S104
    add_key("shop")
    check_host("0.0.0.0", ring, without_keys=False)  # noqa: S104


def test_a_damaged_key_file_lets_nobody_in(serve: Any) -> None:
    server = serve()
    add_key("shop")
    keys_path().write_text(json.dumps([{"name": "shop"}]))
    answer = server.call("GET", "/v1/models")
    assert answer.status_code == 500
    assert str(keys_path()) not in answer.text
