"""What is done to texts after they were taken out: `run(text, random)`."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Callable

SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u034f]")


@dataclass
class Cleaner:
    """`base`: the tool whose text it is given. `seals`: the share that must be left whole, `white`: whether white space must be
    read, `spellings` and `alternatives`: the shares of these that must be; `None`: no promise. `words`: how many words are
    enough for white space."""

    name: str
    run: Callable
    base: str = "BeautifulSoup `get_text()`"
    seals: float | None = None
    white: bool | None = None
    words: int = 150
    spellings: float | None = None
    alternatives: float | None = None


def paragraphs(text):
    """Parts that a blank line or a full stop at the end of a line sets apart."""
    parts = re.split("\n[ \t]*\n|(?<=[.!?\u2026\u201d\"\u00bb\u3002\ufe06-\ufe0d])\n", text)
    return [part.strip("\n") for part in parts if part.strip()]


def long_paragraphs(text, words=12):
    return [part for part in paragraphs(text) if len(part.split()) >= words]


def without(categories, also=None):
    def run(text, _):
        text = "".join(c for c in text if c in "\n\t" or not unicodedata.category(c).startswith(categories))
        return also.sub("", text) if also else text

    return run


def straighten(text, _):
    table = {"‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "…": "...", "–": "-", "—": "-", "«": '"', "»": '"'}
    return text.translate(str.maketrans(table))


def ftfy_default(text, _):
    import ftfy

    return ftfy.fix_text(text)


def ftfy_fineweb(text, _):
    """As the FTFY formatter of datatrove sets it."""
    import ftfy

    return ftfy.fix_text(
        text, unescape_html="auto", fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False, fix_line_breaks=False, normalization=None
    )


def unidecode(text, _):
    import unidecode

    return unidecode.unidecode(text)


def moses(text, _):
    import sacremoses

    normal = sacremoses.MosesPunctNormalizer()
    return "\n\n".join(normal.normalize(part) for part in paragraphs(text))


def smartypants(text, _):
    import smartypants

    return smartypants.smartypants(text, smartypants.Attr.set1 | smartypants.Attr.u)


def bert(text, _):
    """BasicTokenizer: control characters go, white space becomes a space, marks of NFD are stripped, lower case."""
    text = "".join(" " if c.isspace() else c for c in text if c in "\t\n\r" or not unicodedata.category(c).startswith("C"))
    text = unicodedata.normalize("NFD", text.lower())
    return " ".join("".join(c for c in text if unicodedata.category(c) != "Mn").split())


def collapse(text, _=None):
    return re.sub(r"\s+", " ", text)


def c4(ends):
    """The line rules of C4: three words or more, nothing of Javascript; `ends`: and a mark that ends a sentence."""

    def run(text, _):
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if len(line.split()) >= 3 and "javascript" not in line.lower()]
        if ends:
            lines = [line for line in lines if line.endswith((".", "?", "!", '"', "”")) and not line.endswith("...")]
        return "\n".join(lines)

    return run


def chain(*steps):
    def run(text, random):
        for step in steps:
            text = step(text, random)
        return text

    return run


def replace_words(text, random):
    """Every twentieth word is another one."""
    words = re.split(r"(\s+)", text)
    for at in range(0, len(words), 2):
        if words[at] and random.random() < 0.05:
            words[at] = "another"
    return "".join(words)


def shuffled(text, random):
    parts = paragraphs(text)
    random.shuffle(parts)
    return "\n\n".join(parts)


def one_paragraph(words):
    """The neighbouring paragraphs that have so many words together."""

    def run(text, random):
        parts = long_paragraphs(text)
        begin, end = random.randrange(max(1, len(parts) // 2)), 0
        while sum(len(p.split()) for p in parts[begin:end]) < words and end <= len(parts):
            end = max(end, begin) + 1
        return "\n".join(parts[begin:end])

    return run


READABILITY = "readability-lxml, text"
TRAFILATURA = "trafilatura, text"
CLEANERS = [
    Cleaner("NFC", lambda t, _: unicodedata.normalize("NFC", t), seals=0.99, white=True, spellings=0.97, alternatives=0.9),
    Cleaner("NFKC", lambda t, _: unicodedata.normalize("NFKC", t), seals=0.99, white=True),
    Cleaner("NFKC, lower case", lambda t, _: unicodedata.normalize("NFKC", t).lower(), READABILITY, seals=0.99, white=True),
    Cleaner("white space collapsed", collapse, seals=0.99, white=False),
    Cleaner("format characters stripped (Cf)", without(("Cf",)), seals=0.99, white=True, spellings=0.97, alternatives=0.9),
    Cleaner("Cf and variation selectors stripped", without(("Cf",), SELECTOR), seals=0, white=True),
    Cleaner("ftfy", ftfy_default, seals=0.99, white=True, spellings=0, alternatives=0.9),
    Cleaner("ftfy as for FineWeb", ftfy_fineweb, seals=0.99, white=True, spellings=0.97, alternatives=0.9),
    Cleaner("quotes and dashes straightened", straighten, seals=0.99, white=True, spellings=0, alternatives=0.9),
    Cleaner("smartypants", smartypants, seals=0.99, white=True, spellings=0, alternatives=0.9),
    Cleaner("sacremoses punctuation", moses, seals=0.99, spellings=0, alternatives=0.9),
    Cleaner("cleaning of BERT", bert, seals=0, white=False),
    Cleaner("Unidecode", unidecode, READABILITY, seals=0, white=True, spellings=0),
    Cleaner("what is not ASCII dropped", lambda t, _: t.encode("ascii", "ignore").decode(), seals=0, spellings=0),
    Cleaner("there and back through cp1252", lambda t, _: t.encode("cp1252", "replace").decode("cp1252"), seals=0),
    Cleaner("marks and controls stripped (M, C), collapsed", chain(without(("M", "C")), collapse), seals=0, white=False),
    Cleaner("Unidecode, collapsed", chain(unidecode, collapse), seals=0, white=False, spellings=0),
    Cleaner("trafilatura, ftfy, FineWeb's line rules", chain(ftfy_fineweb, c4(False)), TRAFILATURA, seals=0.99, white=False),
    Cleaner("trafilatura, C4's line rules", c4(True), TRAFILATURA, white=False),
    Cleaner("one word in twenty replaced", replace_words, READABILITY, seals=0.9, white=True),
    Cleaner("paragraphs shuffled", shuffled, READABILITY, seals=0.99, white=True, spellings=0.97, alternatives=0.9),
    Cleaner("paragraphs of 130 words kept", one_paragraph(130), READABILITY, seals=0.9, white=True, words=130),
    Cleaner("a paragraph of 40 words kept", one_paragraph(40), READABILITY, seals=0.9),
]
