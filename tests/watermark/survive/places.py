"""Places of a page that were chosen for one visitor, and what `deckle trace` still reads of them in a copy."""

import html
import re

import rig

# Spellings and alternatives: the channels by the names that `deckle trace` gives them.
CHOSEN = ("typographic", "variants")
BLOCKS = ["p", "li", "blockquote", "dd"]
# `deckle trace` compares nothing below 25 words, and believes a kind of spelling only where it sees both: here it does.
FILLER = (
    "We don't and they don’t know a \"good one\" from a “better one” here... or there… and so the old road—and the new road – went on,"
    " over the hill and down again, to where nobody had asked for it"
)


def end_of(block):
    """Its last letters."""
    return rig.SELECTORS.sub("", rig.letters(block.get_text()))[-40:]


def bare_letters(text):
    """Letters and seals of a copy, without what stands in its tags and behind the brackets of pandoc's Markdown."""
    return rig.letters(html.unescape(re.sub(r"<[^<>]*>|(?<=\])\{[^{}]*\}", "", text)))


def with_seal(text, seal, form):
    """So that our mark is named, and `deckle trace` says which places it has read, whatever the tool has left of seals."""
    return f"{text}<p>{seal}</p>" if form == "html" else f"{text}\n\n{seal}\n"


def chosen_places(program, pages, logs, mark):
    """{page: [(last letters of a paragraph, {channel: {column: bit}})]}: what was chosen for our visitor: places at which
    copies of a page differ. What all copies show alike was spelled by its author."""
    from bs4 import BeautifulSoup

    shown = {name: [] for name in pages}
    for other in {mark, *(other for page in pages.values() for other in page.others)}:
        copies = {f"{name}.html": page.marked if other == mark else page.others[other] for name, page in pages.items()}
        for name, document in rig.trace(program, copies, logs, mark=other).items():
            shown[name.removesuffix(".html")].insert(0 if other == mark else 1, document["columns"])
    chosen = {}
    for name, (ours, *others) in shown.items():
        of = lambda channel: {at: bit for at, bit in ours.get(channel, {}).items() if {o.get(channel, {}).get(at) for o in others} | {bit} == {0, 1}}
        chosen[name] = {channel: of(channel) for channel in CHOSEN}
    blocks, seal = {}, rig.RUN.search(next(iter(pages.values())).marked)[0]
    for name, page in pages.items():
        found = BeautifulSoup(page.marked, "html.parser").find_all(BLOCKS) if any(chosen[name].values()) else []
        for number, block in enumerate(block for block in found if not block.find(BLOCKS)):
            blocks[f"{name}/{number}.html"] = end_of(block), f"<p>{FILLER}</p>{with_seal(str(block), seal, 'html')}"
    blocks["filler.html"] = "", f"<p>{FILLER}</p>{with_seal('', seal, 'html')}"
    documents = rig.trace(program, {key: text for key, (_, text) in blocks.items()}, logs, mark=mark)
    filler = documents.pop("filler.html")["columns"]
    out = {name: [] for name in pages}
    for key, document in documents.items():
        name = key.split("/")[0]
        own = lambda channel: {at: bit for at, bit in document["columns"].get(channel, {}).items() if at not in filler.get(channel, {})}
        found = {channel: {at: bit for at, bit in own(channel).items() if chosen[name][channel].get(at) == bit} for channel in CHOSEN}
        if any(found.values()):
            out[name].append((blocks[key][0], found))
    return out


def places_left(paragraphs, document, text):
    """{channel: (places of the paragraphs that the tool kept, those that are read as they were written)}."""
    plain = rig.SELECTORS.sub("", bare_letters(text))
    kept = [found for end, found in paragraphs if end in plain]
    out = {}
    for channel in CHOSEN:
        places = {at: bit for found in kept for at, bit in found[channel].items()}
        read = document["columns"].get(channel, {})
        out[channel] = len(places), sum(read.get(at) == bit for at, bit in places.items())
    return out


def by_white_space(document, mark):
    """The chance that any mark searched fits the white space of a copy so well by accident; 1 where that says nothing."""
    evidence = [one for match in document["matches"] if match["mark"] == mark for one in match["evidence"]]
    chances = [one["p"] for one in evidence if one["channel"] == "whitespace"]
    return min(1, *(p * document["candidates"] * document["tests"] for p in chances)) if chances else 1
