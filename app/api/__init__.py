"""The HTTP API: the agent graph for many callers at once.

* `server` starts the engine and the API together; `app` puts the application together.
* `recommending`, `catalogue`, `chat`, `mcp_tools`, `health` what it answers.
* `service` one recommendation: admission, deadline, engine, exposure; `gate` who waits and who goes;
  `workshop` the loop on which it is worked out.
* `guard` who may ask, how much and how often; `keys` the keys; `errors` one sentence for each fault.
* `metrics` what Prometheus reads; `memory` what keeps the process from growing.
"""
