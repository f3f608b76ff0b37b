"""Pages, deckle in front of them, its log, and `deckle trace`: what both parts of this suite need."""

import atexit
import http.client
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECRET = bytes(range(32)).hex()
ANOTHER_SECRET = bytes(range(32, 64)).hex()
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
READER = {"User-Agent": FIREFOX, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "en"}
# The highest level that this build knows is taken: what a level adds to the ones below changes nothing about them.
LEVELS = ["variants", "typographic", "invisible-safe"]
# Chance of an accident from which `deckle trace` names somebody.
LIMIT = 1e-9
# And from which it gives a shortlist.
DOUBT = 0.01
SELECTORS = re.compile("[\ufe06-\ufe0d]")
RUN = re.compile("[\ufe06-\ufe0d]{25}")
# Marks are others each day, and where a third of the gaps is marked only some days have luck enough for a figure. So what is asked
# for is asked of one day.
DAY = "2026-11-30"
# The library that makes a program believe so: Debian's libfaketime.
CLOCK = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


class Pages:
    """A server of pages in memory. `deckle` takes them from here, and so does a mirror that is given a copy."""

    def __init__(self, pages):
        answers = dict(pages)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = answers.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self.answers = answers
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Refused(Exception):
    """deckle does not start with these settings."""


class Deckle:
    """`deckle proxy` before an upstream, or before its demo site."""

    def __init__(self, program, config, upstream=None, mode="observe", secret=SECRET):
        self.dir = tempfile.TemporaryDirectory(prefix="deckle-survive-")
        self.log = Path(self.dir.name, "log")
        Path(self.dir.name, "deckle.toml").write_text(config)
        arguments = [program, "proxy", "--listen", "127.0.0.1:0", "--mode", mode, "--log-dir", str(self.log), "--config", f"{self.dir.name}/deckle.toml"]
        arguments += ["--upstream", upstream] if upstream else []
        environment = {**os.environ, "DECKLE_SECRET": secret, "DECKLE_VISITOR__RANGES__REFRESH": "0s", **on_the_day()}
        self.child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
        # Whatever ends this script ends it, too.
        atexit.register(lambda child=self.child: child.poll() is None and child.kill())
        line = self.child.stdout.readline()
        found = re.search(r"listening on http://([\d.]+):(\d+)", line)
        if not found:
            self.child.kill()
            raise Refused(self.child.stderr.read())
        self.host, self.port = found[1], int(found[2])
        for stream in (self.child.stdout, self.child.stderr):
            threading.Thread(target=stream.read, daemon=True).start()

    def get(self, path, headers=READER, source="127.0.0.1"):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60, source_address=(source, 0))
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def stop(self):
        """Ends it, and gives the lines of its log that are responses."""
        self.child.terminate()
        if self.child.wait(60):
            raise SystemExit(f"deckle ended with {self.child.returncode}")
        lines = []
        for segment in sorted(self.log.glob("*.ndjson")):
            lines += [json.loads(line) for line in segment.read_text().splitlines()]
        return [line for line in lines if "deckle.kind" not in line]


def on_the_day():
    """What makes a program believe that it runs on `DAY`. Only its date: what waits, waits as ever."""
    if not CLOCK:
        raise SystemExit("libfaketime is not installed (apt-get install libfaketime)")
    return {"LD_PRELOAD": str(CLOCK), "FAKETIME": f"@{DAY} 12:00:00", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}


def start(program, more="", **arguments):
    """deckle with white space marked everywhere, the highest level it knows, and payloads of frameworks no hindrance where
    it can be told so. Gives it and what was set."""
    refusal = None
    for level in LEVELS:
        for hydrated in ("hydrated = \"mark\"\n", ""):
            try:
                config = f"{more}[watermark]\nlevel = \"{level}\"\n{hydrated}[watermark.channels]\nwhitespace = \"always\"\n"
                return Deckle(program, config, **arguments), level, bool(hydrated)
            except Refused as error:
                refusal = error
    raise SystemExit(f"deckle does not start: {refusal}")


def other_marks(directory, count, random):
    """A log of others: `count` marks that were never sent."""
    directory.mkdir()
    with open(directory / "audit-others-20261120T100000Z-1.ndjson", "w") as file:
        for number in range(count):
            file.write(
                '{"v":1,"time":"2026-11-20T10:00:00.000Z","deckle.request.id":"r%d","http.request.method":"GET","url.path":"/x",'
                '"http.response.status_code":200,"deckle.visitor.id":"other%d","deckle.visitor.category":"browser",'
                '"deckle.mark.id":"k0-%012x"}\n' % (number, number, random.getrandbits(48))
            )


def trace(program, copies, logs, jobs=2, more=(), mark=None):
    """What `deckle trace` says of each copy: `copies` is { name: text }, and names end in .html, .md or .txt. With a `mark` the
    answer has `columns`, too: { channel: { column: bit } }, as the copy shows them, if it names that mark."""
    names = sorted(copies)
    with tempfile.TemporaryDirectory(prefix="deckle-copies-") as directory:
        for number, name in enumerate(names):
            Path(directory, f"{number}{Path(name).suffix}").write_bytes(copies[name].encode("utf-8", "surrogatepass"))
        files = [f"{number}{Path(name).suffix}" for number, name in enumerate(names)]

        def run(job):
            part, evidence = files[job::jobs], Path(directory, f"evidence-{job}")
            if not part:
                return []
            command = [program, "trace", *part, "--json", *more, *(["--evidence", str(evidence)] if mark else [])]
            for log in logs:
                command += ["--log-dir", str(log)]
            out = subprocess.run(command, cwd=directory, env={**os.environ, "DECKLE_SECRET": SECRET}, capture_output=True, text=True)
            if out.returncode not in (0, 1):
                raise SystemExit(f"deckle trace ended with {out.returncode}: {out.stderr[:2000]}")
            document = json.loads(out.stdout)
            documents = document.get("copies", [document])
            if mark:
                derivations = (evidence / "derivation.txt").read_text().split("\nCOPY ")[1:]
                for document, derivation in zip(documents, derivations, strict=True):
                    document["columns"] = columns(derivation, mark)
            return documents

        with ThreadPoolExecutor(jobs) as pool:
            parts = list(pool.map(run, range(jobs)))
    found = {}
    for job, part in enumerate(parts):
        # Copies that are read as one have one answer.
        for name, document in zip(names[job::jobs], part, strict="--joint" not in more):
            found[name] = document
    return found


def columns(derivation, mark):
    """What `derivation.txt` says that a copy shows, in the section of one mark."""
    found = {}
    for section in derivation.split("\nmark ")[1:]:
        for channel in section.split("\nchannel ")[1:]:
            lines = dict(line.strip().split(" ", 1) for line in channel.splitlines()[1:] if line.strip())
            if section.startswith(f"{mark}\n") and "live" in lines:
                live, bits = bytes.fromhex(lines["live"]), bytes.fromhex(lines["bits"])
                bit = lambda of, at: of[at // 8] >> at % 8 & 1
                found[channel.split("\n", 1)[0]] = {at: bit(bits, at) for at in range(8 * len(live)) if bit(live, at)}
    return found


def letters(text):
    """Letters and digits alone, without accents; symbols of seals stay."""
    text = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in text if c.isalnum() or "\ufe06" <= c <= "\ufe0d")


def accused(document):
    """Marks that are named beyond doubt; a shortlist of an inconclusive trace accuses nobody."""
    return [m["mark"] for m in document["matches"] if document["verdict"] == "traced" and m["p_value"] <= LIMIT]


def too_many_shortlists(documents):
    """One innocent text in a hundred may get a shortlist, which is headed INCONCLUSIVE. Many of them would be a fault."""
    short = sum(d["verdict"] == "inconclusive" for d in documents)
    return short > 3 + len(documents) // 20


def between(file, name, text):
    """Writes `text` between the markers of that name in the file; a file without them becomes the text."""
    path = Path(file)
    begin, end = f"<!-- {name}: scripts/survive writes this -->", f"<!-- /{name} -->"
    old = path.read_text() if path.exists() else ""
    if begin in old and end in old:
        text = old[: old.index(begin) + len(begin)] + "\n" + text.strip() + "\n" + old[old.index(end) :]
    path.write_text(text)
