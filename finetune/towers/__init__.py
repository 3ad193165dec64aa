"""Three towers: users, items and tags in one space (RecGPT-V2, arXiv 2512.14503).

* `config.py`   settings and presets
* `data.py`     tags in hindsight, batches
* `material.py` events, and the catalogue as arrays
* `loss.py`     L_col + 0.5 L_tag + 0.5 L_cate over sampled items
* `trainer.py`  the loss of one step
* `loop.py`     estimate and validation of its epochs (`finetune/epochs.py`)
* `train.py`    a whole run, from a data set's name to an export
"""
