"""`evaluate intent`: how well the tags that a language model writes name what people choose next.

* `leaves.py`   leaf categories, and the one that a tag stands for
* `cases.py`    whom it asks about, and what may be known of them
* `lists.py`    each arm's list of categories, and the untrained lists they are held against
* `figures.py`  hit rates and the other figures, with intervals over people
* `run.py`      the arms, one after the other, behind one engine
"""
