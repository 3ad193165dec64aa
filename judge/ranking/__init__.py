"""How well items are ranked, over the whole catalogue; the protocol stands in docs/protocol.md.

* `lists.py`      top lists with ties in random order; coverage, novelty, diversity of lists
* `bootstrap.py`  paired resampling of users, intervals
* `segments.py`   against the catalogue's order, head, tail, cold, a new day
* `evaluate.py`   `evaluate_ranking`: any scorers on any split, as one JSON object
* `run.py`        the untrained methods of `foretaste evaluate ranking`
* `table.py`      the figures for people
"""
