"""What runs of judgements come to: figures, comparisons, and pages for people.

* `figures.py`   one run as figures
* `compare.py`   two runs, or pairs: wins, ties and losses with intervals
* `charts.py`    the figures as pictures
* `page.py`      one HTML page that needs nothing else; `markdown.py` the same as text
"""
