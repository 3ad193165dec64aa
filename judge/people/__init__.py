"""Whether a judge is right: labels by people, agreement with them, calibration, biases, the head.

* `labels.py`     a table of human labels, its columns mapped
* `agreement.py`  κ, Krippendorff's α, Spearman, AUC, calibration: figures of one judge
* `agree.py`      `judge agree`: every judge by cross-validation over groups, beside people
"""
