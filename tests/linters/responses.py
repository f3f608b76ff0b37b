#!/usr/bin/env python3
"""What REDbot's linter says of responses that went through deckle, and not of the same ones straight from the site.

pip install httplint==2026.10.4
responses.py DECKLE [--all]     exit 1 if deckle adds a bad note; --all also prints the notes of the site itself
"""

import collections
import gzip
import http.server
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from email.utils import formatdate
from pathlib import Path

from httplint import HttpRequestLinter, HttpResponseLinter, levels

READER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language": "en",
}
SCRAPER = {"User-Agent": "python-requests/2.32", "Accept": "*/*"}
CONFIG = """
mode = "enforce"
[page.guard]
beacon = true
[rights]
holder = "The Post"
uses = { search = "allow", ai_train = "deny" }
license = { name = "All rights reserved", page = "https://news.example/licence", url = "https://news.example/license.xml" }
content_signal_header = true
[rights.snippet]
max_snippet = 160
"""

# What is asked wrongly on purpose is answered with a status that the linter has a bad word for.
ASKED_FOR = {"STATUS_URI_TOO_LONG", "STATUS_BAD_REQUEST"}

# --- the site ---------------------------------------------------------------------------------------------------------
WORDS = " ".join(f"The ferry left at {n} o'clock and nobody was on board." for n in range(40))
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title></head>'
    f"<body><article><h1>A page</h1><p>{WORDS}</p><p>{WORDS}</p></article></body></html>"
).encode()
IMAGE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
CHANGED = formatdate(1_790_000_000, usegmt=True)
HTML = ("Content-Type", "text/html; charset=utf-8")
VALID = [("ETag", '"v1"'), ("Last-Modified", CHANGED), ("Cache-Control", "max-age=60")]


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, fields, body=b""):
        self.send_response(status)
        for field in fields:
            self.send_header(*field)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunked(self, fields, chunks, trailers=()):
        self.send_response(200)
        for field in [*fields, ("Transfer-Encoding", "chunked"), *[("Trailer", name) for name, _ in trailers]]:
            self.send_header(*field)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n")

    def do_GET(self):
        asked = self.headers
        match self.path.partition("?")[0]:
            case "/page":
                known = (
                    asked.get("If-None-Match") == '"v1"'
                    or "If-None-Match" not in asked
                    and asked.get("If-Modified-Since") == CHANGED
                )
                self.answer(304, VALID) if known else self.answer(200, [HTML, *VALID, ("Accept-Ranges", "bytes")], PAGE)
            case "/gzip":
                zipped = "gzip" in asked.get("Accept-Encoding", "")
                tag = '"v1-gzip"' if zipped else '"v1"'
                coded = [HTML, ("ETag", tag), ("Cache-Control", "max-age=60"), ("Vary", "Accept-Encoding")]
                if asked.get("If-None-Match") == tag:
                    self.answer(304, coded[1:])
                elif zipped:
                    self.answer(200, [*coded, ("Content-Encoding", "gzip")], gzip.compress(PAGE, mtime=0))
                else:
                    self.answer(200, coded, PAGE)
            case "/public":
                self.answer(
                    200,
                    [
                        HTML,
                        ("Cache-Control", "public, max-age=600, s-maxage=3600, stale-while-revalidate=60"),
                        ("ETag", 'W/"v1"'),
                        ("Expires", formatdate(usegmt=True)),
                        ("Content-Language", "en"),
                        ("Set-Cookie", "a=b; Path=/; Secure; HttpOnly"),
                        ("Content-Digest", "sha-256=:" + "A" * 43 + "=:"),
                        ("Link", "</style.css>; rel=preload; as=style"),
                        ("X-Robots-Tag", "max-snippet:20"),
                        ("Content-Security-Policy", "default-src 'self'"),
                    ],
                    PAGE,
                )
            case "/no-store":
                self.answer(200, [HTML, ("Cache-Control", "no-store")], PAGE)
            case "/no-transform":
                self.answer(200, [HTML, ("Cache-Control", "no-transform, max-age=60"), ("ETag", '"v1"')], PAGE)
            case "/latin":
                self.answer(
                    200,
                    [("Content-Type", "text/html; charset=iso-8859-1"), *VALID],
                    PAGE.replace(b"utf-8", b"iso-8859-1").replace(b"ferry", b"f\xeary"),
                )
            case "/no-charset":
                self.answer(200, [("Content-Type", "text/html"), *VALID], PAGE)
            case "/chunked":
                self.chunked(
                    [HTML, *VALID],
                    [PAGE[:300], PAGE[300:]],
                    [("X-Sum", "1"), ("Content-Digest", "sha-256=:" + "A" * 43 + "=:")],
                )
            case "/events":
                self.chunked(
                    [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")],
                    [b"data: 1\n\n", b"data: 2\n\n"],
                )
            case "/image.png":
                image = [
                    ("Content-Type", "image/png"),
                    ("ETag", '"i1"'),
                    ("Last-Modified", CHANGED),
                    ("Accept-Ranges", "bytes"),
                    ("Cache-Control", "max-age=600"),
                ]
                if asked.get("If-None-Match") == '"i1"':
                    self.answer(304, image[1:])
                elif asked.get("Range") == "bytes=10-19":
                    self.answer(206, [*image, ("Content-Range", f"bytes 10-19/{len(IMAGE)}")], IMAGE[10:20])
                elif "Range" in asked:
                    self.answer(
                        416, [("Content-Range", f"bytes */{len(IMAGE)}"), ("Content-Type", "text/plain")], b"no\n"
                    )
                else:
                    self.answer(200, image, IMAGE)
            case "/feed.xml":
                self.answer(
                    200,
                    [("Content-Type", "application/rss+xml"), *VALID],
                    b'<?xml version="1.0"?><rss version="2.0"><channel><title>A</title></channel></rss>',
                )
            case "/robots.txt":
                self.answer(200, [("Content-Type", "text/plain"), *VALID], b"User-agent: *\nDisallow: /private/\n")
            case "/moved":
                self.answer(
                    301,
                    [HTML, ("Location", "/page")],
                    b"<!doctype html><title>Moved</title><p>See <a href=/page>there</a>.",
                )
            case "/empty":
                self.answer(204, [])
            case "/broken":
                self.answer(500, [HTML, ("Cache-Control", "no-store")], PAGE)
            case _:
                self.answer(404, [HTML], PAGE)

    do_HEAD = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(303, [("Location", "/page")])


# --- one exchange, as it is on the wire -------------------------------------------------------------------------------
class Response:
    def __init__(self, raw):
        self.head, _, rest = raw.partition(b"\r\n\r\n")
        line, *lines = self.head.split(b"\r\n")
        self.version, self.status, self.phrase = (line.split(b" ", 2) + [b""])[:3]
        self.fields = [tuple(part.strip() for part in line.split(b":", 1)) for line in lines]
        self.trailers, self.complete = [], True
        if b"chunked" in self.get(b"transfer-encoding").lower():
            self.body = b""
            while True:
                size, _, rest = rest.partition(b"\r\n")
                size = int(size.split(b";")[0] or b"0", 16)
                if size == 0:
                    break
                self.body, rest = self.body + rest[:size], rest[size + 2 :]
            self.complete = rest.endswith(b"\r\n")
            self.trailers = [tuple(p.strip() for p in t.split(b":", 1)) for t in rest.split(b"\r\n") if t]
        else:
            self.body = rest

    def get(self, name):
        return b", ".join(value for field, value in self.fields if field.lower() == name)


def fetch(port, method, path, fields, body=b""):
    """Everything up to the end of the connection: what is too much shows, too."""
    fields = {"Host": f"127.0.0.1:{port}", **fields, "Connection": "close"}
    if body:
        fields["Content-Length"] = str(len(body))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items()) + "\r\n"
    raw = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(head.encode() + body)
        while data := sock.recv(65536):
            raw += data
    return Response(raw)


def lint(port, method, path, fields, response):
    asked = HttpRequestLinter(start_time=time.time())
    asked.process_request_topline(method.encode(), f"http://127.0.0.1:{port}{path}".encode(), b"1.1")
    asked.process_headers([(n.encode(), v.encode()) for n, v in {"Host": f"127.0.0.1:{port}", **fields}.items()])
    asked.finish_content(True)
    said = HttpResponseLinter(start_time=time.time())
    said.request, said.base_uri, said.is_head_response = asked, f"http://127.0.0.1:{port}{path}", method == "HEAD"
    said.process_response_topline(response.version.removeprefix(b"HTTP/"), response.status, response.phrase)
    said.process_headers(response.fields)
    said.feed_content(response.body)
    said.finish_content(response.complete, response.trailers)
    return [one for note in said.notes for one in (note, *note.subnotes)]


# --- run ----------------------------------------------------------------------------------------------------------------
class Run:
    def __init__(self, site, deckle, show_all):
        self.site, self.deckle, self.show_all = site, deckle, show_all
        self.counts = collections.Counter()

    def bad(self, what):
        print(f"  bad   {what}")
        self.counts["BAD"] += 1

    def judge(self, method, path, fields, response, known=()):
        """Prints the notes beyond `known`, and returns all."""
        notes = lint(self.deckle, method, path, fields, response)
        left = collections.Counter(known)
        for note in notes:
            key = (type(note).__name__, note.subject if not note.subject.startswith("offset-") else "")
            ours = not left[key]
            left[key] -= not ours
            if (
                note.level not in (levels.BAD, levels.WARN)
                or not (ours or self.show_all)
                or type(note).__name__ in ASKED_FOR
            ):
                continue
            where = note.vars.get("field_name", "") or note.subject
            print(
                f"  {note.level.name.lower():<4}  {'' if ours else '(site) '}{type(note).__name__} [{where}]: {note.summary}"
            )
            if ours:
                self.counts[note.level.name] += 1
        return notes

    def both(self, what, method, path, fields=(), body=b"", through=None):
        """The same request to the site and through deckle, there with the fields `through` besides."""
        fields = {**READER, **dict(fields)}
        direct = fetch(self.site, method, path, fields, body)
        ours = {**fields, **(through or {})}
        got = fetch(self.deckle, method, path, ours, body)
        print(
            f"{what}: {method} {path[:60]} {got.status.decode()}"
            + (f" (site {direct.status.decode()})" if got.status != direct.status else "")
        )
        known = [
            (type(n).__name__, n.subject if not n.subject.startswith("offset-") else "")
            for n in lint(self.site, method, path, fields, direct)
        ]
        self.judge(method, path, ours, got, known)
        self.counts["exchanges"] += 1
        return got

    def tags_differ(self, one, other):
        """A strong tag names bytes: it differs from coding to coding (RFC 9110 §8.8.3.3)."""
        tag = one.get(b"etag")
        if (
            tag
            and not tag.startswith(b"W/")
            and tag == other.get(b"etag")
            and one.get(b"content-encoding") != other.get(b"content-encoding")
        ):
            self.bad(f"one strong tag, {tag.decode()}, for two codings")

    def same_fields(self, got, head):
        """HEAD says what GET says, but for the length (RFC 9110 §9.3.2)."""
        skip = (b"date", b"content-length", b"transfer-encoding", b"trailer")
        for name in {name.lower() for name, _ in got.fields + head.fields}:
            if name not in skip and got.get(name) != head.get(name):
                self.bad(f"{name.decode()} differs: GET {got.get(name).decode()!r}, HEAD {head.get(name).decode()!r}")

    def own(self, what, method, path, fields=READER, body=b"", expect=None, got=None):
        """An answer of deckle's own."""
        got = got or fetch(self.deckle, method, path, fields, body)
        print(f"{what}: {method} {path[:60]} {got.status.decode()}")
        if expect and got.status != expect:
            self.bad(f"expected {expect.decode()}")
        if got.status == b"405" and not got.get(b"allow"):
            self.bad("405 without Allow (RFC 9110 §15.5.6)")
        self.judge(method, path, fields, got)
        self.counts["exchanges"] += 1
        return got


def check(run):
    page = run.both("page with ETag and Last-Modified", "GET", "/page")
    tag = {"If-None-Match": page.get(b"etag").decode()}
    run.both("revalidation by tag", "GET", "/page", {"If-None-Match": '"v1"'}, through=tag)
    run.both(
        "revalidation by tag and date",
        "GET",
        "/page",
        {"If-None-Match": '"v1"', "If-Modified-Since": CHANGED},
        through=tag,
    )
    run.both("revalidation by date", "GET", "/page", {"If-Modified-Since": CHANGED})
    run.same_fields(page, run.both("HEAD of a page", "HEAD", "/page"))
    run.both("HEAD, revalidated", "HEAD", "/page", {"If-None-Match": '"v1"'}, through=tag)
    run.both("part of a page", "GET", "/page", {"Range": "bytes=0-99"})
    coded = run.both("gzip", "GET", "/gzip", {"Accept-Encoding": "gzip, deflate, br, zstd"})
    run.both(
        "gzip, revalidated",
        "GET",
        "/gzip",
        {"Accept-Encoding": "gzip", "If-None-Match": '"v1-gzip"'},
        through={"If-None-Match": coded.get(b"etag").decode()},
    )
    plain = run.both("gzip, not wanted", "GET", "/gzip", {"Accept-Encoding": "identity"})
    run.tags_differ(plain, coded)
    run.both("gzip, no Accept-Encoding", "GET", "/gzip")
    run.both("for shared caches, with cookie, digest and policy", "GET", "/public")
    run.both("no-store", "GET", "/no-store")
    run.both("no-transform", "GET", "/no-transform")
    run.both("ISO-8859-1", "GET", "/latin")
    run.both("no charset", "GET", "/no-charset")
    chunked = run.both("chunked, with trailers", "GET", "/chunked", {"TE": "trailers"})
    if any(name.lower() == b"content-digest" for name, _ in chunked.trailers):
        run.bad("the digest of another body in the trailers")
    run.both("events", "GET", "/events", {"Accept": "text/event-stream"})
    run.both("image", "GET", "/image.png")
    run.both("image, HEAD", "HEAD", "/image.png")
    run.both("image, revalidated", "GET", "/image.png", {"If-None-Match": '"i1"'})
    run.both("part of an image", "GET", "/image.png", {"Range": "bytes=10-19"})
    run.both("part that is not there", "GET", "/image.png", {"Range": "bytes=9000-"})
    run.both("feed", "GET", "/feed.xml")
    run.both("robots.txt", "GET", "/robots.txt")
    run.both("robots.txt, HEAD", "HEAD", "/robots.txt")
    run.both("redirect", "GET", "/moved")
    run.both("form", "POST", "/form", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b")
    run.both("no content", "GET", "/empty")
    run.both("not found", "GET", "/nowhere")
    run.both("error of the site", "GET", "/broken")

    source = re.search(rb'src="(/\.deckle/[^"]+)"', page.body)[1].decode()
    guard = run.own("guard", "GET", source, expect=b"200")
    run.same_fields(guard, run.own("guard, HEAD", "HEAD", source, expect=b"200"))
    run.tags_differ(guard, run.own("guard, gzip", "GET", source, {**READER, "Accept-Encoding": "gzip"}, expect=b"200"))
    if etag := guard.get(b"etag"):
        run.own("guard, revalidated", "GET", source, {**READER, "If-None-Match": etag.decode()}, expect=b"304")
    run.own("guard, POST", "POST", source, body=b"x")
    run.own("guard of another version", "GET", re.sub(r"\.[0-9a-f]+\.js", ".0000000000000000.js", source))
    run.own("unknown below the mount", "GET", "/.deckle/nothing")
    told = json.dumps({"kind": "copy", "length": 1, "path": "/page"}).encode()
    run.own(
        "beacon",
        "POST",
        "/.deckle/copied",
        {**READER, "Content-Type": "application/json", "Origin": f"http://127.0.0.1:{run.deckle}"},
        told,
    )
    run.own("beacon, GET", "GET", "/.deckle/copied")
    run.own("TDMRep", "GET", "/.well-known/tdmrep.json", expect=b"200")
    run.own("licence", "GET", "/license.xml", {**READER, "Host": "news.example"}, expect=b"200")
    run.own("licence, HEAD", "HEAD", "/license.xml", {**READER, "Host": "news.example"})
    run.own("TRACE", "TRACE", "/page", expect=b"405")
    run.own("a coding that is not known", "POST", "/form", {**READER, "Transfer-Encoding": "gzip, chunked"})
    run.own("no valid host", "GET", "/page", {**READER, "Host": "a b"}, expect=b"400")
    run.own("expectation", "POST", "/form", {**READER, "Expect": "the best"}, expect=b"417")
    run.own("path too long", "GET", "/" + "a" * 17_000, expect=b"414")
    for accept in ["*/*", "text/html", "application/json"]:
        asked = {**SCRAPER, "Accept": accept}
        for n in range(300):
            got = fetch(run.deckle, "GET", f"/page?n={n}", asked)
            if got.status != b"200":
                break
        run.own(f"limited, {accept}", "GET", f"/page?n={n}", asked, expect=b"429", got=got)
    run.own("limited, HEAD", "HEAD", "/page?last", SCRAPER)
    robot = {"User-Agent": "SemrushBot/7", "Accept": "*/*"}
    for path in ["/robots.txt", "/page?a", "/page?b"]:
        fetch(run.deckle, "GET", path, robot)
    told = run.own("limited, told the quota", "GET", "/page?c", robot, expect=b"429")
    if not told.get(b"ratelimit"):
        run.bad("a robot that reads the rules is not told its quota")


def start(deckle, directory, *arguments):
    child = subprocess.Popen(
        [deckle, "proxy", "--listen", "127.0.0.1:0", "--log-dir", directory, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    for line in child.stdout:
        if found := re.search(r"listening on http://[^:]+:(\d+)", line):
            return child, int(found[1])
    raise SystemExit(f"deckle ended with {child.wait()}")


def main():
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    site.daemon_threads = True
    threading.Thread(target=site.serve_forever, daemon=True).start()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "deckle.toml")
        config.write_text(CONFIG)
        child, port = start(
            sys.argv[1], f"{directory}/log", "--config", config, "--upstream", f"http://127.0.0.1:{site.server_port}"
        )
        run = Run(site.server_port, port, "--all" in sys.argv)
        # A second one, before a port where nobody listens.
        nobody = socket.create_server(("127.0.0.1", 0))
        nowhere = nobody.getsockname()[1]
        nobody.close()
        lost, lost_port = start(sys.argv[1], f"{directory}/lost", "--upstream", f"http://127.0.0.1:{nowhere}")
        try:
            check(run)
            run.deckle = lost_port
            run.own("site is down", "GET", "/page", expect=b"502")
            run.own("site is down, JSON", "GET", "/page", {**READER, "Accept": "application/json"}, expect=b"502")
            run.own("site is down, HEAD", "HEAD", "/page", expect=b"502")
        finally:
            for one in (child, lost):
                one.terminate()
                one.wait(40)
    counts = f"{run.counts['BAD']} bad, {run.counts['WARN']} warnings that the site's own answers do not have"
    print(f"{run.counts['exchanges']} exchanges in {time.monotonic() - began:.1f} s: {counts}")
    sys.exit(1 if run.counts["BAD"] else 0)


if __name__ == "__main__":
    main()
