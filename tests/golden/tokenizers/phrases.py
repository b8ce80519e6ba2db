"""The text on which tokenizers are compared: phrases.bin, and what is built from it (the same here and in C++).

phrases.bin holds phrases, each as "<bytes in decimal>\n<bytes>\n". corpus(n) strings phrases together, chosen by a
64-bit linear congruential generator, until n bytes are reached; an empty phrase stands before those with characters that
Unicode 14 has not assigned.
"""
import os
import random
import re
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(HERE, "phrases.bin")

# One phrase a line; \n \t \r \uXXXX and \\ stand for what they say.
WRITTEN = r"""
The quick brown fox jumps over the lazy dog.
I'm sure they'll say it's what we've done; you're right, he'd said, don't!
I'M SURE THEY'LL SAY IT'S WHAT WE'VE DONE; YOU'RE RIGHT, HE'D SAID, DON'T!
“Smart quotes” — and ‘single’ ones… it’s, they’re, we’ll
Über die Brücke läuft Jürgen mit 37 Gänsefüßchen; ÄÖÜ ẞß.
L'élève français a mangé 12,5 crêpes à Noël; ÉCOLE École.
El niño comió piñas en São Paulo. ¿Qué? ¡Sí!
Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy.
Tiếng Việt có rất nhiều dấu thanh điệu.
Быстрая коричневая лиса прыгает через ленивую собаку. Ёлка, 2024 год.
Η γρήγορη καφέ αλεπού πηδά πάνω από το τεμπέλικο σκυλί.
השועל החום המהיר קופץ מעל הכלב העצלן. שָׁלוֹם
الثعلب البني السريع يقفز فوق الكلب الكسول. ١٢٣٤٥ مَرْحَبًا
तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। १२३
দ্রুত বাদামী শিয়াল অলস কুকুরের উপর লাফ দেয়।
வேகமான பழுப்பு நரி சோம்பேறி நாயின் மீது தாவுகிறது.
ไวเหมือนสุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ ๑๒๓
敏捷的棕色狐狸跳过了懒狗。一二三四五，六七八九十！「引號」【括號】
素早い茶色の狐は怠け者の犬を飛び越える。カタカナ、ひらがな、漢字、１２３ＡＢＣ。
빠른 갈색 여우가 게으른 개를 뛰어넘는다. 한국어 텍스트 123.
ამიტომ ქართული ენა. Հայերեն լեզու։ ትግርኛ አማርኛ ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ
ខ្មែរ ລາວ မြန်မာ བོད་ཡིག සිංහල മലയാളം తెలుగు ಕನ್ನಡ ગુજરાતી ਪੰਜਾਬੀ
🙂😀👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵👨🏿‍🚒❤️☃︎✂️©®™
a👍b 👍 c👩‍🚀d  🇫🇷🇫🇷  1️⃣2️⃣
é vs e\u0301, n\u0303, a\u0308\u0323, Z\u0351\u036b\u0343a\u0363\u0326l\u034bg\u0316o\u031b
x² + y³ = z⁴; ½ ¾ ⅓ Ⅷ ⅻ ① ② ㊿ ٣ ３ 𝟛 𝒜𝓁𝓅𝒽𝒶 ∑∫√∞≠≤ ×÷±
1 12 123 1234 12345 123456 1234567 12345678 3.14159 1,000,000 0x1F 1e-10 007 192.168.0.1 2024-11-23T01:40:00Z
$5 €10 £20 ¥30 ₹40 50% #tag @user a_b-c~d `code` ^caret |pipe| \\back\\slash /fwd/ <a href="x">b</a> &amp; *** --- === +++ ~~~
snake_case camelCase PascalCase SCREAMING_CASE kebab-case HTTPServer XMLHttpRequest iPhone15Pro eBay McDonald's O'Neill's rock'n'roll
def f(x):\n    if x > 0:\n        return x ** 2\n\telse:\n\t\treturn -x  # comment\n
int main(int argc, char** argv) {\r\n  std::vector<int> v{1, 2, 3};\r\n  for (auto& x : v) x <<= 1;\r\n  return 0;\r\n}\r\n
SELECT * FROM users WHERE id = 42 AND name LIKE '%o''brien%';\n
{"key": [1, 2.5, null, true], "nested": {"a": "b\\n"}}\n
<div class="a b">\n  <p>Text</p>\n</div>\n<br/><table><tr><td>1</td></tr></table>
import numpy as np; x = np.zeros((3,4)); print(f"{x!r:>10}")\n
https://example.com/path?query=1&b=%20c#frag mailto:a.b+c@d-e.org
 leading space
  two leading spaces
   three leading
trailing space 
trailing spaces   
a b  c   d    e     f      g       h        i
a\tb\t\tc\t\t\td \t e\t \tf
line\nline\n\nline\n\n\nline\n\n\n\nline
line\r\nline\r\n\r\nline\rline\n\rline
 \n \n  \n   \n x \n\n y
\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n
\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t
                                                                                                    
a\u00a0b\u2003c\u2009d\u200be\u202ff\u205fg\u3000h\u1680i\u0085j\u2028k\u2029l\ufeffm
\u0000\u0001\u0002\u0007\u0008\u000b\u000c\u000e\u001b[0m\u001c\u001f\u007f\u0080\u0099\u009f
'''' ''s 's 'S 't 'll' 've've 're're're 'd'm 'LL 'Ve don''t can'tve
... .... ..... !!! ?!?! ;;; ::: --- ––– ——— ___ *** ### ((())) [[[]]] {{{}}} <<<>>>
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
abababababababababababababababababababababababababababababababababababababababababab
aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbcccccccccccccccccccc12121212121212121212121212121
supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis
Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft
▁▁ ▁a ▁ a▁b >▁</ > </ <s> </s> <unk> <pad> <bos> <eos> <mask> <0x0A> <0xE2> [multimodal] <unused0> <unused99>
<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<|endoftext|><repo_name><file_sep><reponame>
<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n<start_of_image><end_of_image><h1></h1><code></code>
<|im_end <|im_start|><|im_end|>|> < |im_end|> <|im_|im_end|>end|> <|eot_id|> <|begin_of_text|> [INST] [/INST] <EOT>
ﬁ ﬂ ﬀ ſs ẛ K Å Ω ℵ ℃ ™ ㎏ ㍿ ﷺ
"""

# Where characters are drawn from at random.
BLOCKS = [
    (0x00, 0x7F), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F),
    (0x530, 0x5FF), (0x600, 0x77F), (0x780, 0x8FF), (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x13FF), (0x1400, 0x1AFF),
    (0x1B00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x21FF), (0x2200, 0x2BFF), (0x2C00, 0x2FFF), (0x3000, 0x30FF),
    (0x3100, 0x33FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF),
    (0xF900, 0xFFFF), (0x10000, 0x107FF), (0x10800, 0x10FFF), (0x11000, 0x12FFF), (0x13000, 0x16FFF), (0x17000, 0x1BFFF),
    (0x1C000, 0x1D3FF), (0x1D400, 0x1DFFF), (0x1E000, 0x1EFFF), (0x1F000, 0x1F5FF), (0x1F600, 0x1FAFF), (0x20000, 0x3FFFF),
    (0xE0000, 0xE01FF), (0xF0000, 0x10FFFF)]
MIXED = list(" \n\t\r.,'-_/0123456789aAzZeEsStT") + [" ", "  ", "\n\n", "é", "ñ", "я", "Я", "の", "漢", "한", "ك", "ा", "👍", "\u0301", "\u200d", "\u00a0", "\u3000", "▁"]


def unescape(m):
    e = m.group(1)
    return chr(int(e[1:], 16)) if e[0] == "u" else {"n": "\n", "t": "\t", "r": "\r"}.get(e, e)


def make():
    rng = random.Random(20240607)
    out = []
    for line in WRITTEN.strip("\n").split("\n"):
        out.append(re.sub(r"\\(u[0-9a-f]{4}|.)", unescape, line))
    for low, high in BLOCKS:
        for _ in range(3):
            assigned = [chr(c) for c in range(low, high + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
            out.append("".join(rng.choice(assigned) for _ in range(rng.randint(3, 24))))
    for _ in range(250):
        out.append("".join(rng.choice(MIXED) for _ in range(rng.randint(1, 16))))
    for _ in range(40):
        out.append("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(8, 60))))
    for _ in range(20):
        out.append("".join(rng.choice("0123456789") for _ in range(rng.randint(1, 20))))
    # Last, phrases with characters that Unicode has not assigned, or not when the tables here and there were made.
    out.append("")
    for low, high in BLOCKS:
        out.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(3, 24))))
    with open(PATH, "wb") as f:
        for p in out:
            b = p.encode("utf-8")
            f.write(b"%d\n" % len(b) + b + b"\n")


def phrases():
    with open(PATH, "rb") as f:
        data = f.read()
    out, at = [], 0
    while at < len(data):
        end = data.index(b"\n", at)
        n = int(data[at:end])
        out.append(data[end + 1:end + 1 + n])
        at = end + 2 + n
    return out


def corpus(n, assigned_only=False, seed=1):
    p = phrases()
    if assigned_only:
        p = p[:p.index(b"")]
    x, out, size = seed, [], 0
    joints = [b"", b" ", b"\n", b"  ", b""]
    while size < n:
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        piece = p[(x >> 33) % len(p)] + joints[(x >> 20) % 5]
        out.append(piece)
        size += len(piece)
    return b"".join(out)


def fnv(ids):
    """FNV-1a over the ids as little-endian 32-bit numbers."""
    h = 0xcbf29ce484222325
    for i in ids:
        for b in int(i).to_bytes(4, "little"):
            h = (h ^ b) * 0x100000001b3 % 2**64
    return h


if __name__ == "__main__":
    make()
