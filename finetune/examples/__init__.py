"""Training rows from histories: the prompts that are served, and answers that hindsight or a teacher gives.

* `config.py`     how many rows of which kind
* `rows.py`       one row, its fingerprint, the files, the data card
* `hindsight.py`  personas, tags and choices that the future confirms
* `sentences.py`  style guidelines and explanations that pass the guard
* `general.py`    instructions of everyday, answered by the base model itself
* `teacher.py`    the same prompts answered by a larger model behind an endpoint
* `make.py`       the road of `finetune examples`
"""
