"""Small tokenizers of the families that people bring, made with the `tokenizers` package, and texts of many scripts."""

from __future__ import annotations

import functools
import random
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "tokenizers"
BLOCKS = [
    (0x20, 0x7E), (0xA0, 0x17F), (0x180, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x58F), (0x591, 0x5F4),
    (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE01, 0xE5B), (0xF00, 0xFDA), (0x1000, 0x109F),
    (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20BF), (0x2100, 0x218B), (0x2460, 0x24FF),
    (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE70, 0xFEFC), (0xFF00, 0xFFEF),
    (0x10400, 0x1049D), (0x1D400, 0x1D7FF), (0x1F130, 0x1F1FF), (0x1F300, 0x1F6FF), (0x20000, 0x2A6DF), (0x0, 0x1F),
]  # fmt: skip
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@functools.cache
def phrases():
    data, out = (GOLDEN / "phrases.bin").read_bytes(), []
    while data:
        size, _, data = data.partition(b"\n")
        out.append(data[: int(size)].decode("utf-8", "ignore"))
        data = data[int(size) + 1 :]
    return [p for p in out if p]


def text_of(characters, seed):
    """Sentences of many languages, code, numbers, and words of random characters of one script each."""
    r, out, size = random.Random(seed), [], 0
    while size < characters:
        kind = r.random()
        if kind < 0.4:
            piece = r.choice(phrases())
        elif kind < 0.9:
            low, high = r.choice(BLOCKS)
            piece = "".join(chr(r.randint(low, high)) for _ in range(r.randint(1, 9)))
        else:
            piece = str(r.randint(0, 10**9))
        out.append(piece + r.choice([" ", " ", "", "  ", "\n", " \t", "\u3000"]))
        size += len(out[-1])
    return "".join(out)


@functools.cache
def training_text():
    return [text_of(1500, seed) for seed in range(1000, 1060)]


def field_of(message, wanted):
    """The last field of that number in a protobuf message; it holds bytes."""
    at, found = 0, b""

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            varint()
            continue
        size = {1: 8, 5: 4}[kind] if kind != 2 else varint()
        if number == wanted and kind == 2:
            found = message[at : at + size]
        at += size
    return found


@functools.cache
def charsmap():
    """A table of SentencePiece's: its own NFKC with lower case is 300 KB; these rules are of its kinds."""
    rules = {"Ａ": "A", "①": "1", "ﬁ": "fi", "㌔": "キロ", "e\u0301": "\u00e9", "…": "...", "　": " ", "ß": "ss", "\u200b": "", "½": "1/2"}
    with tempfile.TemporaryDirectory() as folder:
        lines = ["\t".join(" ".join(f"{ord(c):X}" for c in side) for side in rule) for rule in rules.items()]
        Path(folder, "rules.tsv").write_text("\n".join(lines) + "\n")
        Path(folder, "text").write_text("\n".join(p.replace("\n", " ") for p in phrases()))
        sentencepiece.SentencePieceTrainer.train(
            input=f"{folder}/text", model_prefix=f"{folder}/m", vocab_size=1200, normalization_rule_tsv=f"{folder}/rules.tsv",
            hard_vocab_limit=False, minloglevel=2, character_coverage=0.99,
        )  # fmt: skip
        model = Path(folder, "m.model").read_bytes()
    return field_of(field_of(model, 3), 2)  # ModelProto.normalizer_spec.precompiled_charsmap


def bpe_trainer(**more):
    return trainers.BpeTrainer(vocab_size=1500, show_progress=False, **more)


def byte_level(**model):
    t = Tokenizer(models.BPE(**model))
    t.decoder = decoders.ByteLevel()
    return t


def gpt2():
    t = byte_level()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    t.train_from_iterator(training_text(), bpe_trainer(
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]))  # fmt: skip
    return t


def split_first(pattern, normalizer=None, **model):
    t = byte_level(**model)
    t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.train_from_iterator(training_text(), bpe_trainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens(["<|begin|>", "<|end|>"])
    t.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A <|end|>", special_tokens=[(s, t.token_to_id(s)) for s in ("<|begin|>", "<|end|>")]
    )
    return t


def sentencepiece_bpe(normalizer, pre_tokenizer, decoder, **model):
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>", **model))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre_tokenizer, decoder
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    words = [w for x in training_text() for w in x.replace(" ", " \u2581").split(" ")]
    t.train_from_iterator(words, bpe_trainer(limit_alphabet=500, special_tokens=specials))
    return t


def llama2():
    first = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return sentencepiece_bpe(first, None, decoders.Sequence(parts))


def gemma():
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    t = sentencepiece_bpe(
        normalizers.Replace(" ", "\u2581"), pre_tokenizers.Split(" ", "merged_with_previous"), decoders.Sequence(parts)
    )
    t.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("<b>", normalized=False)])
    return t


def unigram(normalizer, pre_tokenizer, size=3000):
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre_tokenizer, decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=size, show_progress=False, special_tokens=["<unk>", "</s>"], unk_token="<unk>")
    t.train_from_iterator(training_text(), trainer)
    return t


def t5():
    t = unigram(
        normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), 9000,
    )  # fmt: skip
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", t.token_to_id("</s>"))])
    return t


def albert():
    first = [normalizers.Nmt(), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]
    return unigram(normalizers.Sequence(first), pre_tokenizers.Metaspace(prepend_scheme="first"), 9000)


def bert(**normalizer):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer, t.decoder = (
        normalizers.BertNormalizer(**normalizer), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(),
    )  # fmt: skip
    trainer = trainers.WordPieceTrainer(vocab_size=4000, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]"])
    t.train_from_iterator(training_text(), trainer)
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return t


def starcoder():
    t = byte_level()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.train_from_iterator(training_text(), bpe_trainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_tokens([AddedToken("fox", single_word=True), AddedToken("the", lstrip=True, rstrip=True), AddedToken("É", normalized=True)])
    return t


def words_apart():
    """The pre-tokenizers that the other families leave out."""
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(False),
         pre_tokenizers.CharDelimiterSplit("x"), pre_tokenizers.Split("q", "merged_with_next")]
    )  # fmt: skip
    t.decoder = decoders.BPEDecoder()
    t.train_from_iterator(training_text(), bpe_trainer(end_of_word_suffix="</w>", special_tokens=["<unk>"], limit_alphabet=700))
    return t


FAMILIES = {
    "gpt2": gpt2,
    "llama3": lambda: split_first(LLAMA3, ignore_merges=True),
    "qwen-nfc": lambda: split_first(LLAMA3.replace("{1,3}", ""), normalizers.NFC()),
    "o200k": lambda: split_first(O200K),
    "llama2": llama2,
    "gemma": gemma,
    "t5": t5,
    "albert": albert,
    "bert-uncased": bert,
    "bert-cased": lambda: bert(lowercase=False, handle_chinese_chars=False),
    "starcoder": starcoder,
    "words-apart": words_apart,
}


def byte_offsets(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [(at[a], at[b]) for a, b in offsets]


def assigned(text):
    return "".join(c for c in text if unicodedata.category(c) != "Cs")
