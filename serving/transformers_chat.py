"""`ChatModel` inside this process, with transformers: for machines without vLLM, and to compare.

Asks that arrive within a few milliseconds of each other are answered in one batch. xgrammar masks
every token that would leave the ask's JSON schema, as it does in vLLM.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from foretaste.data.errors import EngineError, ModelError
from foretaste.data.progress import timed
from foretaste.serving.chat import Answer, Ask, Parsed, Usage
from foretaste.serving.chat_json import read_answer, schema_text
from foretaste.serving.engine_config import EngineConfig, default_threads
from foretaste.serving.store import model_folder

MAX_BATCH = 16
_WINDOW_S = 0.02  # how long the first ask of a batch waits for company
_EXPECTED_LOAD_S = 12.0


@dataclass(frozen=True)
class _Written:
    """What the model wrote for one ask."""

    text: str
    prompt_tokens: int
    tokens: int
    complete: bool


_Waiting = tuple[Ask[Any], asyncio.Future[_Written]]


class TransformersChat:
    """A causal language model of transformers, in float32 on the CPU. Made by `load`.

    Args:
        model: the loaded model.
        tokenizer: its tokenizer, with a chat template.
        name: for records.
        max_model_len: tokens of prompt and answer together.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, max_model_len: int) -> None:
        import xgrammar

        self._model, self._tokenizer, self._name = model, tokenizer, name
        self._max_model_len = max_model_len
        vocabulary = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=model.config.vocab_size
        )
        self._compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=1)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="transformers-chat")
        self._waiting: list[_Waiting] = []
        self._runner: asyncio.Task[None] | None = None

    @classmethod
    async def load(cls, config: EngineConfig) -> TransformersChat:
        """The model of `config`, loaded in a thread. Sets torch's number of threads.

        Raises:
            ModelError: no such model, refused weights, or no chat template.
        """
        return await asyncio.to_thread(_load, config)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Answer one question, together with those that arrive at the same time.

        Raises:
            ModelError: an adapter was asked for; this engine has none.
            EngineError: no answer within the deadline, or the prompt is too long.
        """
        if ask.adapter is not None:
            raise ModelError(
                f"The transformers engine has no adapters ({ask.adapter!r} was asked for); use vLLM."
            )
        started = time.perf_counter()
        future: asyncio.Future[_Written] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        try:
            written = await asyncio.wait_for(future, ask.deadline_s)
        except TimeoutError as error:
            raise EngineError(
                f"{self._name} gave no answer within {ask.deadline_s:g} s; "
                "allow more time or ask for fewer tokens."
            ) from error
        ms = (time.perf_counter() - started) * 1000
        usage = Usage(prompt=written.prompt_tokens, completion=written.tokens, ms=ms)
        return read_answer(ask.schema, written.text, usage, complete=written.complete)

    async def close(self) -> None:
        """Give up what is waiting and let the model go."""
        if self._runner is not None:
            self._runner.cancel()
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        """Answer batches until nothing waits."""
        while self._waiting:
            await asyncio.sleep(_WINDOW_S)
            self._waiting = [one for one in self._waiting if not one[1].done()]  # given up
            batch = self._next_batch()
            if not batch:
                continue
            asks = [ask for ask, _ in batch]
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._worker, self._answer, asks)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next_batch(self) -> list[_Waiting]:
        """Greedy asks go together; one that samples goes alone, so that its seed means something."""
        if not self._waiting:
            return []
        first = self._waiting[0]
        greedy = [one for one in self._waiting if one[0].temperature == 0]
        batch = greedy[:MAX_BATCH] if first[0].temperature == 0 else [first]
        self._waiting = [one for one in self._waiting if one not in batch]
        return batch

    def _answer(self, asks: Sequence[Ask[Any]]) -> list[_Written | Exception]:
        """One result an ask: what was written, or why nothing could be."""
        prompts = [self._prompt(ask) for ask in asks]
        results: list[_Written | Exception] = []
        fitting = []
        for ask, prompt in zip(asks, prompts, strict=True):
            length = len(prompt) + ask.max_tokens
            results.append(
                EngineError(
                    f"The prompt has {len(prompt)} tokens and {ask.max_tokens} may be written, but "
                    f"{self._name} is set to {self._max_model_len} together; shorten the context."
                )
            )
            if length <= self._max_model_len:
                fitting.append(len(results) - 1)
        if not fitting:
            return results
        try:
            written = self._generate([asks[i] for i in fitting], [prompts[i] for i in fitting])
        except RuntimeError as error:  # torch: out of memory and the like
            failure = EngineError(f"{self._name} failed while it wrote ({str(error)[:300]}).")
            return [failure for _ in asks]
        for index, one in zip(fitting, written, strict=True):
            results[index] = one
        return results

    def _prompt(self, ask: Ask[Any]) -> list[int]:
        turns = [{"role": turn.role, "content": turn.text} for turn in ask.messages]
        encoded = self._tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=True
        )
        tokens: list[int] = encoded["input_ids"]
        return tokens

    def _generate(self, asks: list[Ask[Any]], prompts: list[list[int]]) -> list[_Written]:
        import torch
        from transformers import GenerationConfig
        from xgrammar.contrib.hf import LogitsProcessor

        pad = self._tokenizer.pad_token_id
        if pad is None:
            pad = self._tokenizer.eos_token_id
        width = max(len(prompt) for prompt in prompts)
        tokens = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        temperature = asks[0].temperature
        decoding = GenerationConfig(
            max_new_tokens=max(ask.max_tokens for ask in asks),
            max_time=max(ask.deadline_s for ask in asks),
            do_sample=temperature > 0,
            temperature=temperature if temperature > 0 else None,
            top_k=0 if temperature > 0 else None,
            eos_token_id=self._tokenizer.eos_token_id,
            pad_token_id=pad,
        )
        torch.manual_seed(asks[0].seed)
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=torch.tensor(tokens),  # (asks, width)
                attention_mask=torch.tensor(mask),
                generation_config=decoding,
                logits_processor=[LogitsProcessor([self._grammar(ask.schema) for ask in asks])],
            )
        rows = out[:, width:].tolist()  # (asks, new tokens)
        return [
            self._written(ask, prompt, row)
            for ask, prompt, row in zip(asks, prompts, rows, strict=True)
        ]

    def _written(self, ask: Ask[Any], prompt: list[int], row: list[int]) -> _Written:
        """The tokens up to the end mark, or up to the ask's own limit when a batch mate had more."""
        end = self._tokenizer.eos_token_id
        ended = row.index(end) if end in row else len(row)
        complete = end in row and ended < ask.max_tokens
        kept = row[: min(ended, ask.max_tokens)]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=True)
        return _Written(text, len(prompt), len(kept) + complete, complete)

    def _grammar(self, schema: type[BaseModel]) -> Any:
        """The compiled schema; xgrammar remembers the ones it has seen."""
        return self._compiler.compile_json_schema(
            schema_text(schema), any_whitespace=False, separators=(",", ":")
        )


def _load(config: EngineConfig) -> TransformersChat:
    folder = model_folder(config.model)
    with timed(f"Loading {config.model}", _EXPECTED_LOAD_S):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, logging

        logging.disable_progress_bar()
        torch.set_num_threads(config.threads or default_threads())
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if tokenizer.chat_template is None:
            raise ModelError(
                f"{config.model} has no chat template, so it is no chat model; name an instruct one."
            )
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        model.eval()
        limit = min(config.max_model_len, getattr(model.config, "max_position_embeddings", 2**31))
    return TransformersChat(model, tokenizer, config.model, limit)
