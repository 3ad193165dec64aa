"""Untrained rules: counting, words and vectors, with no weights to learn.

* `base.py`       what a rule is, recency weights, and the fallback to popularity
* `matrices.py`   co-occurrence, cosine, transitions, two hops, the strongest neighbours
* `words.py`      BM25 of every title against every other
* `scorers.py`    popularity, weighted neighbours, last vectors, blends
* `recipes.py`    each rule's name, its constants and how it is fitted
* `ranking.py`    where a target stands among all items, ties told apart from wins
* `live.py`       a fitted rule that learns events as they come
* `select.py`     constants by validation, the best rule of a data set, kept under home
"""
