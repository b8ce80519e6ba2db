#!/usr/bin/env bash
# The main job on a real model: generate text, then look inside the layers. usage: demo.sh MC (MC_MODELS: the models)
set -euo pipefail
mc="$1"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
model="$MC_MODELS/smollm2.gguf"
out="$root/build/demo"
rm -rf "$out"
mkdir -p "$out"

# Shows a command as one would type it, then runs it.
run() {
  local word
  printf '\n$ mc'
  for word in "$@"; do
    case "$word" in
      *[!A-Za-z0-9_./,:=-]*) printf ' "%s"' "$word" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  printf '\n'
  "$mc" "$@"
}

run model info "$model"
run infer --model "$model" --prompt "Photosynthesis is the process by which" --max-tokens 48
run probe capture --model "$model" --data "$root/examples/prompts.jsonl" --layers 0,6,12,18,24 --batch-size 4 --pool last --out "$out/states"
printf '\nWhat was written to %s:\n' "$out/states"
ls -l "$out/states"
