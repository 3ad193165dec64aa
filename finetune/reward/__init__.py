"""The reward model: the judge's tiers distilled into one number (RecGPT-V2, arXiv 2512.14503, section 5).

* `config.py`   settings and presets
* `data.py`     groups of answers with tiers: in hindsight, or from a judge's verdicts
* `loss.py`     listwise over tiers; pointwise as the comparison
* `measure.py`  pairwise accuracy over tiers, AUC
* `train.py`    a whole run: estimate, epochs, validation, resume, export

The network and the served scorer stand in `serving/reward.py`.
"""
