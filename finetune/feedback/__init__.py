"""What people did with what they were shown, as preferences for the reward model.

* `config.py`       settings
* `confounders.py`  what the place and the popularity of an item did to its reward, estimated on the log
* `preferences.py`  answers to one context in tiers, each loved one weighted against both
* `make.py`         `finetune examples --from feedback`
"""
