"""llama.cpp's side of the comparison: one process, one measurement, one line of JSON.

peer_llama_cpp.py speed MODEL THREADS PROMPT_TOKENS GEN_TOKENS     tokens/s of prefill and decode after a warm-up, as `mc bench` does
peer_llama_cpp.py logprobs MODEL                                   reads lists of ids as JSON from stdin, prints their log-probabilities
peer_llama_cpp.py info                                             version and the instruction sets that it was built for
"""

from __future__ import annotations

import json
import resource
import sys
import time

import llama_cpp
import numpy as np


def open_model(path, threads, context, **options):
    start = time.perf_counter()
    model = llama_cpp.Llama(
        path, n_ctx=context, n_threads=threads, n_threads_batch=threads, n_batch=512, n_ubatch=512, verbose=False, **options
    )
    return model, (time.perf_counter() - start) * 1e3


def speed(path, threads, prompt_tokens, gen_tokens):
    model, load_ms = open_model(path, threads, prompt_tokens + 64)
    prompt = [(i * 7919) % 40000 + 100 for i in range(prompt_tokens)]
    start = time.perf_counter()
    model.eval(prompt)  # the first run touches pages and builds the graph; the second one counts
    first = time.perf_counter() - start
    model.reset()
    start = time.perf_counter()
    model.eval(prompt)
    prefill = prompt_tokens / (time.perf_counter() - start)
    model.reset()
    model.eval(prompt[:32])
    start = time.perf_counter()
    for token in prompt[:gen_tokens]:
        model.eval([token])
    decode = gen_tokens / (time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "prefill": {"tokens_per_s": prefill, "first_run_s": first},
        "decode": {"tokens_per_s": decode},
        "load_ms": load_ms,
        "peak_rss_bytes": peak,
    }


def logprobs(path):
    sequences = json.load(sys.stdin)
    model, _ = open_model(path, 2, max(map(len, sequences)) + 8, logits_all=True)
    result = []
    for ids in sequences:
        model.reset()
        model.eval(ids)
        logits = np.asarray(model.scores[: len(ids) - 1], dtype=np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        result.append(logits[np.arange(len(ids) - 1), ids[1:]].tolist())
    return result


def main():
    command, *rest = sys.argv[1:]
    if command == "speed":
        answer = speed(rest[0], int(rest[1]), int(rest[2]), int(rest[3]))
    elif command == "logprobs":
        answer = logprobs(rest[0])
    else:
        answer = {"version": llama_cpp.__version__, "system": llama_cpp.llama_print_system_info().decode()}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
