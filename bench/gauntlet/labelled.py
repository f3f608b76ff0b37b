#!/usr/bin/env python3
"""Traffic of which we know who made it, and what `deckle review` says of it.

People, tools and bots that drive a real browser read the demo site behind `deckle proxy` (mode observe) at the same time;
afterwards scanners and password guessers go at it, each kind in a log of its own with the people's lines between. Everybody
comes through a relay of their own, which gives them an address and writes down what it passes on as a server would
(Combined). Prints Markdown. Ends with 0 only if at most one in twenty sessions of people is at `challenge` or above, in
deckle's own log and in the other, and all attacking addresses are among the first five suspects with a reason that fits.

    labelled.py DECKLE [--python PYTHON] [--seconds N] [--keep DIR]

The people are scripts, too: text browsers, a feed reader, and Chromium that clicks links and stays for as long as people do.
"""

import argparse
import http.client
import http.server
import json
import os
import random
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import real

ORDER = ["allow", "tag", "slow", "limit", "challenge", "decoy", "license", "card", "block"]
CHALLENGE = 70  # suspicion.score.buckets
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
WORDS = "/usr/share/dirb/wordlists/common.txt"
CONFIG = 'mode = "observe"\n[visitor]\ntrusted_proxies = ["preset:loopback"]\nproxy_check = "off"\n[audit]\naddress = "full"\ncompress = "none"\n'


class Relay(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Passes requests on as coming from one address."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, site, address, log):
        self.site, self.address, self.log = site, address, log
        super().__init__(("127.0.0.1", 0), Pass)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""


class Pass(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A body behind its head must not wait for an acknowledgement.
    wbufsize = -1
    timeout = 60

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.relay
        raise AttributeError(name)

    def log_message(self, *_):
        pass

    def relay(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urllib.parse.quote(self.path.encode("latin-1", "replace"), safe="/?&=%#+:;,@!$'()*~[]|{}\"^\\`<>-._")
        site = http.client.HTTPConnection(self.server.site, timeout=60)
        try:
            site.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP | {"x-forwarded-for"}:
                    site.putheader(name, value)
            site.putheader("X-Forwarded-For", self.server.address)
            if body:
                site.putheader("Content-Length", str(len(body)))
            site.endheaders(body or None)
            answer = site.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException, ValueError):
            return self.send_error(502)
        finally:
            site.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP or (name.lower() == "content-length" and self.command == "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD" and answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        self.server.log.add(self, answer.status, len(content))


class AccessLog:
    """Lines as nginx writes them, by address."""

    def __init__(self):
        self.lines, self.lock = [], threading.Lock()

    def add(self, request, status, size):
        def clean(text):
            return "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\x{ord(c) & 255:02X}" for c in text)

        head = request.headers
        moment = time.time()
        line = (
            f'{request.server.address} - - [{time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(moment))}] '
            f'"{clean(request.requestline)}" {status} {size} "{clean(head.get("referer", "-"))}" "{clean(head.get("user-agent", "-"))}"\n'
        )
        with self.lock:
            self.lines.append((moment, request.server.address, line))

    def write(self, path, addresses):
        with self.lock:
            wanted = sorted(entry for entry in self.lines if entry[1] in addresses)
        with open(path, "w") as file:
            file.writelines(line for _, _, line in wanted)
        return len(wanted)


class Actor:
    """Somebody of whom we know who it is."""

    def __init__(self, name, label, address, relay):
        self.name, self.label, self.address, self.relay = name, label, address, relay
        self.commands = []


class Cast:
    def __init__(self, site, log):
        self.site, self.log, self.actors, self.skipped = site, log, [], []

    def add(self, name, label, count=1):
        new = []
        for _ in range(count):
            number = len(self.actors) + 1
            address = f"198.51.{number}.7"
            new.append(Actor(name, label, address, Relay(self.site, address, self.log)))
            self.actors.append(new[-1])
        return new

    def skip(self, name, why="not installed"):
        self.skipped.append(f"{name}: {why}")

    def of(self, *labels):
        return [actor for actor in self.actors if actor.label in labels]


# --- people, tools, bots ----------------------------------------------------------------------------------------------
# Several in one Chromium, each in a profile of its own. A line of standard input for each: kind, address of the site, paths.
BROWSERS = """
import asyncio, json, random, sys, time
from playwright.async_api import async_playwright
chromium, agent, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
visitors = [json.loads(line) for line in sys.stdin]
end = time.monotonic() + seconds

async def links(page):
    found = await page.eval_on_selector_all("a[href^='/']", "all => all.map(a => a.getAttribute('href'))")
    return [path for path in found if "#" not in path and "/.deckle" not in path]

async def person(page, base, rng):
    await asyncio.sleep(rng.uniform(0, 15))
    await page.goto(base + rng.choice(["/", "/", "/city/"]))
    while time.monotonic() < end:
        # Skims a list, reads an article; now and then goes back to the list.
        await asyncio.sleep(rng.uniform(4, 22))
        await page.mouse.wheel(0, rng.randint(200, 2000))
        try:
            if rng.random() < 0.25:
                await page.go_back(timeout=5000)
                continue
            there = await links(page)
            if there:
                path = rng.choice(there)
                await page.evaluate("path => document.querySelector(`a[href='${path}']`).click()", path)
                await page.wait_for_load_state(timeout=10000)
        except Exception:
            await page.goto(base + "/")

async def bot(page, base, rng, paths, pause, documents):
    if documents:
        async def route(route):
            await (route.continue_() if route.request.resource_type == "document" else route.abort())
        await page.route("**/*", route)
    for path in paths:
        if time.monotonic() > end:
            return
        await page.goto(base + path)
        await asyncio.sleep(rng.uniform(*pause))

async def one(browser, visitor):
    rng = random.Random(visitor["seed"])
    named = visitor["kind"] == "automated"
    context = await browser.new_context(**({} if named else {"user_agent": agent}))
    page = await context.new_page()
    base, paths = visitor["base"], visitor["paths"]
    try:
        if visitor["kind"] == "person":
            await person(page, base, rng)
        elif visitor["kind"] == "automated":
            await bot(page, base, rng, paths, (0.5, 0.5), True)
        elif visitor["kind"] == "stealth":
            await bot(page, base, rng, paths, (1, 3), False)
        else:
            rng.shuffle(paths)
            await bot(page, base, rng, paths, (5, 20), False)
    except Exception as error:
        print(visitor["kind"], error, file=sys.stderr)
    await context.close()

async def main():
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        await asyncio.gather(*(one(browser, visitor) for visitor in visitors))
        await browser.close()
asyncio.run(main())
"""


def has_module(python, name):
    return subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def text_browser(cast, name, count, show, paths, rng):
    if not shutil.which(name):
        return cast.skip(name)
    for reader in cast.add(name, "person", count):
        steps = [f"sleep {rng.uniform(0, 15):.1f}"]
        for path in ["/", *rng.sample(paths, 9)]:
            steps += [show(reader.relay.url + path) + " >/dev/null 2>&1", f"sleep {rng.uniform(4, 20):.1f}"]
        reader.commands.append(["bash", "-c", "\n".join(steps)])


def readers_and_takers(cast, python, paths, seconds, rng):
    have = shutil.which
    text_browser(cast, "w3m", 8, lambda url: f"w3m -dump '{url}'", paths, rng)
    text_browser(cast, "lynx", 6, lambda url: f"lynx -dump '{url}'", paths, rng)
    if have("newsboat"):
        for reader in cast.add("newsboat", "person", 3):
            reader.commands.append(real.newsboat(reader.relay.url))
    else:
        cast.skip("newsboat")
    if have("wget"):
        for taker in cast.add("wget -r", "tool"):
            into = tempfile.mkdtemp(prefix="deckle-wget-")
            taker.commands.append(["wget", "-q", "-r", "-l", "4", "-w", "0.3", "-e", "robots=off", "-P", into, "--delete-after", taker.relay.url + "/"])
    if have("curl"):
        for taker in cast.add("curl, 1 a second", "tool"):
            steps = [f"curl -s -o /dev/null '{taker.relay.url}{path}'; sleep 1" for path in paths[:60]]
            taker.commands.append(["bash", "-c", "\n".join(steps)])
    for name, pause in [("requests", 0.2), ("httpx", 0.2), ("aiohttp", 0.2)]:
        module, body = real.LOOPS[name]
        if not has_module(python, module):
            cast.skip(name)
            continue
        for taker in cast.add(name, "tool"):
            code = real.FETCH.format(module=module, body=body)
            taker.commands.append([python, "-c", code, taker.relay.url, taker.address, str(pause), *paths[:60]])
    if has_module(python, "scrapy"):
        for taker in cast.add("scrapy", "tool"):
            taker.commands.append([python, "-c", real.SCRAPY, taker.relay.url, taker.address])
    else:
        cast.skip("scrapy")
    return browsers(cast, python, paths, seconds, rng)


def browsers(cast, python, paths, seconds, rng):
    """Those that share a Chromium: the command, and its standard input."""
    chromium = shutil.which("chromium")
    if not chromium or not has_module(python, "playwright"):
        cast.skip("Chromium, by Playwright")
        return None
    version = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=False).stdout
    agent = real.BROWSER.format(re.search(r"\d+", version).group(0))
    visitors = []
    for name, kind, label, count in [
        ("Chromium, at a reader's pace", "person", "person", 10),
        ("Playwright, documents only, by its name", "automated", "browser bot", 2),
        ("Playwright as a browser, every 2 s", "stealth", "browser bot", 2),
        ("Playwright as a browser, every 12 s", "slow", "browser bot", 2),
    ]:
        for visitor in cast.add(name, label, count):
            visitors.append({"kind": kind, "base": visitor.relay.url, "seed": rng.random(), "paths": rng.sample(paths, min(60, len(paths)))})
    command = [python, "-c", BROWSERS, chromium, agent, str(seconds)]
    return command, "\n".join(json.dumps(visitor) for visitor in visitors)


def attackers(cast, work):
    """Tools and the labels of their logs; two addresses each."""
    have = shutil.which
    few = os.path.join(work, "words.txt")
    if os.path.exists(WORDS):
        with open(WORDS) as file, open(few, "w") as out:
            out.writelines(file.readlines()[:1500])
    passwords = os.path.join(work, "passwords.txt")
    with open(passwords, "w") as file:
        file.writelines(f"summer{year}\n" for year in range(1900, 2100))

    def port(url):
        return url.rsplit(":", 1)[1]

    tools = [
        ("dirb", "scanner", few, lambda url: ["dirb", url + "/", few, "-S", "-r", "-w"]),
        ("gobuster", "scanner", few, lambda url: ["gobuster", "dir", "-q", "--no-progress", "-t", "4", "-w", few, "-u", url]),
        ("ffuf", "scanner", few, lambda url: ["ffuf", "-s", "-t", "4", "-w", few, "-u", url + "/FUZZ"]),
        ("wfuzz", "scanner", few, lambda url: ["wfuzz", "--hc", "404", "-t", "4", "-w", few, url + "/FUZZ"]),
        ("nikto", "scanner", passwords, lambda url: ["nikto", "-ask", "no", "-maxtime", "30s", "-host", url]),
        ("sqlmap", "scanner", passwords, lambda url: ["sqlmap", "--batch", "--level", "2", "--output-dir", os.path.join(work, "sqlmap" + port(url)), "-u", url + "/?p=1"]),
        ("hydra", "brute force", passwords, lambda url: ["hydra", "-t", "4", "-l", "admin", "-P", passwords, "-s", port(url), "127.0.0.1", "http-post-form", "/wp-login.php:log=^USER^&pwd=^PASS^:S=welcome back"]),
    ]
    for name, label, needs, command in tools:
        if not have(name) or not os.path.exists(needs):
            cast.skip(name)
            continue
        for attacker in cast.add(name, label, 2):
            attacker.commands.append(command(attacker.relay.url))


def run(actors, seconds, shared=None):
    """All at the same time; who is not done by then is ended."""
    running = []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    for actor in actors:
        for command in actor.commands:
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, **quiet))
    if shared:
        command, text = shared
        process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **quiet)
        process.stdin.write(text)
        process.stdin.close()
        running.append(process)
    ends = time.monotonic() + seconds
    for process in running:
        try:
            process.wait(max(0.1, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            # A session of its own: what it has started goes with it.
            os.killpg(process.pid, 9)
            process.wait()


# --- what the review says ---------------------------------------------------------------------------------------------
def review(deckle, path):
    out = subprocess.run([deckle, "review", path, "--json", "-"], capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(f"deckle review {path}: {out.returncode} {out.stderr}")
    return json.loads(out.stdout)


def is_refused(suspect):
    done = [suspect.get(key) for key in ("action", "would_action")]
    strongest = max((ORDER.index(action) for action in done if action in ORDER), default=0)
    return suspect["score"] >= CHALLENGE or strongest >= ORDER.index("challenge")


def judged(report, address):
    """0 nobody in particular, 1 a suspect, 2 at challenge or above."""
    mine = [suspect for suspect in report["suspects"] if suspect["address"].split("/")[0] == address]
    return max((1 + is_refused(suspect) for suspect in mine), default=0)


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def people_and_bots(cast, forms):
    """The matrix, and whether people are left alone."""
    held = True
    for form, report in forms:
        rows = []
        for label in ("person", "tool", "browser bot"):
            for name in dict.fromkeys(actor.name for actor in cast.of(label)):
                levels = [judged(report, actor.address) for actor in cast.of(label) if actor.name == name]
                rows.append((name, label, len(levels), *(levels.count(level) for level in range(3))))
            levels = [judged(report, actor.address) for actor in cast.of(label)]
            rows.append(("**all**", label, len(levels), *(levels.count(level) for level in range(3))))
        print(f"{form}:\n")
        table(("who", "label", "sessions", "not suspected", "suspected", "at `challenge` or above"), rows)
        people = [judged(report, actor.address) for actor in cast.of("person")]
        share = people.count(2) / max(1, len(people))
        holds = bool(people) and share <= 0.05
        held &= holds
        print(f"People at `challenge` or above: {people.count(2)} of {len(people)} sessions ({share:.1%}; at most 5 %): {'holds' if holds else 'DOES NOT HOLD'}\n")
    return held


REASONS = {
    "scanner": r"things that scanners look for|times for what is not there|it is a scanner",
    "brute force": r"things that scanners look for|times for what is not there|pages a minute",
}


def attacks(cast, log, deckle, work):
    """One log a tool, with the people between."""
    held, rows = True, []
    people = {actor.address for actor in cast.of("person")}
    for label, reasons in REASONS.items():
        for name in dict.fromkeys(actor.name for actor in cast.of(label)):
            mine = [actor for actor in cast.of(label) if actor.name == name]
            path = os.path.join(work, f"{name}.log")
            log.write(path, people | {actor.address for actor in mine})
            first = review(deckle, path)["suspects"][:5]
            for actor in mine:
                places = [place for place, suspect in enumerate(first, 1) if suspect["address"] == actor.address]
                fitting = [reason for place in places for reason in first[place - 1]["reasons"] if re.search(reasons, reason)]
                asked = sum(entry[1] == actor.address for entry in log.lines)
                held &= bool(fitting)
                rows.append((name, label, asked, places[0] if places else "none", fitting[0] if fitting else "NONE THAT FITS"))
    table(("tool", "log", "requests", "place among the suspects", "reason that fits"), rows)
    found = sum(row[3] != "none" and row[4] != "NONE THAT FITS" for row in rows)
    print(f"Attacking addresses among the first five, with a reason that fits: {found} of {len(rows)}: {'holds' if held and rows else 'DOES NOT HOLD'}\n")
    return held and bool(rows)


def start(deckle, work):
    config = os.path.join(work, "deckle.toml")
    with open(config, "w") as file:
        file.write(CONFIG)
    log = os.path.join(work, "log")
    server = subprocess.Popen([deckle, "proxy", "--listen", "127.0.0.1:0", "--config", config, "--log-dir", log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = re.search(r"http://(127\.0\.0\.1:\d+)", server.stdout.readline())
    return server, found.group(1) if found else sys.exit("deckle did not start"), log


def keep(cast, log, work, own, into):
    os.makedirs(into, exist_ok=True)
    labels = {actor.address: {"label": actor.label, "name": actor.name} for actor in cast.actors}
    with open(os.path.join(into, "labels.json"), "w") as file:
        json.dump(labels, file, indent=1)
    log.write(os.path.join(into, "access.log"), set(labels))
    shutil.copytree(own, os.path.join(into, "log"), dirs_exist_ok=True, ignore=shutil.ignore_patterns("secret", "audit.keys", "audit.ed25519"))
    for name in dict.fromkeys(actor.name for actor in cast.of(*REASONS)):
        shutil.copy(os.path.join(work, f"{name}.log"), into)
    print(f"Kept in {into}: log/ (deckle's own), access.log (Combined), one log a tool, labels.json (address to label).")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("deckle")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep")
    options = parser.parse_args()
    deckle, rng = os.path.abspath(options.deckle), random.Random(options.seed)
    work = tempfile.tempdir = tempfile.mkdtemp(prefix="deckle-labelled-")
    server, site, own = start(deckle, work)
    log = AccessLog()
    try:
        begun = time.monotonic()
        cast = Cast(site, log)
        paths = real.articles(f"http://{site}")
        shared = readers_and_takers(cast, options.python, paths, options.seconds, rng)
        # Nothing is stronger than `limit` before.
        time.sleep(max(0.0, real.WARM_UP - (time.monotonic() - begun)))
        run(cast.actors, options.seconds + 15, shared)
        everybody = {actor.address for actor in cast.actors}
        combined = os.path.join(work, "access.log")
        lines = log.write(combined, everybody)
        attackers(cast, work)
        run(cast.of(*REASONS), 60)
        server.terminate()
        server.wait(30)
        print(f"{lines} requests of {len(everybody)} visitors in {options.seconds} s, seed {options.seed}.\n")
        # deckle's own log holds the attackers, too; nobody's verdict depends on theirs but by address.
        held = people_and_bots(cast, [("deckle's own log", review(deckle, own)), ("The same as Combined", review(deckle, combined))])
        held &= attacks(cast, log, deckle, work)
        for what in cast.skipped:
            print(f"skipped: {what}")
        if options.keep:
            keep(cast, log, work, own, options.keep)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if held else 1)


main()
