#!/usr/bin/env python3
"""The log and its review at full size; called by scripts/audit_acceptance, which says what is done."""

import argparse
import glob
import heapq
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

DECKLE = os.path.abspath("target/release/deckle")
FUZZ = os.path.abspath("target/release/examples/fuzz")
SLOW_DISK = os.path.abspath("target/audit/slow_disk.so")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Wrong(Exception):
    """What does not hold, in words."""


def hold(holds, what):
    if not holds:
        raise Wrong(what)


def group(number):
    return f"{number:,}"


# A process begins with the peak of the one that starts it, which must be small.
MEASURE = """
import os, sys
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024)
"""


def measure(command):
    """Exit code, what it says, and its peak memory in MiB."""
    out = subprocess.run([sys.executable, "-c", MEASURE, *command], stdout=subprocess.PIPE, text=True, check=True)
    *said, figures = out.stdout.strip().splitlines()
    code, rss = figures.split()
    return int(code), "\n".join(said), float(rss)


# --- load -------------------------------------------------------------------------------------------------------------
def load(part, _rng):
    slow = ["--slow", SLOW_DISK] if os.path.exists(SLOW_DISK) else []
    requests = 2_000_000 // part
    command = ["cargo", "bench", "--quiet", "--features", "full", "--bench", "audit", "--", "--requests", str(requests), *slow]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    hold(out.returncode == 0, "a request was not answered, or answered late (see above)")
    got = json.loads(out.stdout.strip().splitlines()[-1])
    sums = f"{group(got['lines'])} lines + {group(got['dropped'])} drops"
    hold(got["requests"] == got["lines"] + got["dropped"], f"{group(got['requests'])} requests are not {sums}")
    hold(not slow or got["dropped"] > 0 or part > 1, "the disk was not slow enough: nothing was dropped")
    more = (got["p99_on_us"] / got["p99_off_us"] - 1) * 100
    disk = "a slow disk" if slow else "a plain disk (no cc to make it slow)"
    return group(got["requests"]), (
        f"{disk}: none blocked, = {sums}; p99 {got['p99_on_us']} µs, without a log {got['p99_off_us']} µs ({more:+.0f} %, "
        f"wanted: +5 % at most); {group(int(got['requests_per_s']))} requests/s"
    )


# --- kills ------------------------------------------------------------------------------------------------------------
KILLS_A_LOG = 10
CONFIG = '[audit]\ninstance = "w1"\ncompress = "none"\ncheckpoint_every = "100ms"\ncheckpoint_lines = 64\n'
# What may wait: audit.queue and audit.queue_priority.
QUEUES = 8_192 + 1_024


class Clients:
    """Four clients that ask until nobody answers any more."""

    def __init__(self, port):
        self.answers = [0] * 4
        self.threads = [threading.Thread(target=self.ask, args=(number, port)) for number in range(4)]
        for thread in self.threads:
            thread.start()

    def ask(self, number, port):
        paths = ("/static/base.css", "/feed.xml", "/img/logo.svg")
        asked = 0
        try:
            with socket.create_connection(("127.0.0.1", port), 30, (f"127.0.0.{10 + number}", 0)) as stream:
                stream.settimeout(30)
                answer = stream.makefile("rb")
                while True:
                    asked += 1
                    head = f"GET {paths[asked % 3]}?p={asked} HTTP/1.1\r\nHost: x\r\nUser-Agent: {FIREFOX}\r\nAccept: text/html\r\n\r\n"
                    stream.sendall(head.encode())
                    length = None
                    while (line := answer.readline()) not in (b"\r\n", b""):
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    if length is None or len(answer.read(length)) < length:
                        return
                    self.answers[number] += 1
        except OSError:
            return

    def join(self):
        for thread in self.threads:
            thread.join()
        return sum(self.answers)


def segments(log):
    """Their paths, in the order of their numbers."""
    return sorted(glob.glob(f"{log}/audit-*.ndjson"), key=lambda path: int(path.rsplit("-", 1)[1].split(".")[0]))


def verify(log):
    """Exit code, what is said, and the verdict of each segment."""
    out = subprocess.run([DECKLE, "review", log, "--verify"], capture_output=True, text=True, check=False)
    verdicts = dict(re.findall(r"^(audit-\S+\.ndjson): ([^;\n]*)", out.stdout, re.M))
    return out.returncode, out.stdout + out.stderr, verdicts


def read_segment(path):
    """Whole lines, parsed by somebody else's parser; bytes of a torn one; lines behind the last checkpoint."""
    data = open(path, "rb").read()
    *whole, torn = data.split(b"\n")
    lines = []
    for line in whole:
        try:
            lines.append(json.loads(line))
        except ValueError:
            raise Wrong(f"{path}: a whole line is no JSON: {line[:200]!r}") from None
    seals = [at for at, line in enumerate(lines) if line.get("deckle.kind") in ("checkpoint", "end")]
    tail = max(0, len(lines) - 1 - (seals[-1] if seals else 0))
    return data, lines, len(torn), tail


def words(lines):
    return f"{lines} line{'' if lines == 1 else 's'}"


def judge(log, kills):
    """After a kill: all that is there can be read, and --verify says of each segment what is so."""
    code, said, verdicts = verify(log)
    hold(code == 0, f"a crash is no fault, but --verify ends with {code}: {said}")
    paths = segments(log)
    hold(len(paths) == kills, f"{len(paths)} segments after {kills} starts")
    numbers, hits, torn_lines = [], 0, 0
    for path in paths:
        _, lines, torn, tail = read_segment(path)
        torn_lines += torn > 0
        numbers += [line["deckle.seq"] for line in lines]
        hits = sum("deckle.kind" not in line for line in lines)
        newest = path == paths[-1]
        expected = f"unsealed tail {words(tail)}" if newest else f"ok, sealed by the next ({words(tail)} after the last checkpoint)"
        got = verdicts.get(os.path.basename(path))
        hold(got == expected, f"{path}: {got!r} and not {expected!r}")
    hold(numbers == list(range(1, len(numbers) + 1)), f"{log}: numbers with holes, or twice")
    return hits, torn_lines


def tamper(log, rng):
    """One byte before the last checkpoint of the open segment is another: found, and named. False: nothing is covered."""
    path = segments(log)[-1]
    data, lines, _, _ = read_segment(path)
    seals = [at for at, line in enumerate(lines) if line.get("deckle.kind") == "checkpoint"]
    if not seals:
        return False
    end = sum(len(line) + 1 for line in data.split(b"\n")[: seals[-1]])
    at, bit = rng.randrange(end), 1 << rng.randrange(8)
    changed = bytearray(data)
    changed[at] ^= bit
    with open(path, "wb") as file:
        file.write(changed)
    code, said, verdicts = verify(log)
    with open(path, "wb") as file:
        file.write(data)
    name = os.path.basename(path)
    hold(code == 4 and verdicts.get(name, "").startswith("MODIFIED"), f"{path}: bit {bit} of byte {at} was flipped: {code} {said}")
    return True


def start(log, config):
    server = subprocess.Popen(
        [DECKLE, "proxy", "--listen", "127.0.0.1:0", "--config", config, "--log-dir", log, "--mode", "observe"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    found = re.search(r"http://127\.0\.0\.1:(\d+)", server.stdout.readline())
    if not found:
        server.kill()
        server.wait()
        raise Wrong("deckle did not start")
    return server, int(found.group(1))


def kills(part, rng):
    count, done, torn, found = max(1, 200 // part), 0, 0, 0
    answered = lost = 0
    while done < count:
        work = tempfile.mkdtemp(prefix="deckle-kills-")
        log, config = os.path.join(work, "log"), os.path.join(work, "deckle.toml")
        with open(config, "w") as file:
            file.write(CONFIG)
        before = 0
        for number in range(1, min(KILLS_A_LOG, count - done) + 1):
            server, port = start(log, config)
            clients = Clients(port)
            begun = time.monotonic()
            try:
                time.sleep(rng.choice((0.02, 0.2, 0.8)) * rng.random())
            finally:
                server.kill()
                server.wait()
            server.stdout.close()
            answers, seconds = clients.join(), time.monotonic() - begun
            hits, torn_now = judge(log, number)
            # A torn line stays; only this kill's own is new.
            hold(torn_now - before <= 1, f"{log}: {torn_now - before} torn lines by one kill")
            before = torn_now
            missing = answers - hits
            hold(missing <= QUEUES + 0.05 * answers / seconds + 4, f"{missing} of {answers} answers are not in the log")
            answered, lost = answered + answers, max(lost, missing)
            found += tamper(log, rng)
            done += 1
        torn += before
        shutil.rmtree(work)
    return group(count), (
        f"every whole line parses, {torn} torn lines (1 a kill at most), verdicts {count}/{count} right, and {found}/{found} after a "
        f"flipped bit; {group(answered)} answers, {lost} not in the log at most (bound: {group(QUEUES)} and 50 ms)"
    )


# --- visitors ---------------------------------------------------------------------------------------------------------
NOVEMBER_21 = 1_795_219_200
SPAN = 2 * 86_400
SCRAPERS, TOP, STORIES = 2_100, 100, 6_000
MEMORY_MIB = 128


def address(number):
    """Different for different numbers: the factor is odd."""
    mixed = (number * 2_654_435_761 + 12_345) & 0xFFFF_FFFF
    return f"{mixed >> 24}.{mixed >> 16 & 255}.{mixed >> 8 & 255}.{mixed & 255}"


def make_log(path, visitors, rng):
    """A crowd that comes once (one in 25 twice), and between it scrapers of which a hundred take most. Returns the number of
    lines, and how many stories each scraper took."""
    agents = [FIREFOX.replace("140", str(version)) for version in range(120, 141)]
    scrapers, asks = [], []
    for scraper in range(SCRAPERS):
        wanted = 1_300 - 10 * scraper if scraper < TOP else rng.randint(20, 280)
        start = rng.uniform(0, SPAN - 2 * wanted - 2)
        for step, story in enumerate(rng.sample(range(STORIES), wanted)):
            asks.append((start + 2 * step + rng.uniform(0, 2), scraper, story))
        scrapers.append((f"{address(0xF000_0000 + scraper)} python-requests/2.{scraper % 32}", wanted))
    asks.sort()
    days = [time.strftime("%d/%b/%Y", time.gmtime(NOVEMBER_21 + day * 86_400)) for day in range(4)]
    lines, at, again, buffer = 0, 0, [], []

    def add(client, moment, story, agent):
        second = int(moment)
        rest = second % 86_400
        buffer.append(
            f'{client} - - [{days[second // 86_400]}:{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02} +0000] '
            f'"GET /news/a-story-of-today-{story + 100} HTTP/1.1" 200 9000 "-" "{agent}"\n'
        )

    def catch_up(moment):
        nonlocal at
        while at < len(asks) and asks[at][0] <= moment:
            when, scraper, story = asks[at]
            add(address(0xF000_0000 + scraper), when, story, f"python-requests/2.{scraper % 32}")
            at += 1
        while again and again[0][0] <= moment:
            when, number = heapq.heappop(again)
            add(address(number), when, number * 7 % STORIES, agents[number % 21])

    with open(path, "w") as out:
        for number in range(visitors - SCRAPERS):
            moment = number * SPAN / visitors
            catch_up(moment)
            add(address(number), moment, number % STORIES, agents[number % 21])
            if number % 25 == 0:
                heapq.heappush(again, (moment + rng.uniform(600, SPAN / 2), number))
            if len(buffer) > 20_000:
                out.write("".join(buffer))
                lines += len(buffer)
                buffer.clear()
        catch_up(SPAN)
        out.write("".join(buffer))
    return lines + len(buffer), scrapers


def visitors(part, rng):
    number = max(20_000, 5_000_000 // part)
    with tempfile.TemporaryDirectory(prefix="deckle-visitors-") as work:
        log, report = os.path.join(work, "access.log"), os.path.join(work, "report.json")
        lines, scrapers = make_log(log, number, rng)
        size = os.path.getsize(log) >> 20
        started = time.monotonic()
        command = [DECKLE, "review", log, "--memory", f"{MEMORY_MIB}MiB", "--json", report]
        code, _, rss = measure(command)
        seconds = time.monotonic() - started
        hold(code == 0, f"deckle review ended with {code}")
        with open(report) as file:
            got = json.load(file)
    verdict, approximate = got["verdict"], got["source"]["approximate"]
    hold(verdict["hits"] == lines, f"{verdict['hits']} requests of {lines} lines")
    top = dict(sorted(scrapers, key=lambda one: -one[1])[:TOP])
    named = {one["visitor"]: one for one in got["suspects"][:TOP]}
    recall = len(top.keys() & named.keys()) / TOP
    off = verdict["visitors"] / number - 1
    short = max((top[who] - one["hits"] for who, one in named.items() if who in top), default=0)
    told = (
        f"top {TOP}: recall {recall:.2f}, counts {short} short at most; uniques {group(verdict['visitors'])} ({off:+.2%}); "
        f"RSS {rss:.0f} MiB of {MEMORY_MIB}; {group(approximate['visitors'] if approximate else 0)} let go; {size} MiB in {seconds:.0f} s"
    )
    hold(recall >= 0.99 and abs(off) <= 0.02, told)
    hold(rss <= 1.1 * MEMORY_MIB, told)
    hold(approximate or part > 10, f"memory reached for all of them, which says nothing: {told}")
    hold(short <= (approximate["short_by"] if approximate else 0), told)
    return group(number), told


# --- fuzz -------------------------------------------------------------------------------------------------------------
# Twelve formats share the first.
TARGETS = {"logs": 12_000_000, "log-formats": 10_000_000}
GROWTH_MIB = 8


def fuzz(part, _rng):
    told, sum_of_all = [], 0
    for target, inputs in TARGETS.items():
        inputs //= part
        memory = []
        # What grows with the inputs is a leak.
        for number in (max(1, inputs // 20), inputs):
            code, said, rss = measure([FUZZ, target, f"{number}x"])
            hold(code == 0, said)
            memory.append(rss)
        hold(memory[1] - memory[0] <= GROWTH_MIB, f"{target}: {memory[0]:.0f} MiB after a twentieth, {memory[1]:.0f} MiB at the end")
        told.append(f"{said}, {memory[1]:.0f} MiB ({memory[1] - memory[0]:+.1f})")
        sum_of_all += inputs
    return group(sum_of_all), "; ".join(told)


ROWS = {"load": load, "kills": kills, "visitors": visitors, "fuzz": fuzz}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--only", action="append", choices=ROWS)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}, one {options.part}th" if options.part > 1 else f"seed {seed}, full size", flush=True)
    failed = False
    print("| row | size | result | verdict |\n|---|---|---|---|", flush=True)
    for name, run in ROWS.items():
        if options.only and name not in options.only:
            continue
        started = time.monotonic()
        try:
            size, result = run(max(1, options.part), random.Random(f"{seed} {name}"))
            verdict = "holds"
        except Wrong as wrong:
            size, result, verdict, failed = "", str(wrong).replace("\n", " "), "DOES NOT HOLD", True
        print(f"| {name} | {size} | {result} | {verdict}, {time.monotonic() - started:.0f} s |", flush=True)
    sys.exit(1 if failed else 0)


main()
