"""Items, events, feedback and users over HTTP: in use at once, there after a restart, gone when asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from foretaste.data.feedback import feedback_table

NEW = {"item_id": "space-9", "title": "Star Station (2030)", "categories": ["Sci-Fi", "Adventure"]}


def _ids(made: dict[str, Any]) -> list[str]:
    return [one["item_id"] for one in made["recommendations"]]


def _before_and_after(server: Any, serve: Any) -> Iterator[Any]:
    """The server, and after a restart the next one."""
    yield server
    yield serve()


def test_a_new_item_is_recommended_by_the_next_request_and_after_a_restart(serve: Any) -> None:
    server = serve()
    assert "space-9" not in _ids(server.recommend(wish="star station", n=12))
    answer = server.call("POST", "/v1/items", {"items": [NEW]})
    assert answer.json() == {"items": 1, "new": 1}
    assert "space-9" in _ids(server.recommend(wish="star station", n=3))
    server = serve()
    assert "space-9" in _ids(server.recommend(wish="star station", n=3))
    answer = server.call("POST", "/v1/items", {"items": [NEW | {"title": "Cookery"}]})
    assert answer.json() == {"items": 1, "new": 0}
    titles = {one["title"] for one in server.recommend(wish="cookery", n=12)["recommendations"]}
    assert "Cookery" in titles
    assert "Star Station (2030)" not in titles


def test_a_deleted_item_is_recommended_to_nobody(serve: Any) -> None:
    server = serve()
    gone = {"item_id": ["fear-3", "odd-1"]}
    assert server.call("DELETE", "/v1/items", params=gone).json() == {"deleted": 2}
    for now in _before_and_after(server, serve):
        assert not {"fear-3", "odd-1"} & set(_ids(now.recommend(user_id="bob", n=12)))
    assert now.call("DELETE", "/v1/items", params=gone).status_code == 422
    missing = now.call("DELETE", "/v1/items", params={"item_id": "none"})
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "unknown_item")


def test_what_somebody_did_is_known_to_their_next_request_once(serve: Any) -> None:
    server = serve()
    done = {"user_id": "zoe", "item_id": "space-2", "event": "purchase", "event_id": "order-7"}
    for kept in (1, 0):
        answer = server.call("POST", "/v1/interactions", {"interactions": [done]})
        assert answer.json() == {"kept": kept}
    for now in _before_and_after(server, serve):
        made = now.recommend(user_id="zoe", n=11)
        assert [event["item_id"] for event in made["history"]] == ["space-2"]
        assert "space-2" not in _ids(made)
        others = now.recommend(user_id="ann", n=3)
        assert "space-2" not in [event["item_id"] for event in others["history"]]


def test_feedback_is_kept_with_how_the_item_was_shown(serve: Any) -> None:
    server = serve()
    made = server.recommend(user_id="ann", n=4)
    third = made["recommendations"][2]
    thumb = {
        "request_id": made["request_id"],
        "user_id": "ann",
        "item_id": third["item_id"],
        "thumb": "down",
    }
    for reason in (None, "seen it"):
        body = {"feedback": [thumb | {"reason": reason}]}
        assert server.call("POST", "/v1/feedback", body).json() == {"kept": 1}
    table = feedback_table("films")
    assert table.select(
        "request_id", "user_id", "item_id", "thumb", "reason", "position", "score", "propensity"
    ).rows() == [
        (
            made["request_id"],
            "ann",
            third["item_id"],
            -1,
            "seen it",
            3,
            third["score"],
            third["placement"]["propensity"],
        )
    ]


def test_a_user_can_see_and_delete_everything_about_them(serve: Any) -> None:
    server = serve()
    made = server.recommend(user_id="ann", n=2)
    item = made["recommendations"][0]["item_id"]
    thumb = {"request_id": made["request_id"], "user_id": "ann", "item_id": item, "thumb": "up"}
    server.call("POST", "/v1/feedback", {"feedback": [thumb]})
    server.call(
        "POST", "/v1/interactions", {"interactions": [{"user_id": "ann", "item_id": "fear-1"}]}
    )
    about = server.call("GET", "/v1/users/ann").json()
    assert about["attributes"] == {"age": "24"}
    assert [row["item_id"] for row in about["interactions"]] == [
        "space-1",
        "space-3",
        "love-1",
        "fear-1",
    ]
    assert about["feedback"][0]["item_id"] == item
    assert [line["item_id"] for line in about["answers"][0]["page"]] == _ids(made)
    assert server.call("DELETE", "/v1/users/ann").json()["forgotten"]
    for now in _before_and_after(server, serve):
        assert now.call("GET", "/v1/users/ann").status_code == 404
        assert now.call("POST", "/v1/recommendations", {"user_id": "ann"}).status_code == 404
    assert feedback_table("films").is_empty()


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("items", {"items": []}, 422, "items"),
        ("items", {"items": [{"title": "no id"}]}, 422, "item_id"),
        ("items", {"items": [NEW | {"price": -1}]}, 422, "price"),
        ("items", {"items": [NEW] * 6}, 422, "At most 5"),
        ("interactions", {"interactions": [{"user_id": "a"}]}, 422, "item_id was expected"),
        (
            "interactions",
            {"interactions": [{"user_id": "a", "item_id": "none"}]},
            404,
            "no item 'none'",
        ),
        (
            "interactions",
            {"interactions": [{"user_id": "a", "item_id": "fear-1", "event": "dance"}]},
            422,
            "event",
        ),
        (
            "feedback",
            {"feedback": [{"request_id": "r", "item_id": "none", "thumb": "up"}]},
            404,
            "no item",
        ),
        (
            "feedback",
            {"feedback": [{"request_id": "r", "item_id": "fear-1", "thumb": "sideways"}]},
            422,
            "thumb",
        ),
    ],
)
def test_bad_rows_are_refused_whole(
    serve: Any, path: str, body: dict[str, Any], status: int, sentence: str
) -> None:
    server = serve(batch=5)
    answer = server.call("POST", f"/v1/{path}", body)
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["error"]["message"]
    assert server.service.live.ledger.read("SELECT count(*) FROM interactions") == [(0,)]
    assert server.service.live.ledger.read("SELECT count(*) FROM items") == [(0,)]
