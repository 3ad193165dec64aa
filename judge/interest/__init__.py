"""`foretaste evaluate interest`: the next-interest model and its mix beside rules and trained opponents.

* `run.py`    from a data set's name to figures
* `table.py`  the figures for people
"""
