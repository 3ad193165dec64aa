"""How good an answer is. The room imports `data`, `serving` and `agents`.

* `ranking/`  rankings of scorers over all items: metrics, intervals, segments
"""
