"""Small tokenizers of every family that tokenizer.json files come in, and what the `tokenizers` package makes of text.

    python make_tokenizers.py              writes tokenizers/json/*.json, tokenizers/texts.json and tokenizers/json.txt
    python make_tokenizers.py charsmap     writes tokenizers/nmt_nfkc.bin.xz and tokenizers/few.bin (sentencepiece, protobuf)

tokenizers 0.23.3, sentencepiece 0.2.3. Training is not the same from run to run (ties go by a hash), so that the files
change when they are written anew; what is compared does not depend on it. json.txt has for each tokenizer one line for
each of three things, `ids`, `offsets` (in characters, begin and end by turns) and `text` (what decoding gives), with one
hash for each text of texts.json: the low half of phrases.fnv of the numbers, or of the characters' code points.
"""
import collections
import io
import json
import lzma
import os
import random
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers"))
import phrases
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders as D
from tokenizers import models as M
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P
from tokenizers import processors as PP
from tokenizers import trainers as T

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "tokenizers", "json")
ANSWERS = os.path.join(HERE, "tokenizers", "json.txt")

# How published models cut words.
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| "
            r"?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
CLIP = (r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")


def texts():
    """Those of phrases.bin that have assigned characters only, and some for added tokens and for templates."""
    p = phrases.phrases()
    more = ["<sp> a<mask>b  <mask>  c wordword word WORD Word", "x <mask>\n\n<mask>", "a\u00a0<mask>\u3000b", "word,word.word",
            "[MASK][CLS] [SEP] <s></s> Café<mask>Cafe\u0301", "", " ", "\n", "a", "é", "e\u0301", "ǆ ﬃ e\u0301\u0323", "\u0130stanbul",
            "가각힣 \u1100\u1161\u11a8", "a\u0328\u0301 \u1e69 s\u0323\u0307 s\u0307\u0323", "ﷺ㎏①", "\r\n\r\n", "ab\u200bcd\ufeff",
            "\u0344\u0340\u0958\u2126\u212b", "Σας ΟΔΟΣ Ǆ İI ŉ ẞ"]
    return [t.decode() for t in p[:p.index(b"")]] + more


def everything(size, seed=11):
    """Text of `size` bytes in many scripts, in pieces of about 4 KB: phrases, and stretches of assigned characters."""
    import unicodedata
    r = random.Random(seed)
    blocks = []
    for low, high in phrases.BLOCKS:
        assigned = [chr(c) for c in range(low, high + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
        if assigned:
            blocks.append(assigned)
    written = texts()
    out, total = [], 0
    while total < size:
        piece = []
        while sum(map(len, piece)) < 2200:
            if r.random() < 0.5:
                piece.append(r.choice(written))
            else:
                b = r.choice(blocks)
                start = r.randrange(len(b))  # neighbours in a script, or anything of it
                near = b[start:start + 40] if r.random() < 0.5 else b
                piece.append("".join(r.choice(near) for _ in range(r.randint(1, 12))))
            piece.append(r.choice([" ", " ", "", "\n", "  ", "\t", str(r.randint(0, 10**6))]))
        out.append("".join(piece))
        total += len(out[-1].encode())
    return out


def charsmap(name):
    with open(os.path.join(HERE, "tokenizers", name), "rb") as f:
        data = f.read()
    return lzma.decompress(data) if name.endswith(".xz") else data


ALPHABET = P.ByteLevel.alphabet()


def bpe(size, **kw):
    return T.BpeTrainer(vocab_size=size, show_progress=False, **kw)


def gpt2(size, full):
    t = Tokenizer(M.BPE())
    t.pre_tokenizer = P.ByteLevel(add_prefix_space=False)
    t.decoder = D.ByteLevel()
    t.post_processor = PP.ByteLevel(trim_offsets=True)
    return t, bpe(size, initial_alphabet=ALPHABET, special_tokens=["<|endoftext|>"])


def roberta(size, full):
    t = Tokenizer(M.BPE())
    t.pre_tokenizer = P.ByteLevel(add_prefix_space=True)
    t.decoder = D.ByteLevel()
    return t, bpe(size, initial_alphabet=ALPHABET, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])


def roberta_after(t):
    t.post_processor = PP.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True)
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])


def llama3(size, full):
    t = Tokenizer(M.BPE(ignore_merges=True))
    t.pre_tokenizer = P.Sequence([P.Split(Regex(LLAMA3), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = D.ByteLevel()
    return t, bpe(size, initial_alphabet=ALPHABET)


def llama3_after(t):
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>"])
    t.post_processor = PP.Sequence([PP.ByteLevel(trim_offsets=False), PP.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
        special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])


def qwen2(size, full):
    t = Tokenizer(M.BPE())
    t.normalizer = N.NFC()
    t.pre_tokenizer = P.Sequence([P.Split(Regex(QWEN2), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = D.ByteLevel()
    t.post_processor = PP.ByteLevel(trim_offsets=False)
    return t, bpe(size, initial_alphabet=ALPHABET)


def o200k(size, full):
    t = Tokenizer(M.BPE())
    t.pre_tokenizer = P.Sequence([P.Split(Regex(O200K), "removed", invert=True), P.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = D.ByteLevel()
    t.post_processor = PP.ByteLevel(trim_offsets=True, add_prefix_space=False)
    return t, bpe(size, initial_alphabet=ALPHABET)


def deepseek(size, full):
    t = Tokenizer(M.BPE())
    t.normalizer = N.Sequence([])
    t.pre_tokenizer = P.Sequence([P.Split(Regex(r), "isolated") for r in DEEPSEEK] + [P.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = D.ByteLevel()
    return t, bpe(size, initial_alphabet=ALPHABET)


def starcoder(size, full):
    t = Tokenizer(M.BPE())
    t.pre_tokenizer = P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)])
    t.decoder = D.ByteLevel()
    return t, bpe(size, initial_alphabet=ALPHABET)


def starcoder_after(t):
    t.add_tokens([AddedToken("word", single_word=True, normalized=False), AddedToken("<mask>", lstrip=True, rstrip=True),
                  AddedToken("Café", normalized=True), AddedToken("  ", normalized=False), AddedToken("the", rstrip=True)])
    t.add_special_tokens([AddedToken("<sp>", special=True, rstrip=True)])


BYTES = [f"<0x{i:02X}>" for i in range(256)]


def llama2(size, full):
    t = Tokenizer(M.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    t.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    return t, bpe(size, limit_alphabet=size // 4, special_tokens=["<unk>", "<s>", "</s>"] + BYTES)


def llama2_after(t):
    t.post_processor = PP.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])


def llama2_new(size, full):  # legacy=False
    t = Tokenizer(M.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.pre_tokenizer = P.Metaspace(prepend_scheme="first", split=False)
    t.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    return t, bpe(size, limit_alphabet=size // 4, special_tokens=["<unk>", "<s>", "</s>"] + BYTES)


def gemma(size, full):
    t = Tokenizer(M.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = N.Replace(" ", "▁")
    t.pre_tokenizer = P.Split(" ", "merged_with_previous")
    t.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()])
    return t, bpe(size, limit_alphabet=size // 4, special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"] + BYTES)


def gemma_after(t):
    t.add_tokens([AddedToken(x, normalized=False) for x in ("\n\n", "▁▁", "<mask>")])
    t.post_processor = PP.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)])


def unigram(size, **kw):
    return T.UnigramTrainer(vocab_size=size, show_progress=False, unk_token="<unk>", **kw)


def t5(size, full):
    t = Tokenizer(M.Unigram())
    t.normalizer = N.Sequence([N.Precompiled(charsmap("nmt_nfkc.bin.xz" if full else "few.bin")), N.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = P.Metaspace()
    t.decoder = D.Metaspace()
    return t, unigram(size, special_tokens=["<pad>", "</s>", "<unk>"])


def t5_after(t):
    t.post_processor = PP.TemplateProcessing(single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 1)])


def xlmr(size, full):
    t = Tokenizer(M.Unigram())
    t.normalizer = N.Precompiled(charsmap("nmt_nfkc.bin.xz" if full else "few.bin"))
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Metaspace()])
    t.decoder = D.Metaspace()
    return t, unigram(size, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])


def xlmr_after(t):
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    t.post_processor = PP.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
                                             special_tokens=[("<s>", 0), ("</s>", 2)])


def albert(size, full):
    t = Tokenizer(M.Unigram())
    t.normalizer = N.Sequence([N.Replace("``", '"'), N.Replace("''", '"'), N.NFKD(), N.StripAccents(), N.Lowercase(), N.Nmt(),
                               N.Replace(Regex(" {2,}"), " "), N.Strip()])
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="always")])
    t.decoder = D.Metaspace()
    return t, unigram(size, special_tokens=["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])


def albert_after(t):
    t.post_processor = PP.TemplateProcessing(single="[CLS] $0 [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                             special_tokens=[("[CLS]", 2), ("[SEP]", 3)])


BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def bert(lower):
    def build(size, full):
        t = Tokenizer(M.WordPiece(unk_token="[UNK]"))
        t.normalizer = N.BertNormalizer(lowercase=lower)
        t.pre_tokenizer = P.BertPreTokenizer()
        t.decoder = D.WordPiece()
        return t, T.WordPieceTrainer(vocab_size=size, limit_alphabet=size // 2, show_progress=False, special_tokens=BERT)
    return build


def bert_after(t):
    t.post_processor = PP.BertProcessing(("[SEP]", 3), ("[CLS]", 2))


def bert_template(t):
    t.post_processor = PP.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                             special_tokens=[("[CLS]", 2), ("[SEP]", 3)])


def clip(size, full):
    t = Tokenizer(M.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    t.normalizer = N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()])
    t.pre_tokenizer = P.Sequence([P.Split(Regex(CLIP), "removed", invert=True), P.ByteLevel(add_prefix_space=False)])
    t.decoder = D.BPEDecoder(suffix="</w>")
    return t, bpe(size, initial_alphabet=ALPHABET, end_of_word_suffix="</w>", special_tokens=["<|startoftext|>", "<|endoftext|>"])


def parts(size, full):  # the pre-tokenizers that no family above has
    t = Tokenizer(M.BPE(unk_token="<unk>", continuing_subword_prefix="@@"))
    t.normalizer = N.Sequence([N.NFKC(), N.Replace("e", "E")])
    t.pre_tokenizer = P.Sequence([P.CharDelimiterSplit("|"), P.Whitespace(), P.Digits(individual_digits=False),
                                  P.Punctuation("contiguous"), P.Split("E", "merged_with_next")])
    t.decoder = D.WordPiece(prefix="@@", cleanup=False)
    return t, bpe(size, limit_alphabet=size // 2, continuing_subword_prefix="@@", special_tokens=["<unk>"])


def nfd(size, full):
    t = Tokenizer(M.WordPiece(unk_token="[UNK]"))
    t.normalizer = N.Sequence([N.NFD(), N.Lowercase()])
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_previous")])
    t.decoder = D.WordPiece(cleanup=False)
    return t, T.WordPieceTrainer(vocab_size=size, limit_alphabet=size // 2, show_progress=False, special_tokens=BERT)


def word_level(size, full):
    t = Tokenizer(M.WordLevel(unk_token="<unk>"))
    t.normalizer = N.Lowercase()
    t.pre_tokenizer = P.Whitespace()
    return t, T.WordLevelTrainer(vocab_size=size, show_progress=False, special_tokens=["<unk>"])


def word_level_after(t):  # as GLM and Whisper: several tokens on a side
    t.add_special_tokens(["[gMASK]", "<sop>", "<eop>"])
    t.post_processor = PP.TemplateProcessing(
        single="[gMASK] <sop> $A <eop> [gMASK] <eop>",
        special_tokens=[(x, t.token_to_id(x)) for x in ("[gMASK]", "<sop>", "<eop>")],
    )


FAMILIES = {"gpt2": gpt2, "roberta": roberta, "llama3": llama3, "qwen2": qwen2, "o200k": o200k, "deepseek": deepseek,
            "starcoder": starcoder, "llama2": llama2, "llama2-new": llama2_new, "gemma": gemma, "t5": t5, "xlmr": xlmr,
            "albert": albert, "bert": bert(True), "bert-cased": bert(False), "clip": clip, "parts": parts, "nfd": nfd,
            "word-level": word_level}
AFTER = {"roberta": roberta_after, "llama3": llama3_after, "starcoder": starcoder_after, "llama2": llama2_after,
         "llama2-new": llama2_after, "gemma": gemma_after, "t5": t5_after, "xlmr": xlmr_after, "albert": albert_after,
         "bert": bert_after, "word-level": word_level_after, "bert-cased": bert_template}


def build(name, lines, size, full=False):
    """A trained tokenizer: `full` takes sentencepiece's whole table of characters, else the one of few.bin."""
    t, trainer = FAMILIES[name](size, full)
    if isinstance(trainer, T.UnigramTrainer):  # it keeps every character that it has seen
        count = collections.Counter("".join(lines))
        kept = {c for c, _ in count.most_common(size // 4)}
        lines = ["".join(c for c in x if c in kept) for x in lines]
    t.train_from_iterator(lines, trainer)
    j = json.loads(t.to_str())  # tokens of bytes are no added tokens: the trainer knows no other way to put them there
    j["added_tokens"] = [a for a in j["added_tokens"] if a["content"] not in BYTES]
    t = Tokenizer.from_str(json.dumps(j))
    if name in AFTER:
        AFTER[name](t)
    return t


def write():
    os.makedirs(FOLDER, exist_ok=True)
    lines = [p for p in phrases.corpus(120_000, True).decode().split("\n") if p]
    with open(os.path.join(HERE, "tokenizers", "texts.json"), "w") as f:
        json.dump(texts(), f, indent=0)
        f.write("\n")
    with open(ANSWERS, "w") as out:
        for name in FAMILIES:
            t = build(name, lines, {"t5": 700, "xlmr": 700, "albert": 700}.get(name, 560))
            path = os.path.join(FOLDER, name + ".json")
            with open(path, "w", encoding="utf8") as f:
                json.dump(json.loads(t.to_str()), f, ensure_ascii=False, separators=(",", ":"))
                f.write("\n")
            t = Tokenizer.from_file(path)
            got = [t.encode(x) for x in texts()]
            rows = {"ids": [e.ids for e in got], "offsets": [[n for o in e.offsets for n in o] for e in got],
                    "text": [[ord(c) for c in t.decode(e.ids)] for e in got]}
            print("tokenizer", name, file=out)
            for k, v in rows.items():
                print(k, len(v), *[f"{phrases.fnv(x) % 2**32:x}" for x in v], file=out)


def make_charsmaps():
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    lines = [x for x in phrases.corpus(200_000, True).decode().replace("\0", "").split("\n") if x.strip()]

    def trained(**kw):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=2500,
                                                 hard_vocab_limit=False, character_coverage=0.98, minloglevel=3, **kw)
        proto = pb.ModelProto()
        proto.ParseFromString(model.getvalue())
        return proto.normalizer_spec.precompiled_charsmap

    with open(os.path.join(HERE, "tokenizers", "nmt_nfkc.bin.xz"), "wb") as f:
        f.write(lzma.compress(trained(normalization_rule_name="nmt_nfkc"), preset=9 | lzma.PRESET_EXTREME))
    rules = {"\u00a0": " ", "\u3000": " ", "\t": " ", "\n": " ", "\r": " ", "\u200b": " ", "\ufeff": "", "ﬁ": "fi", "ﬃ": "ffi", "㎏": "kg",
             "ﷺ": "صلى الله عليه وسلم", "①": "1", "½": "1⁄2", "e\u0301": "é", "a\u0308": "ä", "n\u0303": "ñ", "\r\n": " ", "…": "...",
             "\u0301": "'", "ｶﾞ": "ガ", "℃": "°C", "\u0001": "", "가": "ga", "²": "2", "👍": "+1"}
    rules |= {chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
        for a, b in rules.items():
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        f.flush()
        with open(os.path.join(HERE, "tokenizers", "few.bin"), "wb") as out:
            out.write(trained(normalization_rule_tsv=f.name))


if __name__ == "__main__":
    if sys.argv[1:] == ["charsmap"]:
        make_charsmaps()
    else:
        write()
