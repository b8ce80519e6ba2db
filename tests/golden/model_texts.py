"""The texts of the whole-model goldens, written for this project."""

PROSE = (
    "The ferry left the harbour before dawn, and by the time the sun was up the islands were only a grey line on the water. "
    "Nobody on deck spoke; they were all thinking about the winter that was coming."
)

CODE = '''def merge(left, right):
    """Merges two sorted lists."""
    result = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            result.append(left[i])
            i += 1
        else:
            result.append(right[j])
            j += 1
    return result + left[i:] + right[j:]


for (int k = 0; k < 10; ++k) {\n\t\tstd::printf("%d\\t%5.2f\\n", k, 0.1 * k);\n\t}
'''

SCRIPTS = (
    "Кошка спит на окне, а за окном идёт снег. 今天天气很好，我们去公园散步。 東京は日本の首都です。"
    " القاهرة مدينة كبيرة. हिन्दी एक भाषा है। Ελληνικά, Việt Nam, Zürich 🙂🚀 — fin."
)

PLAIN_MARKERS = "The marker <|im_end|> and <eos> are   plain text\u00a0here.\n\n\nIt's 1234567 o'clock, they'll say: <b>ok</b>\r\n"

CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    "<|im_start|>assistant\nThe capital of France is Paris.<|im_end|>\n"
)

STORY = (
    "When Marta took over the lighthouse at Varn Point, the keeper before her left three things on the kitchen table: a ring of "
    "seven keys, a tin of blue paint, and a notebook in which he had written down the weather of every single day for "
    "thirty-one years. She used six of the keys within the first week. They opened the tower, the store, the boat shed, the oil "
    "cellar, the gate, and a small iron box that held nothing except a photograph of a dog. The seventh key fitted no lock that "
    "she could find.\n\n"
    "The work was simple and it never ended. The lamp had to be cleaned in the morning, when the glass was cool, and the brass "
    "polished against the salt. The clockwork that turned the lens needed winding every four hours, so she learned to sleep in "
    "pieces, like a cat. In the afternoons, if the wind allowed it, she rowed out to the outer rocks and counted the seals. On "
    "Sundays she walked nine kilometres along the cliffs to the village, bought bread, cheese and candles, listened to the news "
    "on the radio in the bakery, and walked back before dark.\n\n"
    "At first she did not read the notebook. It seemed to belong to somebody else, in the way that a coat on a hook belongs to "
    "somebody else. But in November the storms came, one after another, and there were days when she could not open the door "
    "because the wind leaned on it. So she sat beside the stove and read about the weather of other years."
)

STORY_CONTINUED = (
    " The old keeper had been an exact man. He wrote the hour, the direction of the wind, the height of the barometer, and then, "
    "almost always, a single word: clear, or fog, or rain. But on the fourth of every month there was something more. On those "
    "days he had added a number in the margin, and the numbers grew slowly smaller. The first was 412. A year later it was 388. "
    "By the last page of the notebook it had come down to 9.\n\n"
    "Marta thought about the numbers for a long time. They were too large to be degrees and too small to be ships. She measured "
    "the rooms of the lighthouse, in feet and in metres, and counted the steps of the tower, of which there were 143. She asked "
    "the baker, who laughed, and the priest, who did not. \"He used to walk out on the point when the tide was low,\" said the "
    "priest. \"Every month, on the fourth. He said that the sea was coming to fetch something, and that he wanted to know when.\"\n\n"
    "On the fourth of December the tide went out further than she had ever seen it. She put on her boots and walked along the "
    "wet sand with the notebook under her arm, counting her steps from the door: one hundred, two hundred, three hundred. There, "
    "between two black rocks, stood the top of an old stone wall, and in the wall was a low door, green with weed. It had a lock "
    "of brass that shone as if somebody had polished it that very morning. Marta felt in her pocket for the ring of keys. She "
    "tried the first six, out of habit, although she knew very well what they opened. Then she took the seventh"
)

CONTINUATIONS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived",
    "import numpy as np\n\ndef softmax(x):\n",
]

CAPTURE_PROMPT = "Birds fly south when winter comes."

SCORED = {
    "one_token": "Hello",
    "prose": PROSE,
    "code": CODE,
    "scripts": SCRIPTS,
    "plain_markers": PLAIN_MARKERS,
    "story": STORY,
}
