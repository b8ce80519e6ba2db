#!/usr/bin/env bash
# The main job on a real model: generate text, then look inside the layers. usage: demo.sh MC (MC_MODELS: the models)
set -euo pipefail
mc="$1"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
model="$MC_MODELS/smollm2.gguf"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

# Shows a command as one would type it, then runs it.
run() {
  printf '\n$ mc'
  printf ' %q' "$@"
  printf '\n'
  "$mc" "$@"
}

run model info "$model"
run infer --model "$model" --prompt "The capital of France is Paris. The capital of Italy is" --max-tokens 40
run probe capture --model "$model" --data "$root/examples/prompts.jsonl" --layers 0,6,12,18,24 --batch-size 4 --pool last --out "$out/states"
printf '\nThe first lines of its manifest:\n'
head -n 14 "$out/states/manifest.json"
