"""How a model or an index is reached.

chat.py           the seam to language models: `Ask` in, `Answer` out
engine.py         the one door: `open_chat(EngineConfig())`
  vllm_server.py  vLLM as a child process (vllm_main.py runs inside it, child.py ties its life)
  replicas.py     several of them behind one client
  openai_chat.py  that server, or any OpenAI-compatible endpoint
  transformers_chat.py  in this process, batched
  scripted_chat.py      for tests
chat_json.py      pydantic classes to JSON schemas, and answers back to objects
store.py          names to folders with safe weights (bundled.py, convert_gguf.py)
embedder.py       texts to unit vectors, with a cache on disk (vector_cache.py) or, for
                  what requests bring, in memory (recent_vectors.py)
index/            unit vectors to nearest items
rules/            untrained recommenders
"""
