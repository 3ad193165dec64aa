"""Counterfactual checks without people: defects planted into pages, and who finds them.

* `pages.py`      pages as they are judged, and clean ones of a data set
* `defects.py`    what is planted: wrong facts, other users' items, repeats, empty or unsafe text …
* `detectors.py`  the rules that look for each kind
* `fit.py`        the small head that tells whether items suit a history
* `probe.py`      `judge probe`: detection rate and false alarms by kind
"""
