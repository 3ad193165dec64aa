"""Judging whole files: rows, cases made of them, a run that can be killed, and what it left.

* `rows.py`   files of every format as rows
* `cases.py`  rows as cases and pairs
* `run.py`    judges them many at once, each judgement on disk before it counts
* `saved.py`  the lines of a run, read again
"""
