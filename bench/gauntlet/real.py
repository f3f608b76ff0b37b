#!/usr/bin/env python3
"""Real programs against `deckle proxy` before the embedded demo site, in mode enforce, on loopback, in real time.

Readers and scrapers run at the same time, each from an address of its own. A program that cannot be had is a printed
skip. Ends with 0 only if no reader was disturbed and every scraper met its first refusal in time.

    real.py DECKLE [--python PYTHON] [--seconds N] [--markdown FILE]

The Markdown is put behind what is in the file.
"""

import argparse
import glob
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

WARM_UP = 62  # Nothing is stronger than `limit` before.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 Safari/537.36"

FETCH = """
import sys, time
from {module} import *
base, address, pause, paths = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]
{body}
"""
LOOPS = {
    "requests": ("requests", "session = Session()\nfor path in paths:\n    session.get(base + path, headers={'x-forwarded-for': address})\n    time.sleep(pause)"),
    "httpx": ("httpx", "client = Client()\nfor path in paths:\n    client.get(base + path, headers={'x-forwarded-for': address})\n    time.sleep(pause)"),
    "aiohttp": (
        "aiohttp",
        "import asyncio\nasync def main():\n    async with ClientSession() as session:\n        for path in paths:\n"
        "            async with session.get(base + path, headers={'x-forwarded-for': address}) as answer: await answer.read()\n"
        "            await asyncio.sleep(pause)\nasyncio.run(main())",
    ),
}
SCRAPY = """
import scrapy, sys
class Spider(scrapy.Spider):
    name = "spider"
    custom_settings = {"ROBOTSTXT_OBEY": True, "LOG_LEVEL": "ERROR", "RETRY_ENABLED": False,
                       "DEFAULT_REQUEST_HEADERS": {"x-forwarded-for": sys.argv[-1]}, "CLOSESPIDER_PAGECOUNT": 150}
    start_urls = [sys.argv[-2] + "/"]
    async def start(self):
        for url in self.start_urls: yield scrapy.Request(url)
    def parse(self, response):
        for link in response.css("a::attr(href)").getall():
            if link.startswith("/"): yield response.follow(link, self.parse)
from scrapy.crawler import CrawlerProcess
process = CrawlerProcess(); process.crawl(Spider); process.start()
"""
PLAYWRIGHT = """
import sys
from playwright.sync_api import sync_playwright
chromium, base, address, paths = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_context(extra_http_headers={"x-forwarded-for": address}).new_page()
    page.route("**/*", lambda route: route.continue_() if route.request.resource_type == "document" else route.abort())
    for path in paths:
        page.goto(base + path)
        page.wait_for_timeout(500)
"""


def articles(base):
    """Paths of articles, as the sitemap or the front pages name them."""
    found, queue = [], ["/"]
    seen = set(queue)
    while queue and len(seen) < 400:
        path = queue.pop(0)
        request = urllib.request.Request(base + path, headers={"x-forwarded-for": "198.18.0.1", "user-agent": BROWSER.format(139)})
        try:
            page = urllib.request.urlopen(request, timeout=10).read().decode("utf-8", "replace")
        except urllib.error.URLError:
            continue
        for link in re.findall(r'href="(/[^"#?]*)"', html.unescape(page)):
            if link in seen or "." in link.rsplit("/", 1)[-1] or link.startswith("/.deckle"):
                continue
            seen.add(link)
            if re.search(r"/\d{4}/\d\d/", link):
                found.append(link)
            else:
                queue.append(link)
    return found


def start(deckle, log):
    config = os.path.join(log, "deckle.toml")
    with open(config, "w") as file:
        file.write('mode = "enforce"\n[visitor]\ntrusted_proxies = ["preset:loopback"]\nproxy_check = "off"\n')
    server = subprocess.Popen(
        [deckle, "proxy", "--listen", "127.0.0.1:0", "--config", config, "--log-dir", log],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    for line in server.stdout:
        found = re.search(r"listening on (http://[0-9.:]+)", line)
        if found:
            return server, found.group(1)
    sys.exit("deckle did not start")


def programs(base, paths, python):
    """Name, who, address, bound, and the command; `None` for what is not here."""
    have = shutil.which

    def loop(name, number, pause):
        module, body = LOOPS[name]
        address = f"198.51.{number}.7"
        check = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
        code = FETCH.format(module=module, body=body)
        command = [python, "-c", code, base, address, str(pause), *paths[:60]]
        return name, "scraper", address, 28, command if check.returncode == 0 else None

    def pages(name, number, pause, one, count=8, who="reader", bound=0):
        address = f"198.51.{number}.7"
        lines = [one(base + path, address) + f" >/dev/null 2>&1; sleep {pause}" for path in paths[number % 7::5][:count]]
        return name, who, address, bound, ["bash", "-c", "\n".join(lines)] if have(name) else None

    major = re.search(r"\d+", subprocess.run(["chromium", "--version"], capture_output=True, text=True).stdout) if have("chromium") else None
    chromium = "chromium --headless --no-sandbox --disable-gpu --virtual-time-budget=3000 --dump-dom"
    agent = BROWSER.format(major.group(0) if major else 139)
    wget = ["wget", "-q", "-r", "-l", "4", "-w", "0.3", "-e", "robots=off", "-P", tempfile.mkdtemp(), "--delete-after"]
    scrapy = subprocess.run([python, "-c", "import scrapy"], capture_output=True).returncode == 0
    curl = "\n".join(f"curl -s -o /dev/null -H 'x-forwarded-for: 198.51.102.7' '{base}{path}'; sleep 1" for path in paths[:60])
    automated = have("chromium") and subprocess.run([python, "-c", "import playwright"], capture_output=True).returncode == 0
    playwright = [python, "-c", PLAYWRIGHT, have("chromium"), base, "198.51.107.7", *paths[:60]]
    return [
        pages("w3m", 1, 6, lambda url, address: f"w3m -header 'X-Forwarded-For: {address}' -dump '{url}'"),
        pages("lynx", 2, 6, lambda url, address: f"lynx -dump '{url}'"),
        # These cannot be given an address, and have that of the machine.
        pages("chromium", 3, 8, lambda url, address: f"{chromium} --user-agent='{agent}' '{url}'", 6),
        ("newsboat", "reader", "", 0, newsboat(base) if have("newsboat") else None),
        ("wget -r", "scraper", "198.51.101.7", 30, wget + ["--header", "X-Forwarded-For: 198.51.101.7", base + "/"] if have("wget") else None),
        ("curl, 1 a second", "scraper", "198.51.102.7", 25, ["bash", "-c", curl] if have("curl") else None),
        loop("requests", 103, 0.2),
        loop("httpx", 104, 0.2),
        loop("aiohttp", 105, 0.2),
        ("scrapy", "scraper", "198.51.106.7", 46, [python, "-c", SCRAPY, base, "198.51.106.7"] if scrapy else None),
        ("playwright", "scraper", "198.51.107.7", 25, playwright if automated else None),
    ]


def newsboat(base):
    """Looks at the feed every six seconds."""
    home = tempfile.mkdtemp()
    urls = os.path.join(home, "urls")
    with open(urls, "w") as file:
        file.write(base + "/feed.xml\n")
    look = f"newsboat -u '{urls}' -c '{home}/cache' -C /dev/null -x reload"
    return ["bash", "-c", "\n".join([look + "; sleep 6"] * 8)]


def hits(log):
    for name in sorted(glob.glob(os.path.join(log, "*.ndjson"))):
        with open(name) as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def whose(hit, name, address):
    client, agent = hit.get("client.address", ""), hit.get("user_agent.original", "")
    own = {"lynx": "Lynx", "chromium": "Chrome/", "newsboat": "newsboat"}.get(name)
    if own:
        return client.startswith("127.0.0") and own in agent
    return client.startswith(address.rsplit(".", 1)[0] + ".")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("deckle")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--seconds", type=int, default=75)
    parser.add_argument("--markdown")
    options = parser.parse_args()
    log = tempfile.mkdtemp(prefix="deckle-gauntlet-")
    server, base = start(os.path.abspath(options.deckle), log)
    running, held = [], True
    try:
        begun = time.monotonic()
        paths = articles(base)
        cast = programs(base, paths, options.python)
        time.sleep(max(0.0, WARM_UP - (time.monotonic() - begun)))
        for name, who, address, bound, command in cast:
            if command:
                running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        ends = time.monotonic() + options.seconds
        for process in running:
            try:
                process.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        server.terminate()
        server.wait(20)
        table = []
        print(f"{'program':<20}{'who':<10}{'requests':>9}{'disturbed':>11}{'first refusal':>15}  bound")
        lines = list(hits(log))
        for name, who, address, bound, command in cast:
            if not command:
                print(f"{name:<20}{who:<10} skipped: not installed")
                table.append((name, who, "", "", "", "skipped: not installed"))
                continue
            mine = [hit for hit in lines if whose(hit, name, address)]
            pages = [hit for hit in mine if hit.get("deckle.page.kind") == "article" or hit.get("http.response.status_code") == 429]
            refused = [hit.get("http.response.status_code") in (403, 429) for hit in pages]
            first = refused.index(True) if True in refused else None
            disturbed = sum(hit.get("deckle.action") not in ("allow", "tag") for hit in mine)
            ok = (disturbed == 0 and len(mine) > 0) if who == "reader" else (first is not None and first <= bound)
            held &= ok
            word = "ok" if ok else "BROKEN"
            limit = "0 disturbed" if who == "reader" else f"first <= {bound}"
            shown = "none" if first is None else first
            print(f"{name:<20}{who:<10}{len(mine):>9}{disturbed:>11}{shown:>15}  {word}: {limit}")
            table.append((name, who, len(mine), disturbed, shown, f"{word}: {limit}"))
        if options.markdown:
            with open(options.markdown, "a") as file:
                file.write("\n## With the programs themselves\n\nAll at the same time, in real time, before the demo site: `scripts/gauntlet --real`.\n\n")
                file.write("| program | who | requests | disturbed | articles before the first refusal | bound |\n|---|---|---|---|---|---|\n")
                file.writelines("| " + " | ".join(map(str, row)) + " |\n" for row in table)
    finally:
        for process in [*running, server]:
            if process.poll() is None:
                process.kill()
        shutil.rmtree(log, ignore_errors=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
