"""Next-interest embeddings (KARMA, arXiv 2603.22779): a language model reads items as single vectors.

* `config.py`      settings and presets
* `trainer.py`     the parts of the loss: action, wish, knowledge
* `knowledge.py`   the target's text from the history, and from h alone
* `loop.py`        estimate and validation of the epochs
* `train.py`       a whole run, from a data set's name to an export
* `mixing.py`      the ranker beside the untrained rules, fitted on validation people
* `diagnostics.py` attention sinks, effective dimension, hubness, as pictures
"""
