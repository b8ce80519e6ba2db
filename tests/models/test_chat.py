"""Chat templates give jinja2's bytes; conversations are encoded as they say, keep their cache, and end where they should."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

from chat_cases import CHATML, CONTEXT, CONVERSATIONS, NOW, SMALL, TEMPLATES, cases, environment, expected
from conftest import error_of, listen_to_ctrl_c, model_path

ROUNDS = 6000 if os.environ.get("MC_TEST_FULL") == "1" else 600


def rendered(mc, tmp_path, pairs):
    """What mc makes of (template, context) pairs: texts, or errors."""
    file = tmp_path / "cases.json"
    file.write_text(json.dumps([{"template": t, "context": c} for t, c in pairs]))
    told = mc("chat-render", "--cases", file, "--now", NOW, "--output", "json").json()
    return told["results"]


def differs(told, template, context):
    text, _ = expected(template, context)
    return text != told.get("text") if text is not None else "error" not in told


def test_templates_give_the_bytes_of_jinja2(mc, tmp_path):
    known = list(cases())
    assert sum(expected(t, c)[0] is not None for _, t, c in known) >= 120
    results = rendered(mc, tmp_path, [(t, c) for _, t, c in known])
    wrong = [(name, told, expected(t, c)) for (name, t, c), told in zip(known, results, strict=True) if differs(told, t, c)]
    assert not wrong, wrong[:3]


def mutated(r):
    """A template that somebody got wrong, or another one that works."""
    source = r.choice([*SMALL, *TEMPLATES.values()])
    for _ in range(r.randint(1, 2)):
        at, kind = r.randrange(len(source)), r.random()
        if kind < 0.3:
            source = source[:at] + source[at + r.randint(1, 4) :]
        elif kind < 0.6:
            source = source[:at] + r.choice(["-", "+", "{{ x }}", "\n", " ", "{% if t %}", "{% endif %}", "|list", "[0]", "not ", "'"]) + source[at:]
        else:
            other = r.choice(SMALL)
            begin = r.randrange(len(other) + 1)
            source = source[:at] + other[begin : begin + r.randint(1, 40)] + source[at:]
    return source


def test_changed_templates_do_what_jinja2_does(mc, tmp_path):
    """Where jinja2 gives a text, so do we, and the same; where it refuses, so do we."""
    r = random.Random(3)
    context = CONTEXT | CONVERSATIONS["turns"] | {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
    pairs = [(mutated(r), context) for _ in range(ROUNDS)]
    results = rendered(mc, tmp_path, pairs)
    wrong = [(t, told, expected(t, c)) for (t, c), told in zip(pairs, results, strict=True) if differs(told, t, c) and not excused(t, told, *expected(t, c))]
    assert len(wrong) == 0, wrong[:3]


def excused(template, told, text, why):
    """What we say we do not do (docs/chat.md)."""
    error = told.get("error", "")
    return "not supported" in error or "no filter named" in error or "no test named" in error
