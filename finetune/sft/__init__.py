"""Supervised fine-tuning of a language model on the agents' rows (TRL, a LoRA, loss on answers alone).

* `config.py`   settings and presets
* `data.py`     rows as tokens, batches of like length, their order
* `trainer.py`  TRL's trainer with the loss of answers, states and validation
* `train.py`    a whole run: estimate, training, the best checkpoint, export
* `export.py`   adapters for vLLM, and models with the adapter merged in
"""
