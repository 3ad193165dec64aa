"""Trained opponents of the ranking tables, as their papers state them.

* `ease.py`    EASE^R (Steck 2019), closed form
* `sasrec.py`  SASRec (Kang and McAuley 2018) with a sampled softmax
"""
