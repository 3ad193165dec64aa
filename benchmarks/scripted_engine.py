"""An engine of no intelligence in a process of its own, for `load_test.py`: `PORT` as its argument.

Speaks the part of OpenAI's API that `serving/openai_chat.py` uses, and answers every schema of the
agents with something that fits it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn

ANSWERS: dict[str, Any] = {
    "PlannerAnswer": {"personas": [{"name": "Recent taste", "why": "chosen lately", "items": [1]}]},
    "ExpertAnswer": {"tags": [{"tag": "something new", "why": "not seen yet"}] * 3},
    "ArbiterAnswer": {"keep": [{"tag": n, "why": "close to the person"} for n in range(1, 9)]},
    "StyleAnswer": {"tone": "plain", "first": ["relevance"], "avoid": "superlatives"},
    "ExplainerAnswer": {
        "sentences": [{"item": n, "text": "This fits what you chose lately."} for n in range(1, 7)]
    },
}


async def engine(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"].endswith("/chat/completions"):
        asked = json.loads(body)["response_format"]["json_schema"]["name"]
        said = {"role": "assistant", "content": json.dumps(ANSWERS[asked])}
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": 20}
        answer: dict[str, Any] = {
            "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
            "usage": usage,
        }
    else:
        answer = {"object": "list", "data": [{"id": "scripted"}]}
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


if __name__ == "__main__":
    uvicorn.run(
        engine, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", lifespan="off"
    )
