"""The articles and the readers of scripts/soak."""

import argparse
import asyncio
import gzip
import json
import os
import pathlib
import random
import re
import signal
import sys
import time
import urllib.request

READERS = 64
# What is popular, as a part of the archive: half of all requests are for an eighth of it.
SKEW = 3
BROWSERS = [
    f"Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0" for version in range(128, 144)
]
WORDS = """the a of in on for council harbour committee report morning budget night market bridge ferry minister teacher
hospital season water price village museum school said told asked would could after before between against under about
people year week family city river train winter summer storm answer letter paper""".split()
# What all pages of a site share, and what is by far the most of them.
FRAME = "".join(
    f'<nav class="menu menu--{number % 7}"><ul><li class="menu__item" data-track="m{number}"><a class="link link--{number % 5}" '
    f'href="/{number:02}/{number * 37}.html" aria-label="{WORDS[number % len(WORDS)]}">{WORDS[number % len(WORDS)]}</a></li></ul></nav>\n'
    for number in range(250)
)
MISMATCH = "deckle_packed_mismatch_total"
PLANS = ["deckle_plan_hits_total", "deckle_plan_misses_total", "deckle_plan_evicted_total", "deckle_packed_answers_total"]


def article(number, edition):
    """An article of 300 to 1,200 words on a page of 50 to 80 kB. The edition stands in its text, so that an old one is known."""
    rng = random.Random(number * 1_000_003 + edition)
    paragraphs = "\n".join(
        f"<p>{' '.join(rng.choices(WORDS, k=30)).capitalize()}, edition {edition}.</p>" for _ in range(rng.randint(10, 40))
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Article {number}</title></head>\n'
        f'<body>{FRAME}<main><article id="a{number}"><h1>Article {number}</h1>\n{paragraphs}\n</article></main></body></html>\n'
    )


def path_of(number):
    return f"{number % 100:02}/{number}.html"


def write(site, number, edition):
    file = site / path_of(number)
    file.parent.mkdir(exist_ok=True)
    other = file.with_suffix(".new")
    other.write_text(article(number, edition))
    other.rename(file)


class Soak:
    def __init__(self, directory, process, minutes, pages):
        self.directory, self.process, self.minutes, self.pages = directory, process, minutes, pages
        self.port = self.announced("out", r"listening on http://127\.0\.0\.1:(\d+)")
        self.admin = self.announced("err", r"dashboard is at http://127\.0\.0\.1:(\d+)")
        self.begin = time.monotonic()
        self.over = False
        self.editions = [0] * pages
        self.times, self.answers, self.errors, self.wrong = [], 0, 0, 0

    def announced(self, file, pattern):
        for _ in range(100):
            found = re.search(pattern, (self.directory / file).read_text())
            if found:
                return int(found[1])
            time.sleep(0.1)
        sys.exit(f"{pattern} is not in what deckle says")

    def choose(self):
        """A page of those that are popular now: the archive passes by once in the whole time."""
        moved = int((time.monotonic() - self.begin) / (self.minutes * 60) * self.pages)
        return (moved + int(self.pages * random.random() ** SKEW)) % self.pages

    async def answer(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise ValueError(head.split(b"\r\n", 1)[0].decode())
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if length:
            return head, await reader.readexactly(int(length[1]))
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return head, body

    async def reader(self, number):
        source = (f"127.0.{1 + number}.1", 0)
        coding = "Accept-Encoding: gzip\r\n" if number % 4 else ""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=source)
        while not self.over:
            page = self.choose()
            begun = time.monotonic()
            edition = self.editions[page]
            writer.write(
                f"GET /{path_of(page)} HTTP/1.1\r\nHost: soak\r\nUser-Agent: {BROWSERS[number % len(BROWSERS)]}\r\n"
                f"Accept: text/html\r\n{coding}\r\n".encode()
            )
            try:
                head, body = await asyncio.wait_for(self.answer(reader), 60)
            except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
                print(f"reader {number}: {error!r}", flush=True)
                self.errors += 1
                writer.close()
                if self.errors > 1000:
                    raise SystemExit("FAULT: more than 1,000 answers were lost") from error
                await asyncio.sleep(0.1)
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=source)
                continue
            self.times.append(time.monotonic() - begun)
            self.answers += 1
            # One of 50 is read: checksum, length, and that it is this article in an edition of now.
            if self.answers % 50 == 0:
                self.wrong += not self.is_right(page, edition, head, body)

    def is_right(self, page, edition, head, body):
        try:
            text = (gzip.decompress(body) if b"content-encoding: gzip" in head else body).decode()
        except (OSError, EOFError, ValueError) as error:
            print(f"article {page}: {error!r}", flush=True)
            return False
        editions = {int(found) for found in re.findall(r"edition (\d+)", re.sub(r"\s+", " ", text))}
        right = f'id="a{page}"' in text and text.rstrip().endswith("</html>") and len(editions) == 1
        return right and edition <= editions.pop() <= self.editions[page]

    async def edit(self):
        """Editors at work: every second some articles change."""
        while not self.over:
            for _ in range(5):
                page = self.choose()
                write(self.directory / "site", page, self.editions[page] + 1)
                self.editions[page] += 1
            await asyncio.sleep(1)

    def figures(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        sums = {}
        for line in lines:
            name, value = line.rsplit(" ", 1)
            name = name.split("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
        return sums

    def rss(self):
        status = pathlib.Path(f"/proc/{self.process}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    async def watch(self):
        rows, earlier = [], self.figures()
        for minute in range(1, self.minutes + 1):
            await asyncio.sleep(self.begin + minute * 60 - time.monotonic())
            answers, times, self.times = len(self.times), sorted(self.times) or [60.0], []
            now = await asyncio.to_thread(self.figures)
            row = {
                "minute": minute, "requests_per_s": round(answers / 60), "p50_ms": round(times[len(times) // 2] * 1000, 1),
                "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1), "rss_mib": round(self.rss(), 1),
                **{name.removeprefix("deckle_").removesuffix("_total"): int(now[name] - earlier[name]) for name in PLANS},
                "packed": int(now["deckle_plan_packed_total"] - earlier["deckle_plan_packed_total"]),
                "plan_mib": round(now["deckle_plan_bytes"] / 2**20, 1), "mismatch": int(now[MISMATCH]), "errors": self.errors, "wrong": self.wrong,
            }
            earlier = now
            rows.append(row)
            print(json.dumps(row), flush=True)
        self.over = True
        return rows

    async def run(self):
        rows, *_ = await asyncio.gather(self.watch(), self.edit(), *(self.reader(number) for number in range(READERS)))
        return rows


def judge(rows):
    """What grew is the last third against the third before: the first one fills tables and caches."""
    third = max(1, len(rows) // 3)
    mean = lambda part, name: sum(row[name] for row in part) / len(part)
    middle, last, end = rows[-2 * third : -third] or rows, rows[-third:], rows[-1]
    faults = [name for name in ("errors", "wrong", "mismatch") if end[name]]
    for name, limit in (("rss_mib", 1.05), ("p99_ms", 1.2)):
        grown = mean(last, name) / mean(middle, name)
        print(f"{name}: last third {grown:.2f} times the one before (at most {limit})")
        faults += [name] if grown > limit else []
    if not sum(row["packed_answers"] for row in rows):
        faults.append("nothing left packed")
    sys.exit(f"FAULT: {', '.join(faults)}" if faults else None)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=["make", "load"])
    arguments.add_argument("rest", nargs="+")
    arguments = arguments.parse_args()
    directory = pathlib.Path(arguments.rest[0])
    if arguments.what == "make":
        for number in range(int(arguments.rest[1])):
            write(directory, number, 0)
        return
    process, minutes, pages = map(int, arguments.rest[1:])
    soak = Soak(directory, process, minutes, pages)
    rows = asyncio.run(soak.run())
    os.kill(process, signal.SIGTERM)
    judge(rows)


main()
