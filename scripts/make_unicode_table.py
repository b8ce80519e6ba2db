#!/usr/bin/env python3
"""Writes src/text/unicode_table.inc: what tokenizers ask about characters, as the `tokenizers` package (PyPI) answers.

The package looks characters up in tables of different ages: its patterns in those of its regular expressions' library (general
categories), BertNormalizer, StripAccents, Punctuation and BertPreTokenizer in far older ones. Tokens are equal only where both
are followed, whatever Unicode library the machine has; so both are asked here, character by character, and written down.

usage: python scripts/make_unicode_table.py        (takes a minute; needs tokenizers)
"""

from pathlib import Path

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

OUT = Path(__file__).resolve().parent.parent / "src" / "text" / "unicode_table.inc"
# utf8proc's numbers of the general categories.
NAMES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co".split()
END = 0x110000
ALL = [c for c in range(1, END) if not 0xD800 <= c < 0xE000]


def categories():
    found = [0] * END
    text = "".join(map(chr, ALL))
    for number, name in enumerate(NAMES):
        if name in ("Cn", "Cs"):
            continue
        kept = pre_tokenizers.Split(Regex(rf"\p{{{name}}}+"), "removed", invert=True)
        for piece, _ in kept.pre_tokenize_str(text):
            for c in piece:
                found[ord(c)] = number
    found[0] = NAMES.index("Cc")
    found[0xD800:0xE000] = [NAMES.index("Cs")] * 0x800
    return found


def dropped(**which):
    """Characters that a BertNormalizer which does one thing only takes away."""
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    normalizer = normalizers.BertNormalizer(**(off | which))
    return {c for c in ALL if normalizer.normalize_str(chr(c)) == ""}


def normalized():
    """Characters that a normal form takes apart or moves: for others, those assigned since among them, it does nothing."""
    form, order, below = normalizers.NFKD(), normalizers.NFD(), chr(0x345)  # of the highest class
    return {
        c
        for c in ALL
        if form.normalize_str(chr(c)) != chr(c) or order.normalize_str(f"a{below}{chr(c)}") == f"a{chr(c)}{below}"
    } | {0x345}


def main():
    punctuation = pre_tokenizers.Punctuation()
    accents = normalizers.StripAccents()
    old = [
        {c for c in ALL if len(punctuation.pre_tokenize_str(f"a{chr(c)}a")) == 3},
        {c for c in ALL if accents.normalize_str(chr(c)) == ""},
        dropped(strip_accents=True),
        dropped(clean_text=True),
        normalized(),
    ]
    values = [k | sum((c in s) << 5 + i for i, s in enumerate(old)) for c, k in enumerate(categories())]
    runs = [(c, v) for c, v in enumerate(values) if c == 0 or v != values[c - 1]]
    numbers = [f"0x{c << 10 | v:X}," for c, v in runs]
    lines, line = [], ""
    for n in numbers:
        if len(line) + len(n) > 118:
            lines.append(line)
            line = ""
        line += n
    OUT.write_text(
        f"// Written by scripts/make_unicode_table.py from tokenizers {tokenizers.__version__}; don't edit. A run of characters each:\n"
        "// its first one in bits 10-30; general category (utf8proc's numbers) in bits 0-4; and, as older tables have it: punctuation\n"
        "// in bit 5, a mark in bit 6, a mark that BERT strips in bit 7, what BERT cleans away in bit 8, what a normal form takes apart\n"
        "// or moves in bit 9.\n"
        + "\n".join([*lines, line]) + "\n"
    )
    print(f"wrote {OUT.name}: {len(runs)} runs")


if __name__ == "__main__":
    main()
