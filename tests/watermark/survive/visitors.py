#!/usr/bin/env python3
"""Two hundred visitors, five articles each, in both modes: copies through each tool, shuffled, some paragraphs of them, and
texts of nobody among them. Who does `deckle trace` name? Ends with 0 only if it never names the wrong one, names the right
one wherever the tool lets a seal through, and nobody was refused a page.

    visitors.py DECKLE [--quick] [--markdown FILE]

With --quick: forty visitors. --markdown writes the table, between its markers if the file has them.
"""

import argparse
import ipaddress
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import cleaners
import rig
import tools

ARTICLES = 5
INNOCENTS = 20
# Each paragraph that is kept has so many words: a seal needs twelve.
WORDS = 12
SYSTEMS = ["Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64", "Linux; Android 14; K"]
LANGUAGES = ["en", "en-GB,en;q=0.9", "en-US,en;q=0.5", "de-DE,de;q=0.9,en;q=0.7", "fr-FR,fr;q=0.9,en;q=0.6", "nl,en;q=0.8"]


def visitor(number):
    """The address and the headers of a visitor's browser."""
    system, version = SYSTEMS[number % 4], 138 + number // 4 % 8
    chrome = f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    firefox = f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
    headers = {
        "User-Agent": firefox if number % 3 == 0 else chrome,
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        "Accept-Language": LANGUAGES[number % len(LANGUAGES)],
        "Accept-Encoding": "identity",
        "Upgrade-Insecure-Requests": "1",
        "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Sec-Fetch-User": "?1",
    }
    if number % 3:
        headers |= {"Sec-CH-UA": f'"Chromium";v="{version}", "Not)A;Brand";v="8"', "Sec-CH-UA-Mobile": "?0"}
    return f"127.{1 + number % 250}.{1 + number // 250}.7", headers


def read(server, number, articles):
    """Reads the articles as a browser does, each page with its files: ([(path, page)], statuses that were no 200)."""
    address, headers = visitor(number)
    beside = {**headers, "Accept": "*/*", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"}
    del beside["Sec-Fetch-User"], beside["Upgrade-Insecure-Requests"]
    pages, refused, cached = [], Counter(), set()
    for path in articles:
        status, body = server.get(path, headers, address)
        page = body.decode()
        if status != 200:
            refused[status] += 1
            continue
        pages.append((path, page))
        files = {f for f in re.findall(r'(?:src|href)="(/[^"]+)"', page) if re.match(r"/(static|img|\.deckle)/|/favicon", f)}
        for file in sorted(files - cached):
            status, _ = server.get(file, beside, address)
            refused[f"{status} of a file"] += status != 200
        cached |= files
    return pages, +refused


# --- copies -----------------------------------------------------------------------------------------------------------
def pieces(text, form, page):
    """Paragraphs of the article, as the tool left them; not menus and footers."""
    from bs4 import BeautifulSoup

    begins = [rig.letters(p.get_text())[:25] for p in BeautifulSoup(page.html, "html.parser").select(".body p")]
    parts = re.findall(r"<(?:p|blockquote)\b.*?</(?:p|blockquote)>", text, re.S) if form == "html" else cleaners.paragraphs(text)
    of_article = lambda part: any(begin in rig.letters(part) for begin in begins)
    return [part for part in parts if len(part.split()) >= WORDS and of_article(part)]


def excerpt(text, form, page, rng):
    """Some paragraphs in another order, at least one."""
    parts = pieces(text, form, page)
    rng.shuffle(parts)
    parts = parts[: rng.randint(1, max(1, len(parts)))]
    return ("<html><body>" + "\n".join(parts) + "</body></html>") if form == "html" else "\n\n".join(parts)


def leak(job):
    """What one visitor passes on of one article: (key, tool, text, seals in it)."""
    key, at, page = job
    tool = tools.TOOLS[at]
    text = excerpt(tool.run(page), tool.form, page, random.Random(str(key)))
    return key, at, text, len(rig.RUN.findall(text))


def innocents(program, articles):
    """Texts that none of the visitors got: of this site without marks, with marks of another secret, wrapped, and forged."""
    from bs4 import BeautifulSoup

    plain = rig.Deckle(program, '[watermark]\nlevel = "off"\n')
    foreign, _, _ = rig.start(program, secret=rig.ANOTHER_SECRET)
    texts = {}
    for number, path in enumerate(articles):
        text = BeautifulSoup(plain.get(path)[1], "html.parser").get_text()
        for _ in range(2):
            other = foreign.get(path)[1].decode()
        rng = random.Random(number)
        texts |= {
            f"{number}-unmarked.txt": text,
            f"{number}-foreign.html": other,
            f"{number}-wrapped.txt": re.sub(r"(.{60,75}?) ", r"\1\n", text),
            f"{number}-forged.txt": re.sub(r"(?<=\w) (?=\w)", lambda _: rng.choice(" \n"), text),
        }
    plain.stop()
    foreign.stop()
    assert len(texts) == INNOCENTS, len(texts)
    return texts


# --- the run ----------------------------------------------------------------------------------------------------------
def one_mode(program, mode, count, present, table):
    """Fills the table; gives the faults, and the level that was marked at."""
    server, level, _ = rig.start(program, mode=mode)
    listed = server.get("/api/articles.json")[1]
    languages = {a["path"]: a["lang"] for a in json.loads(listed)["articles"] if a["lang"] in ("en", "de", "fr")}
    articles = list(languages)[:ARTICLES]
    server.get(articles[0])  # The first page teaches deckle what pages of this site hold.
    faults = []
    with ThreadPoolExecutor(8) as pool:
        read_by = list(pool.map(lambda number: read(server, number, articles), range(count)))
    hits = server.stop()
    refused = sum((r for _, r in read_by), Counter())
    if refused:
        faults.append(f"{mode}: readers did not get what they asked for: {dict(refused)}")
    # Each visitor has a network of its own: that is how the log tells what was sent to whom.
    sent = {(h["client.address"], h["url.path"]): h["deckle.request.id"] for h in hits if "deckle.mark.id" in h}
    marks = defaultdict(set)
    for hit in hits:
        if "deckle.mark.id" in hit:
            marks[hit["deckle.mark.id"]].add(hit["client.address"])
    jobs = []
    for number, (pages, _) in enumerate(read_by):
        for place, (path, page) in enumerate(pages):
            at = present[(number * ARTICLES + place) % len(present)]
            jobs.append(((number, path), at, tools.Page(f"{number}-{place}", page, languages[path], "")))
    copies, made = {}, {}
    with ProcessPoolExecutor(2) as pool:
        for key, at, text, seals in pool.map(leak, jobs, chunksize=8):
            name = f"{key[0]}{key[1].replace('/', '-')}.{tools.TOOLS[at].form}"
            copies[name], made[name] = text, (key, at, seals)
    others = innocents(program, articles)
    found = rig.trace(program, {**copies, **others}, [server.log])
    for name in others:
        table["texts of nobody"]["copies"] += 1
        table["texts of nobody"][found[name]["verdict"]] += 1
        if found[name]["verdict"] == "traced":
            faults.append(f"{mode}: {name} names {found[name]['matches']}")
    if rig.too_many_shortlists([found[name] for name in others]):
        faults.append(f"{mode}: too many shortlists for texts of nobody: {[n for n in others if found[n]['matches']]}")
    for name, ((number, path), at, seals) in made.items():
        address = str(ipaddress.ip_network(f"{visitor(number)[0]}/24", strict=False))
        row, document = table[tools.TOOLS[at].name], found[name]
        row["copies"] += 1
        wrong = [mark for mark in rig.accused(document) if marks[mark] != {address}]
        if wrong:
            row["wrong"] += 1
            faults.append(f"{mode}: {name} names {wrong}")
        elif document["verdict"] == "traced" and sent[address, path] in document["matches"][0]["request_ids"]:
            row["traced"] += 1
        else:
            row[document["verdict"]] += 1
            if seals:
                faults.append(f"{mode}: {name}: {tools.TOOLS[at].name} left {seals} seals, and the verdict is {document['verdict']} {document['notes']}")
    return faults, level


def markdown(table, count, level):
    lines = [
        f"Level `{level}`; {count} visitors, {ARTICLES} articles each, in modes `observe` and `enforce`; of each copy some paragraphs, at least one, in another order.", "",
        "| copies through | copies | traced to the right response | inconclusive | none | somebody else named |", "|---|---|---|---|---|---|",
    ]
    total = Counter()
    for name, row in table.items():
        lines.append(f"| {name} | {row['copies']} | {row['traced']} | {row['inconclusive']} | {row['none']} | {row['wrong']} |")
        total.update(row if name != "texts of nobody" else {})
    lines.append(f"| together | {total['copies']} | {total['traced']} | {total['inconclusive']} | {total['none']} | {total['wrong']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--markdown")
    options = parser.parse_args()
    program, count = str(Path(options.program).resolve()), 40 if options.quick else 200
    present = []
    for at, tool in enumerate(tools.TOOLS):
        if tool.slow or tool.needs == "httrack":
            continue  # Browsers are in the other part; a mirror is the page as it came.
        if tools.version(tool) is None:
            print(f"skipped: {tool.name}: {tool.needs.removesuffix('-program')} is not installed")
        else:
            present.append(at)
    started = time.monotonic()
    table = {tools.TOOLS[at].name: Counter() for at in present} | {"texts of nobody": Counter()}
    faults = []
    for mode in ("observe", "enforce"):
        found, level = one_mode(program, mode, count, present, table)
        faults += found
        print(f"{mode}: after {time.monotonic() - started:.0f} s")
    text = markdown(table, count, level)
    print(text)
    if options.markdown:
        rig.between(options.markdown, "visitors", text)
    for fault in faults:
        print(f"FAULT  {fault}")
    print(f"{len(faults)} faults, {time.monotonic() - started:.0f} s")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
