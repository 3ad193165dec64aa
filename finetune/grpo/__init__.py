"""Constrained reinforcement learning of the experts: GRPO with gates (RecGPT-V2, arXiv 2512.14503, 3.2).

* `config.py`    settings and presets
* `rewards.py`   accuracy, alignment, diversity, length; constrained (CRS) and summed (SUM)
* `scoring.py`   what an answer earns: its tags, their categories, vectors and reward-model scores
* `rollout.py`   sampling on the CPU: batched, prefixes shared, held to the JSON schema
* `alarm.py`     when training collapses
* `policy.py`    TRL's GRPOTrainer where a group's prompt is computed once
* `trainer.py`   that trainer over the steps that are left, with our rollouts, rewards and schedule
* `keeper.py`    between steps: curves, validation, the alarm, states
* `train.py`     a whole run: questions, thresholds, estimate, resume, export
"""

import warnings

# TRL says while it is imported which vLLM its own client takes; the rollouts here use none.
warnings.filterwarnings("ignore", message="TRL currently supports vLLM", category=UserWarning)
