"""`finetune judge-head`: a small judge learnt from human labels.

* `config.py`  settings and presets
* `fit.py`     from labels to a head: members, inner cross-validation, calibration
* `train.py`   the command's road: estimate, resume, publish
"""
