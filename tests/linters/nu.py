#!/usr/bin/env python3
"""Errors of the Nu HTML checker that a page has after deckle, and did not have before.

    npm install vnu-jar@26.9.27; apt-get install openjdk-17-jre-headless
    nu.py VNU_JAR BEFORE AFTER [BEFORE AFTER ...]     pairs of files
    nu.py VNU_JAR DECKLE DIRECTORY                    DIRECTORY/*.html as they are, and through deckle; besides,
                                                             deckle's own pages, which must have no error at all

Messages are compared by their text, and counted. Exit 1 if there is a new error.
"""

import collections
import contextlib
import http.client
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# All that writes into a page; `marks` also puts seals and variation selectors into the text.
CONFIG = """
[page.guard]
mode = "{mode}"
beacon = true
[page.notice]
where = ["footer", "comment", "meta"]
[rights]
holder = 'The Post & "Sons" <1>'
uses = {{ search = "allow", ai_train = "deny", tdm = "deny" }}
license = {{ name = "All rights reserved", page = "https://news.example/licence?a&b", url = "https://news.example/license.xml" }}
tdm_meta = true
[watermark]
level = "{marks}"
"""
# Mode of the guard, marks, and whether Content-Type names the charset.
SETTINGS = [
    ("attribute", "off", True),
    ("quote", "off", True),
    ("block", "off", True),
    ("attribute", "invisible-safe", True),
    ("attribute", "invisible-safe", False),
]
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def charset(page):
    """What the page says of itself. Nearly all are UTF-8, whether they say so or not."""
    found = re.search(rb"<meta[^>]+charset\s*=\s*[\"']?([\w-]+)", page[:4096], re.I)
    return found[1].decode().lower() if found else "utf-8"


def media_type(page, named):
    return f"text/html; charset={charset(page)}" if named else "text/html"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Checker:
    """One Java machine for all pages: it needs seconds to start."""

    def __init__(self, jar):
        self.port = free_port()
        self.child = subprocess.Popen(
            [
                "java",
                "-Xss8m",
                "-Dnu.validator.servlet.bind-address=127.0.0.1",
                "-cp",
                jar,
                "nu.validator.servlet.Main",
                str(self.port),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            try:
                self.check(b"<!doctype html><html lang=en><title>a</title>", "text/html; charset=utf-8")
                return
            except (OSError, ValueError):
                if self.child.poll() is not None:
                    raise SystemExit("the checker did not start") from None
                time.sleep(0.1)
        self.stop()
        raise SystemExit("the checker does not answer")

    def check(self, page, media):
        """Errors and warnings as counted texts, an example of each, and whether the parser gave up."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        link.request("POST", "/?out=json&showsource=no", page, {"Content-Type": media, "User-Agent": AGENT})
        messages = json.loads(link.getresponse().read())["messages"]
        link.close()
        kinds = {"error": collections.Counter(), "warning": collections.Counter()}
        where = {}
        for message in messages:
            kind = "error" if message["type"] in ("error", "non-document-error") else message.get("subType")
            # This one quotes the text from where the parser's buffer happens to begin.
            text = message["message"].split(" Should instead be")[0]
            # The guess of the language is drawn by chance.
            if kind in kinds and not re.search("“lang(” attribute|=)", text):
                kinds[kind][text] += 1
                where.setdefault(text, message.get("extract", ""))
        fatal = any(m.get("subType") == "fatal" for m in messages)
        return kinds, where, fatal

    def stop(self):
        self.child.terminate()
        self.child.wait(10)


NOTHING = {"error": collections.Counter(), "warning": collections.Counter()}


def compare(checker, name, was, after, media):
    """Prints what is new, and returns how many errors and warnings."""
    start = time.monotonic()
    now, where, fatal = checker.check(after, media)
    took = time.monotonic() - start
    new = {kind: now[kind] - was[kind] for kind in now}
    gone = (was["error"] - now["error"]).total()
    print(
        f"{name}: {was['error'].total()} errors, {new['error'].total()} new, {gone} gone, "
        f"{new['warning'].total()} new warnings, {took:.2f} s{', the parser gave up' if fatal else ''}"
    )
    for kind in new:
        for text, times in new[kind].items():
            print(f"  {kind} x{times}: {text}\n    {where[text].strip()!r}")
    return new["error"].total(), new["warning"].total()


def site_of(pages, named):
    class Site(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def do_GET(self):
            page = pages.get(self.path.strip("/"))
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", media_type(page or b"", named))
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            self.wfile.write(page or b"")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextlib.contextmanager
def running(deckle, config, *arguments):
    """A function that fetches from a deckle."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "deckle.toml").write_text(config)
        child = subprocess.Popen(
            [
                deckle,
                "proxy",
                "--listen",
                "127.0.0.1:0",
                "--log-dir",
                f"{directory}/log",
                "--config",
                f"{directory}/deckle.toml",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

        def fetch(path, method="GET", **fields):
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            link.request(method, path, headers={"User-Agent": AGENT, "Accept": "text/html", **fields})
            answer = link.getresponse()
            body = answer.read()
            link.close()
            return answer.status, body

        try:
            port = next(
                int(m[1]) for line in child.stdout if (m := re.search(r"listening on http://[^:]+:(\d+)", line))
            )
            yield fetch
        finally:
            child.terminate()
            child.wait(40)


def own_pages(deckle):
    """The demo site, refusals and problems."""
    with running(deckle, 'mode = "enforce"\n[action]\ncontact = "mailto:desk@example.org"\n') as fetch:
        articles = [a["path"] for a in json.loads(fetch("/api/articles.json")[1])["articles"]]
        for path in ["/", "/archive/", "/city/", "/search?q=ferry", "/nowhere", *articles]:
            yield path, fetch(path)[1]
        yield "405", fetch("/", "TRACE")[1]
        for n in range(300):
            status, body = fetch(f"/?{n}", **{"User-Agent": "python-requests/2.32"})
            if status != 200:
                yield str(status), body
                return


def main():
    jar, *rest = sys.argv[1:]
    checker = Checker(jar)
    errors = warnings = checked = 0
    start = time.monotonic()

    def add(more):
        nonlocal errors, warnings, checked
        errors, warnings, checked = errors + more[0], warnings + more[1], checked + 1

    try:
        if len(rest) == 2 and os.path.isdir(rest[1]):
            pages = {path.name: path.read_bytes() for path in sorted(Path(rest[1]).glob("*.html"))}
            before = {
                (name, named): checker.check(page, media_type(page, named))[0]
                for name, page in pages.items()
                for named in (True, False)
            }
            for mode, marks, named in SETTINGS:
                print(f"== guard {mode}, marks {marks}, charset {'named' if named else 'not named'}")
                site = site_of(pages, named)
                config = CONFIG.format(mode=mode, marks=marks)
                with running(rest[0], config, "--upstream", f"http://127.0.0.1:{site.server_port}") as fetch:
                    # Some of the marks rest on what was learned from a page before.
                    for name in pages:
                        fetch(f"/{name}")
                    for name, page in pages.items():
                        after = fetch(f"/{name}")[1]
                        if b'data-deckle="notice"' not in after:
                            print(f"{name}: nothing of deckle's in it")
                            errors += 1
                        add(compare(checker, name, before[name, named], after, media_type(page, named)))
                site.shutdown()
            print("== deckle's own")
            for name, page in own_pages(rest[0]):
                add(compare(checker, name, NOTHING, page, "text/html; charset=utf-8"))
        else:
            for one, other in zip(rest[::2], rest[1::2], strict=True):
                before, after = Path(one).read_bytes(), Path(other).read_bytes()
                media = media_type(before, True)
                add(compare(checker, other, checker.check(before, media)[0], after, media))
    finally:
        checker.stop()
    print(f"{checked} pages in {time.monotonic() - start:.1f} s: {errors} new errors, {warnings} new warnings")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
