"""What PyTorch reaches on a GPU for the shapes of scripts/random_model.py: one JSON line a shape.

usage: peer_torch.py [smollm2-135m] [llama-1b] [llama-8b]      (none: all; needs torch and transformers)

Transformers' Llama with random bfloat16 weights, batch 1, context 512: decoding through torch.compile (reduce-overhead)
over a static cache, prefill of 512 with the last position's logits only, the better of eager and compiled. The first
line has the machine's copy rate and a chain of five pointwise operations on 64 Mi floats.
"""
import json
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache

SHAPES = {
    "smollm2-135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                         num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True),
    "llama-1b": dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
                     num_key_value_heads=8, vocab_size=128256, tie_word_embeddings=True, head_dim=64),
    "llama-8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                     num_key_value_heads=8, vocab_size=128256, tie_word_embeddings=False),
}
CONTEXT, TOKENS = 512, 128


def seconds(f, runs=10, warm=3):
    for _ in range(warm):
        f()
    times = []
    for _ in range(runs):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        f()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def machine():
    a = torch.randn(1 << 28, device="cuda")
    b = torch.empty_like(a)
    copy = 2 * a.numel() * 4 / seconds(lambda: b.copy_(a)) / 1e12
    z = a[:1 << 26]
    chain = torch.compile(lambda x: torch.maximum((2 * x + 1) * x - 0.5, torch.zeros_like(x)))
    rate = 2 * z.numel() * 4 / seconds(lambda: chain(z)) / 1e12
    return {"torch": torch.__version__, "device": torch.cuda.get_device_name(), "copy_TB_s": copy, "chain_TB_s": rate}


@torch.no_grad()
def measure(shape):
    config = LlamaConfig(max_position_embeddings=8192, rope_theta=500000.0, **SHAPES[shape])
    config._attn_implementation = "sdpa"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    ids = torch.randint(0, config.vocab_size, (1, CONTEXT), device="cuda")
    out = {"shape": shape}

    def prefill(m):
        return CONTEXT / seconds(lambda: m(ids, use_cache=False, logits_to_keep=1), 7, 3)

    out["prefill_eager"] = prefill(model)
    cache = StaticCache(config=config, max_batch_size=1, max_cache_len=1024)
    model(ids, past_key_values=cache, cache_position=torch.arange(CONTEXT, device="cuda"))
    step = torch.compile(lambda t, p: model(t, past_key_values=cache, cache_position=p).logits[:, -1].argmax(-1, keepdim=True),
                         mode="reduce-overhead", fullgraph=True)
    rates = []
    for run in range(4):
        token, at = ids[:, :1].clone(), torch.tensor([CONTEXT], device="cuda")
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(TOKENS):
            token = step(token, at).clone()
            at = at + 1
        torch.cuda.synchronize()
        if run:
            rates.append(TOKENS / (time.perf_counter() - begin))
    out["decode"] = sorted(rates)[1]
    try:
        out["prefill_compiled"] = prefill(torch.compile(model))
    except Exception as error:  # the peer's own limits are reported, not hidden
        out["prefill_compiled_error"] = str(error)[:200]
    return out


def main() -> int:
    if set(sys.argv[1:]) - set(SHAPES):
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_float32_matmul_precision("high")
    print(json.dumps(machine()), flush=True)
    for shape in sys.argv[1:] or SHAPES:
        print(json.dumps(measure(shape)), flush=True)
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
