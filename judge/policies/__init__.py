"""What a policy would have earned, from what another one showed: off-policy evaluation.

* `log.py`         logged recommendations with propensities, and candidate policies, from tables
* `estimators.py`  IPS, SNIPS, doubly robust, with intervals; SharpeRatio@k over candidates
* `own.py`        the log of our own server as such tables
* `assess.py`      `judge policies`: estimated effect, judge's score and ranking metric in one table
"""
