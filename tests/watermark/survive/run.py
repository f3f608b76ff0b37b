#!/usr/bin/env python3
"""What is left of the marks after the tools of the field: pages go through `deckle proxy`, then through each tool and each
cleaner, and `deckle trace` reads what comes out, among 100,000 marks of others. Ends with 0 only if what is promised holds.

    run.py DECKLE [--quick] [--corpus DIR] [--markdown FILE] [--record DIR]

A tool that is not there is a printed skip. With --quick: few pages, no browser. --markdown writes the tables, between
their markers if the file has them. --record writes copies of own pages for `tests/it/survive.rs`.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import cleaners
import places
import rig
import tools

MARKS = 100_000
OWN = Path(__file__).resolve().parent.parent / "pages"
# Own pages beside those of the demo, and pages of the corpus.
LANGUAGES = {"fa": "fa", "hi": "hi", "fr-ja": "fr", "variants": "en"}
CORPUS = {"wapo-1": "en", "seattletimes-1": "en", "heise": "de", "lemonde-1": "fr", "salon-1": "en", "theverge": "en"}
# Of the demo, with --quick and for the tools that are slow.
FEW = 3
RECORDED = ["what-the-storm-taught-us", "die-linie-zwei-faehrt-wieder", "le-phare-et-ses-gardiens", "fa", "hi", "fr-ja"]
# Gaps between words of these languages are many enough in every article.
SPACED = ("en", "de", "fr")
# And where at least so many of the gaps in the copy were marked, and so many at all, white space alone must name the visitor.
MARKED, GAPS = 0.25, 62
# Of a row, so many places may lie in a column that something else on the page has a say in.
ACCIDENTS = 1
# Readers of another network each, whose copies show which places of a page differ from one to the next.
WITNESSES = [f"127.0.{number}.1" for number in range(1, 9)]

# Of the cleaners these are recorded.
RECORDED_CLEANERS = ["NFKC, lower case", "white space collapsed", "ftfy", "Unidecode", "marks and controls stripped (M, C), collapsed",
                     "one word in twenty replaced", "paragraphs shuffled", "paragraphs of 130 words kept", "a paragraph of 40 words kept"]


# --- pages ------------------------------------------------------------------------------------------------------------
@dataclass
class Sample:
    """A page as one visitor got it, as it is without marks, and as others got it, by their marks; `white`: gaps between words
    that were marked."""

    marked: str
    unmarked: str
    lang: str
    own: bool
    white: int = 0
    others: dict = field(default_factory=dict)


def take_pages(program, corpus, quick):
    """Every page as one visitor got it: ({name: Sample}, mark, servers)."""
    files = {name: (OWN / f"{name}.html", lang, True) for name, lang in LANGUAGES.items()}
    if corpus and not quick:
        files |= {name: (corpus / f"{name}.html", lang, False) for name, lang in CORPUS.items()}
    sources = {f"/{name}/page": path.read_bytes() for name, (path, _, _) in files.items()}
    upstream = rig.Pages(sources)
    site, level, hydrated = rig.start(program, upstream=upstream.url)
    demo, _, _ = rig.start(program)
    plain = rig.Deckle(program, '[watermark]\nlevel = "off"\n')
    print(f"level {level}; pages of frameworks {'marked' if hydrated else 'not marked by this build'}")
    pages, bodies = {}, {}
    for name, (_, lang, own) in files.items():
        if name == "variants" and level != "variants" or name == "theverge" and not hydrated:
            continue
        for _ in range(2):  # The first one teaches deckle what pages of this kind hold.
            status, body = site.get(f"/{name}/page")
            assert status == 200, (name, status)
        pages[name] = Sample(body.decode("utf-8", "replace"), sources[f"/{name}/page"].decode("utf-8", "replace"), lang, own)
        bodies[name] = [site.get(f"/{name}/page", source=address)[1] for address in WITNESSES]
    articles = json.loads(demo.get("/api/articles.json")[1])["articles"]
    for article in articles[: FEW if quick else None]:
        for _ in range(2):
            status, body = demo.get(article["path"])
            assert status == 200, (article["path"], status)
        unmarked, name = plain.get(article["path"])[1], article["path"].rsplit("/", 1)[-1]
        pages[name] = Sample(body.decode(), unmarked.decode(), article["lang"], True)
        bodies[name] = [demo.get(article["path"], source=address)[1] for address in WITNESSES]
    plain.stop()
    marks = defaultdict(set)
    for hit in site.stop() + demo.stop():
        if "deckle.mark.id" in hit:
            marks[hit["client.address"]].add(hit["deckle.mark.id"])
            name = hit["url.path"].removesuffix("/page").rsplit("/", 1)[-1]
            counts = dict(carrier.split(":") for carrier in hit["deckle.mark.carriers"])
            if name in pages:
                pages[name].white = int(counts.get("w", 0))
    upstream.stop()
    one_mark = lambda address: next(iter(marks[str(ip_network(f"{address}/24", strict=False))]))
    assert all(len(of) == 1 for of in marks.values()), f"one visitor of one day has one mark, not {marks}"
    for name, page in pages.items():
        page.others = {one_mark(address): body.decode("utf-8", "replace") for address, body in zip(WITNESSES, bodies[name])}
    for name in [name for name, page in pages.items() if not rig.RUN.search(page.marked)]:
        print(f"skipped: {name} went out without a seal")
        pages.pop(name)
    return pages, one_mark("127.0.0.1"), [site, demo]


# --- what is left -----------------------------------------------------------------------------------------------------
def sealed_ends(page):
    """The last letters of each sealed paragraph."""
    from bs4 import BeautifulSoup

    ends = []
    for span in BeautifulSoup(page, "html.parser").find_all("span", inert=True):
        block = span.find_parent(places.BLOCKS)
        if block and rig.RUN.fullmatch(span.get_text()):
            ends.append(places.end_of(block))
    return ends


def seals_left(ends, text):
    """(sealed paragraphs whose end is in the text, those whose whole seal stands behind it)."""
    with_seals = places.bare_letters(text)
    plain = rig.SELECTORS.sub("", with_seals)
    ascii_plain = plain.encode("ascii", "ignore").decode()
    kept = whole = 0
    for end in ends:
        bare = end.encode("ascii", "ignore").decode()
        if end in plain or (len(bare) >= 20 and bare in ascii_plain):
            kept += 1
            whole += bool(re.search(re.escape(end) + "[\ufe06-\ufe0d]{25}", with_seals))
    return kept, whole


def extract(job):
    tool, page = job
    started = time.monotonic()
    try:
        text = tools.TOOLS[tool].run(page)
    except Exception as error:  # A tool that fails on a page has taken nothing.
        print(f"{tools.TOOLS[tool].name} on {page.name}: {type(error).__name__}: {str(error)[:200]}")
        text = ""
    return tool, page.name, text, time.monotonic() - started


def bare(text):
    """Neither seals nor white space: what is left for spellings."""
    return "\n\n".join(" ".join(part.split()) for part in cleaners.paragraphs(rig.SELECTORS.sub("", text)))


READINGS = {"whole": lambda text: text, "unsealed": lambda text: rig.SELECTORS.sub("", text), "bare": bare}


class Row:
    """What is left behind one tool or cleaner."""

    def __init__(self, promise):
        self.pages = self.kept = self.whole = self.traced = self.white = self.chosen = 0
        self.read, self.places, self.promise = defaultdict(int), defaultdict(int), promise

    def cells(self):
        share = lambda part, of: f"{100 * part // of} %" if of else "–"
        of = lambda channel: f"{share(self.read[channel], self.places[channel])} of {self.places[channel]}" if self.places[channel] else "–"
        channels = [of(channel) for channel in places.CHOSEN]
        chosen = f"{self.chosen} of {self.pages}" if any(self.places.values()) else "–"
        return [share(self.whole, self.kept), f"{self.traced} of {self.pages}", f"{self.white} of {self.pages}", *channels, chosen]


def right(document, mark):
    """Does it name our mark, and no other?"""
    return rig.accused(document) == [mark]


def judge(rows, documents, shown, copies, pages, ends, left, mark):
    """Fills a row for each tool and cleaner; gives the faults."""
    faults, kept_words = [], {}
    for (row_name, page, promise), text in copies.items():
        if not text.strip():
            continue  # Nothing was taken.
        document = {reading: documents[f"{row_name}/{page}/{reading}{promise.suffix}"] for reading in READINGS}
        where = f"{row_name}, {page}"
        for reading, found in document.items():
            others = [other for other in rig.accused(found) if other != mark]
            if others:
                faults.append(f"{where}: names {others} ({reading})")
        row = rows[row_name]
        kept, whole = seals_left(ends[page], text)
        row.pages += 1
        row.kept += kept
        row.whole += whole
        row.traced += right(document["whole"], mark)
        white = places.by_white_space(shown[row_name, page], mark)
        row.white += white <= rig.LIMIT
        row.chosen += right(document["bare"], mark)
        for channel, (there, read) in left[row_name, page].items():
            row.places[channel] += there
            row.read[channel] += read
        words = document["whole"]["words"]
        if promise.seals and kept and not right(document["whole"], mark):
            faults.append(f"{where}: {kept} sealed paragraphs, and the verdict is {document['whole']['verdict']} {document['whole']['notes']}")
        enough = pages[page].lang in SPACED and words >= promise.words
        if promise.white is True and enough and white > rig.LIMIT:
            said = f"{where}: white space alone gives {white:.1e}, {words} words {document['unsealed']['notes']}"
            # Most of what the tool took is no article, and drowns it; or there is little in it, as between many alternatives.
            of_page = documents[f"page as it came/{page}/whole.html"]["words"]
            marked = pages[page].white * min(1, words / of_page)
            thin = marked < max(MARKED * words, GAPS)
            print(f"thin: {said}, of which some {marked:.0f} gaps were marked") if thin else faults.append(said)
        if promise.white is False and white <= rig.DOUBT:
            faults.append(f"{where}: white space should be gone, and gives {white:.1e}")
    for row_name, row in rows.items():
        promise = row.promise
        if promise.seals and row.whole < promise.seals * row.kept:
            faults.append(f"{row_name}: {row.whole} of {row.kept} seals are whole")
        if promise.seals == 0 and row.whole:
            faults.append(f"{row_name}: {row.whole} seals are left, and none should be")
        for channel, share in zip(places.CHOSEN, (promise.spellings, promise.alternatives)):
            read, there = row.read[channel], row.places[channel]
            if share and read + ACCIDENTS < share * there:
                faults.append(f"{row_name}: {read} of {there} places are read of channel {channel}")
            if share == 0 and read:
                faults.append(f"{row_name}: {read} places are read of channel {channel}, and none should be")
    return faults


class Promise:
    """What must be left, and the ending of the copies' names."""

    def __init__(self, of, form="txt", words=150):
        self.seals, self.white, self.spellings, self.alternatives = of.seals, of.white, of.spellings, of.alternatives
        self.suffix, self.words = f".{form}", words


# --- the run ----------------------------------------------------------------------------------------------------------
def take_copies(pages, present, quick):
    """{(row, page, promise): text} of all tools and cleaners."""
    saved = rig.Pages({f"/{name}.html": page.marked.encode() for name, page in pages.items()})
    made = {name: tools.Page(name, page.marked, page.lang, f"{saved.url}/{name}.html") for name, page in pages.items()}
    few = [name for name in pages if name in (*RECORDED, "variants")]
    jobs = [(at, made[name]) for at, tool in enumerate(tools.TOOLS) if at in present for name in (few if tool.slow else pages)]
    copies, spent, texts = {}, defaultdict(float), {}
    with ProcessPoolExecutor(2) as pool:
        for at, name, text, seconds in pool.map(extract, jobs, chunksize=2):
            tool = tools.TOOLS[at]
            copies[tool.name, name, Promise(tool, tool.form)] = text
            texts[tool.name, name] = text
            spent[tool.name] += seconds
    saved.stop()
    for cleaner in cleaners.CLEANERS:
        for name in pages:
            if (text := texts.get((cleaner.base, name))) is None:
                continue
            started = time.monotonic()
            try:
                cleaned = cleaner.run(text, random.Random(f"{cleaner.name} {name}"))
            except ImportError as error:
                print(f"skipped: {cleaner.name}: {error}")
                break
            promise = Promise(cleaner, words=cleaner.words)
            copies[f"{cleaner.name} ·", name, promise] = cleaned
            spent[cleaner.name] += time.monotonic() - started
    print("seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in sorted(spent.items(), key=lambda s: -s[1])[:8]))
    return copies


def innocents(pages):
    """Copies in which nobody's mark is."""
    from bs4 import BeautifulSoup

    copies = {}
    for name, page in pages.items():
        text = BeautifulSoup(page.unmarked, "html.parser").get_text()
        copies[f"{name}/html.html"] = page.unmarked
        copies[f"{name}/text.txt"] = text
        copies[f"{name}/feeds.txt"] = re.sub(r"(?<=\w) (?=\w)", "\n", text)
        turn = iter(range(10**9))
        copies[f"{name}/alternating.txt"] = re.sub(r"(?<=\w) (?=\w)", lambda _: "\n" if next(turn) % 2 else " ", text)
    return copies


def joint(program, copies, logs, pages):
    """What the spellings of all English articles say together, where this build can tell."""
    if "--joint" not in subprocess.run([program, "trace", "--help"], capture_output=True, text=True).stdout:
        return None
    texts = {f"{page}.txt": bare(text) for (row, page, _), text in copies.items() if row == "BeautifulSoup `get_text()`" and (pages[page].lang, pages[page].own) == ("en", True)}
    return len(texts), next(iter(rig.trace(program, texts, logs, jobs=1, more=["--joint"]).values()))


def table(rows, names, head):
    lines = [f"| {head} | seals whole | traced | by white space alone | T slots right | V slots right | by T and V alone |", "|---|---|---|---|---|---|---|"]
    for name in names:
        if name in rows:
            lines.append("| " + " | ".join([name.removesuffix(" ·"), *rows[name].cells()]) + " |")
    return "\n".join(lines)


def markdown(rows, versions, pages, level, together):
    own = sum(page.own for page in pages.values())
    rest = len(pages) - own
    text = [
        f"Level `{level}`, `channels.whitespace = \"always\"`; {own} own pages" + (f" and {rest} pages of news sites" if rest else "")
        + f"; among {MARKS + 1:,} marks. \"Seals whole\" is of the sealed paragraphs that the tool kept, \"right\" of the places in paragraphs that it kept which were"
        " chosen for the visitor. \"–\": there was none to count.",
        "", table(rows, [t.name for t in tools.TOOLS], "tool"), "",
        "On the text of BeautifulSoup, or of readability-lxml or trafilatura where it says so:", "",
        table(rows, [f"{c.name} ·" for c in cleaners.CLEANERS], "then"), "",
        *([f"By T and V alone, {together[0]} English articles of one visit together: {together[1]['verdict']}.", ""] if together else []),
        "Versions: " + ", ".join(sorted({f"{tool.needs.removesuffix('-program')} {version}" for tool, version in versions if tool.needs})) + ".",
    ]
    return "\n".join(text) + "\n"


def record(directory, copies, documents, mark, pages):
    """One file a page: what each tool made of it, and what was read in it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in [name for name in RECORDED if name in pages]:
        seen, out = set(), []
        for (row, page, promise), text in copies.items():
            if page != name or text in seen or row.endswith(" ·") and row.removesuffix(" ·") not in RECORDED_CLEANERS:
                continue
            seen.add(text)
            document = documents[f"{row}/{page}/whole{promise.suffix}"]
            unsealed = documents[f"{row}/{page}/unsealed{promise.suffix}"]
            out.append({
                "row": row.removesuffix(" ·"), "form": promise.suffix[1:], "verdict": document["verdict"],
                "unsealed": unsealed["verdict"], "text": text,
            })
        head = {"page": name, "mark": mark, "secret": rig.SECRET}
        (directory / f"{name}.json").write_text(json.dumps({**head, "copies": out}, ensure_ascii=False, indent=0) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--markdown")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    program = str(Path(options.program).resolve())
    corpus = options.corpus if options.corpus and options.corpus.is_dir() else None
    if not corpus and not options.quick:
        print(f"skipped: pages of news sites: none at {options.corpus} (set DECKLE_CORPUS)")
    present, versions = set(), []
    for at, tool in enumerate(tools.TOOLS):
        if options.quick and tool.slow:
            continue
        if (version := tools.version(tool)) is None:
            print(f"skipped: {tool.name}: {tool.needs.removesuffix('-program')} is not installed")
            continue
        present.add(at)
        versions.append((tool, version))
    started = time.monotonic()
    pages, mark, servers = take_pages(program, corpus, options.quick)
    ends = {name: sealed_ends(page.marked) for name, page in pages.items()}
    copies = take_copies(pages, present, options.quick)
    print(f"{len(copies)} copies of {len(pages)} pages after {time.monotonic() - started:.0f} s")
    with tempfile.TemporaryDirectory(prefix="deckle-others-") as directory:
        rig.other_marks(Path(directory, "others"), MARKS, random.Random(1))
        logs = [server.log for server in servers] + [Path(directory, "others")]
        read = {f"{row}/{page}/{name}{promise.suffix}": reading(text) for (row, page, promise), text in copies.items() for name, reading in READINGS.items()}
        documents = rig.trace(program, read, logs)
        chosen = places.chosen_places(program, pages, logs, mark)
        seal = rig.RUN.search(next(iter(pages.values())).marked)[0]
        named = {f"{row}/{page}{promise.suffix}": places.with_seal(text, seal, promise.suffix[1:]) for (row, page, promise), text in copies.items()}
        named = rig.trace(program, named, logs, mark=mark)
        shown = {(row, page): named[f"{row}/{page}{promise.suffix}"] for row, page, promise in copies}
        left = {(row, page): places.places_left(chosen[page], shown[row, page], text) for (row, page, _), text in copies.items()}
        nobody = rig.trace(program, innocents(pages), logs)
        together = joint(program, copies, logs, pages)
    print(f"{len(read) + len(nobody)} traces after {time.monotonic() - started:.0f} s")
    rows = {}
    for row, _, promise in copies:
        rows.setdefault(row, Row(promise))
    faults = judge(rows, documents, shown, copies, pages, ends, left, mark)
    faults += [f"{name}: traced, where nobody's mark is: {d['matches']}" for name, d in nobody.items() if d["verdict"] == "traced"]
    if rig.too_many_shortlists(nobody.values()):
        faults.append(f"too many shortlists where nobody's mark is: {[name for name, d in nobody.items() if d['matches']]}")
    level = next(line for line in Path(servers[0].dir.name, "deckle.toml").read_text().splitlines() if line.startswith("level")).split('"')[1]
    text = markdown(rows, versions, pages, level, together)
    print(text)
    if options.markdown:
        rig.between(options.markdown, "matrix", text)
    if options.record:
        record(options.record, copies, documents, mark, pages)
    for fault in faults:
        print(f"FAULT  {fault}")
    shortlists = sum(d["verdict"] == "inconclusive" for d in nobody.values())
    print(f"{len(nobody)} copies with nobody's mark, {shortlists} of them inconclusive, {len(faults)} faults, {time.monotonic() - started:.0f} s")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
