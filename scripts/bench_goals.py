#!/usr/bin/env python3
"""The goals of docs/performance.md: peers take turns on loopback, and ratios of what they cost are held against limits. Called
by scripts/bench, which says with which options, and builds what is measured."""

import argparse
import contextlib
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

DECKLE = "target/release/deckle"
PEERS = "target/release/examples/peers"
DECIDE = "target/release/examples/decide"
DOCUMENT = Path("docs/performance.md")
# A→Z, Z→A, A→Z; and again with so many where a ratio is that near to its limit.
ROUNDS, MORE_ROUNDS, NEAR = 3, 5, 0.1
WARM_UP_SECONDS = 1
INSERTED = '<meta name="copyright" content="All rights reserved">'
# Every gap between words is a slot, and a page leaves as the client likes it.
SETTINGS = {
    "DECKLE_PAGE__COMPRESS": "true",
    "DECKLE_WATERMARK__CHANNELS__WHITESPACE": "always",
    "DECKLE_VISITOR__RANGES__REFRESH": "0s",
    "TOKIO_WORKER_THREADS": "1",
}


# --- processes --------------------------------------------------------------------------------------------------------
def cores():
    """The core of the tested server, and those of all others."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[:1], mine[1:] or mine[:1]


def on(core, command):
    pin = ["taskset", "-c", ",".join(map(str, core))] if shutil.which("taskset") else []
    return [*pin, *map(str, command)]


class Server:
    """A process of its own that listens on loopback."""

    def __init__(self, command, core, port=None):
        out = subprocess.DEVNULL if port else subprocess.PIPE
        self.process = subprocess.Popen(on(core, command), stdout=out, stderr=subprocess.DEVNULL, env=os.environ | SETTINGS, text=True)
        self.port = port or self.said()
        if port:
            self.wait()

    def said(self):
        """Where it says that it listens."""
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                # What it says later is read, so that it never waits for a reader.
                threading.Thread(target=lambda: all(True for _ in self.process.stdout), daemon=True).start()
                return int(found[1])
        raise SystemExit(f"{self.process.args} does not start")

    def wait(self):
        end = time.monotonic() + 10
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{self.process.args} does not start") from None
                time.sleep(0.05)

    def cpu(self):
        """Seconds that all its threads have taken, of the user and of the system (proc_pid_stat(5), fields 14 and 15)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat[stat.rindex(")") + 2 :].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; tcp_nopush on; keepalive_requests 1000000000; proxy_max_temp_file_size 0;
    client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c; uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
    limit_req_zone $binary_remote_addr zone=visitors:10m rate=1000000r/s;
    upstream site {{ server 127.0.0.1:{site}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection ""; {more} }}
    }}
}}
"""
SUB_FILTER = f"""proxy_set_header Accept-Encoding ""; limit_req zone=visitors burst=100000 nodelay;
    sub_filter '</head>' '{INSERTED}</head>';"""
GZIP = "gzip on; gzip_comp_level 6; gzip_proxied any;"


class Lab:
    """The site, and a server for each name that is asked for; all of them end with it."""

    def __init__(self, stack, page):
        self.stack, self.page = stack, page
        self.tested, self.others = cores()
        self.servers = {}
        self.dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deckle-goals-")))
        self.site = self.start([PEERS, "site", page], self.others)

    def start(self, command, core, port=None):
        server = Server(command, core, port)
        self.stack.callback(server.stop)
        return server

    def server(self, name):
        if name not in self.servers:
            self.servers[name] = self.nginx(name) if name.startswith("nginx") else self.start(self.command(name), self.tested)
        return self.servers[name]

    def command(self, name):
        site = f"http://127.0.0.1:{self.site.port}"
        return {
            "axum": [PEERS, "site", self.page],
            "axum + governor": [PEERS, "governed", self.page],
            "proxy": [PEERS, "proxy", site],
            "page stage": [PEERS, "page", site],
            "deckle": [DECKLE, "proxy", "--listen", "127.0.0.1:0", "--upstream", site, "--log-dir", self.dir / "log"],
        }[name]

    def nginx(self, name):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        more = {"nginx": "", "nginx sub_filter": SUB_FILTER, "nginx sub_filter gzip": SUB_FILTER + GZIP}[name]
        place = self.dir / f"nginx-{port}"
        place.mkdir()
        (place / "nginx.conf").write_text(NGINX.format(dir=place, site=self.site.port, port=port, more=more))
        return self.start([nginx(), "-p", place, "-c", place / "nginx.conf", "-e", "stderr"], self.tested, port)


def nginx():
    unpacked = Path("target/nginx/usr/sbin/nginx").absolute()
    return shutil.which("nginx") or (unpacked if unpacked.exists() else None)


# --- whole answers ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Row:
    """What is asked of a server."""

    server: str
    path: str = "/article"
    coding: str = "identity"

    def __str__(self):
        return f"{self.server}, {self.path}, {self.coding}"


def ask(port, row):
    """The body without its coding, and the coding."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    connection.request("GET", row.path, headers={"Accept": "text/html", "Accept-Encoding": row.coding, "User-Agent": browser})
    answer = connection.getresponse()
    body, coding = answer.read(), answer.getheader("Content-Encoding", "identity")
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{row}: {answer.status}")
    return (gzip.decompress(body) if coding == "gzip" else body), coding


def check(row, body, coding, source):
    """Is the answer what its row is about?"""
    page = row.path != "/picture.jpg"
    if row.server in ("page stage", "deckle") and page:
        right = b"data-deckle" in body and len(body) > len(source)
    elif row.server.startswith("nginx sub"):
        right = body == source.replace(b"</head>", f"{INSERTED}</head>".encode(), 1) != source
    else:
        right = body == source
    if not right or coding != row.coding:
        raise SystemExit(f"{row}: not the answer that is to be measured ({coding}, {len(body)} bytes)")


def load(lab, row, seconds):
    """One run: CPU of the tested process in microseconds a request, and what the clients saw."""
    server = lab.server(row.server)
    command = [PEERS, "load", f"127.0.0.1:{server.port}", row.path, row.coding, seconds]
    before = server.cpu()
    out = subprocess.run(on(lab.others, command), stdout=subprocess.PIPE, check=True).stdout
    spent, seen = server.cpu() - before, json.loads(out)
    if not spent:
        raise SystemExit(f"{row}: no CPU time was counted; --seconds is too short")
    requests = seen["requests"]
    return {
        "cpu_us": round(spent * 1e6 / requests, 2),
        "requests_per_s": round(requests / seen["seconds"]),
        "p50_us": seen["p50_us"],
        "p99_us": seen["p99_us"],
        "bytes": seen["bytes"] // requests,
    }


def measure(lab, rows, rounds, seconds):
    """All rows by turns: what each of them took, run by run."""
    source = lab.page.read_bytes()
    for row in rows:
        # The first answers teach what a mark needs to know, and make the plan.
        for _ in range(4):
            body, coding = ask(lab.server(row.server).port, row)
        check(row, body, coding, source)
        load(lab, row, min(WARM_UP_SECONDS, seconds))
    runs = {row: [] for row in rows}
    for turn in range(rounds):
        for row in rows if turn % 2 == 0 else reversed(rows):
            runs[row].append(load(lab, row, seconds))
    return {row: {key: [run[key] for run in of] for key in of[0]} for row, of in runs.items()}


# --- goals ------------------------------------------------------------------------------------------------------------
@dataclass
class Part:
    """One figure of a goal, and its limit; without a value a peer was missing."""

    what: str
    value: float | None
    at_most: float
    unit: str = ""

    def holds(self):
        return self.value is None or self.value <= self.at_most

    def is_near(self):
        return self.value is not None and abs(self.value / self.at_most - 1) <= NEAR


@dataclass
class Goal:
    """`measure(rounds)` gives the parts and what they are made of. `packed`: it is a goal for the packed form of pages; without
    that what is measured is only told. `told`: it is no goal at all."""

    what: str
    measure: Callable
    rounds: int = 1
    packed: bool = False
    told: bool = False


class Suite:
    """What measures goals."""

    def __init__(self, lab, pages, seconds):
        self.lab, self.pages, self.seconds = lab, pages, seconds
        self.reports = {}

    def served(self, *parts):
        """CPU of whole answers: (what, row, the row beside it, limit)."""

        def measure_parts(rounds):
            rows = list(dict.fromkeys(row for _, row, peer, _ in parts for row in (row, peer) if can_run(row)))
            runs = measure(self.lab, rows, rounds, self.seconds)
            cpu = {row: statistics.median(of["cpu_us"]) for row, of in runs.items()}
            made = [Part(what, cpu[row] / cpu[peer] if peer in cpu else None, limit) for what, row, peer, limit in parts]
            return made, {str(row): of for row, of in runs.items()}

        return measure_parts

    def told(self, *rows):
        """CPU of whole answers, held against nothing."""

        def measure_parts(rounds):
            runs = measure(self.lab, [row for row in rows if can_run(row)], rounds, self.seconds)
            return [], {str(row): of for row, of in runs.items()}

        return measure_parts

    def in_process(self, *parts):
        """Of `deckle bench`: (what, keys of a figure, keys of the figure beside it, how all pages make one ratio, limit). Figures of
        several keys are added up."""

        def measure_parts(rounds):
            reports, made = self.bench(rounds), []
            for what, keys, beside, become, limit in parts:
                complete = [of for of in reports.values() if {*keys, *beside} <= of.keys()]
                if complete:
                    figures = [(added(of, keys), added(of, beside), of["bytes.source"]) for of in complete]
                    made.append(Part(what, become(figures), limit))
            used = {key for _, keys, beside, _, _ in parts for key in (*keys, *beside)}
            return made, {name: {key: of[key] for key in sorted(used & of.keys())} for name, of in reports.items()}

        return measure_parts

    def decision(self, *parts):
        """Of `decide`: (what, its value, limit, unit)."""

        def measure_parts(rounds):
            runs = [json.loads(subprocess.run([DECIDE], stdout=subprocess.PIPE, check=True).stdout) for _ in range(rounds)]
            figures = medians(runs)
            return [Part(what, value(figures), limit, unit) for what, value, limit, unit in parts], {"decide": figures}

        return measure_parts

    def bench(self, rounds):
        """Medians of so many runs of `deckle bench`, page by page."""
        if rounds not in self.reports:
            runs = {page.stem: [self.bench_page(page) for _ in range(rounds)] for page in self.pages}
            self.reports[rounds] = {name: medians(of) for name, of in runs.items() if all(of)}
        return self.reports[rounds]

    def bench_page(self, page):
        command = on(self.lab.tested, [DECKLE, "bench", "--json", page])
        out = subprocess.run(command, capture_output=True, text=True, env=os.environ | SETTINGS, check=False)
        if out.returncode != 0:
            print(f"{page.name} is left out: {out.stderr.strip()}", file=sys.stderr)
            return {}
        report = json.loads(out.stdout)
        return {f"{part}.{key}": value for part in ("bytes", "nanoseconds", "packed") for key, value in (report[part] or {}).items()}

    def has_packed(self):
        return any("packed.patch_ns" in of for of in self.bench(1).values())


def can_run(row):
    return not row.server.startswith("nginx") or nginx() is not None


def medians(runs):
    """Key by key; a figure that a run lacks is left out."""
    keys = [key for key in runs[0] if all(run[key] is not None for run in runs)]
    return {key: statistics.median(run[key] for run in runs) for key in keys}


def added(figures, keys):
    return sum(figures[key] for key in keys)


def total(figures):
    return sum(of for of, _, _ in figures) / sum(beside for _, beside, _ in figures)


def middle(figures):
    return statistics.median(of / beside for of, beside, _ in figures)


def worst_over_2_kb(figures):
    return max((of / beside for of, beside, source in figures if source > 2_048), default=0)


def unmeasured(_rounds):
    """No program measures it yet."""
    return [], {}


PAGE, PAGE_GZIP, PAGE_CODED = Row("page stage"), Row("page stage", coding="gzip"), Row("page stage", "/coded/article", "gzip")
PAGE_VALIDATED, PICTURE = Row("page stage", "/validated/article", "gzip"), Row("page stage", "/picture.jpg")
PROXY, PROXY_CODED, PROXY_PICTURE = Row("proxy"), Row("proxy", "/coded/article", "gzip"), Row("proxy", "/picture.jpg")
SUB, SUB_GZIP = Row("nginx sub_filter"), Row("nginx sub_filter gzip", coding="gzip")
AXUM, DECKLE_ALL, DECKLE_GZIP = Row("axum"), Row("deckle"), Row("deckle", coding="gzip")
TOLD = [AXUM, Row("axum", "/coded/article", "gzip"), Row("axum + governor"), Row("nginx"), PROXY, PROXY_CODED, SUB, SUB_GZIP]
TOLD += [PAGE, PAGE_GZIP, PAGE_CODED, DECKLE_ALL, DECKLE_GZIP, Row("deckle", "/picture.jpg")]

SOURCE, GZIP_6, FULL, QUICK = (["bytes.source"], ["bytes.gzip_6"], ["packed.full_bytes"], ["packed.quick_bytes"])
FIRST, FIRST_GZIP = ["nanoseconds.first_sight"], ["nanoseconds.first_sight_gzip_6"]
PLAIN, PLAIN_GZIP = ["nanoseconds.plain_pass"], ["nanoseconds.plain_pass_gzip_6"]
SPLICE_1, SPLICE_6 = ["nanoseconds.known", "nanoseconds.gzip_1"], ["nanoseconds.known", "nanoseconds.gzip_6"]
QUICK_TIME, FULL_TIME = ["packed.quick_ns"], ["packed.full_ns"]
GZIP_6_TIME, PATCH, HELD = ["nanoseconds.gzip_6"], ["packed.patch_ns"], ["packed.held_bytes"]


def goals(suite):
    """Limits are those of docs/performance.md."""
    served, in_process, decision = suite.served, suite.in_process, suite.decision
    g1 = in_process(("splice and gzip 6", PATCH, SPLICE_6, middle, 1 / 300), ("splice and gzip 1", PATCH, SPLICE_1, middle, 1 / 100))
    g2 = in_process(
        ("gzip 6, full effort, median", FULL, GZIP_6, middle, 1.0),
        ("gzip 6, full effort, worst page over 2 KB", FULL, GZIP_6, worst_over_2_kb, 1.04),
        ("gzip 6, quick effort, median", QUICK, GZIP_6, middle, 1.02),
    )
    g3 = served(
        ("bare proxy that passes gzip on", PAGE_GZIP, PROXY_CODED, 2.0),
        ("nginx sub_filter, limit_req, gzip 6", PAGE_GZIP, SUB_GZIP, 1 / 30),
        ("bare proxy that passes gzip on, as the site sends gzip", PAGE_CODED, PROXY_CODED, 1.3),
        ("bare proxy that passes gzip on, as the site answers 304", PAGE_VALIDATED, PROXY_CODED, 1.3),
    )
    g4 = served(("bare proxy", PAGE, PROXY, 1.25), ("nginx sub_filter, limit_req", PAGE, SUB, 0.65))
    g6 = decision(
        ("keyed check of governor", lambda of: of["decide_ns"] / of["governor_ns"], 40, ""),
        ("", lambda of: of["decide_allocations"], 3, "allocations"),
    )
    g7 = decision(("", lambda of: of["audit_p50_ns"] / 1e3, 2, "µs"), ("", lambda of: of["audit_allocations"], 3, "allocations"))
    g12 = in_process(("gzip 6, quick effort", QUICK_TIME, GZIP_6_TIME, total, 1 / 0.4), ("gzip 6, full effort", FULL_TIME, GZIP_6_TIME, total, 1 / 0.05))
    return {
        "peers": Goal("whole answers of all peers", suite.told(*TOLD), ROUNDS, told=True),
        "G1": Goal("known page, gzip: its body", g1, packed=True),
        "G2": Goal("size of the packed form", g2, packed=True),
        "G3": Goal("known page, gzip, whole answer", g3, ROUNDS, packed=True),
        "G4": Goal("known page, identity, whole answer", g4, ROUNDS),
        "G5": Goal("first sight, identity: its body", in_process(("lol_html, two handlers", FIRST, PLAIN, total, 4.0))),
        "G5b": Goal("first sight, gzip: its body", in_process(("lol_html, two handlers, gzip 6", FIRST_GZIP, PLAIN_GZIP, total, 1.1))),
        "G6": Goal("identify, assess and decide", g6),
        "G7": Goal("a record of the log, on the request path, median", g7),
        "G8": Goal("known page, gzip, whole answer, all stages", served(("page stage alone", DECKLE_GZIP, PAGE_GZIP, 1.25)), ROUNDS, packed=True),
        "G9": Goal("a picture, whole answer", served(("bare proxy", PICTURE, PROXY_PICTURE, 1.05)), ROUNDS),
        "G10": Goal("memory of a plan", in_process(("the page", HELD, SOURCE, total, 0.5)), packed=True),
        "G11": Goal("memory of an answer in flight", unmeasured, packed=True),
        "G12": Goal("time to pack", g12, packed=True),
        "G13": Goal("p99 of other answers while pages are packed", unmeasured, packed=True),
    }


def judge(goal, suite):
    """Status, parts, and what they are made of."""
    parts, peers = goal.measure(goal.rounds)
    if any(part.is_near() for part in parts):
        parts, peers = goal.measure(MORE_ROUNDS)
    if goal.told:
        status = "told"
    elif goal.packed and not suite.has_packed():
        status = "not built"
    elif not all(part.holds() for part in parts):
        status = "missed"
    else:
        status = "ok" if parts and all(part.value is not None for part in parts) else "not measured"
    return status, parts, peers


# --- what is said -----------------------------------------------------------------------------------------------------
def number(value, unit, form=".2f"):
    if value is None:
        return "not measured"
    short = f"1/{1 / value:.0f}" if 0 < value < 0.1 else format(value, form)
    return f"{short} {unit or '×'}"


def line(name, goal, status, parts, peers):
    made = [{"beside": p.what, "value": p.value, "at_most": p.at_most, "unit": p.unit or "ratio", "holds": p.holds()} for p in parts]
    return json.dumps({"goal": name, "what": goal.what, "status": status, "parts": made, "peers": peers}, ensure_ascii=False)


def text(name, goal, status, parts, peers):
    out = [f"{name:<6} {status:<13} {goal.what}"]
    out += [f"       {number(p.value, p.unit):>16} {p.what} (at most {number(p.at_most, p.unit, 'g')})" for p in parts]
    if status == "told":
        out += [f"       {statistics.median(of['cpu_us']):>13.1f} µs {row}" for row, of in peers.items()]
    return "\n".join(out)


def tables(results):
    """Markdown: goals, and the peers that they are made of."""
    said = subprocess.run([nginx(), "-v"], capture_output=True, text=True, check=False).stderr if nginx() else ""
    version = re.search(r"nginx/([\d.]+)", said)
    out = [f"{os.cpu_count()} cores, nginx {version[1] if version else 'not there'}.", ""]
    out += ["| goal | what | beside | at most | measured | status |", "|---|---|---|---|---|---|"]
    for name, (goal, status, parts, _) in results.items():
        for part in parts or ([] if status == "told" else [Part("", None, 0)]):
            limit = number(part.at_most, part.unit, "g") if parts else ""
            out.append(f"| {name} | {goal.what} | {part.what} | {limit} | {number(part.value, part.unit)} | {status} |")
    rows = results["peers"][3]
    bare = statistics.median(rows[str(AXUM)]["cpu_us"])
    out += ["", "| server | path | coding | CPU µs a request (runs) | × axum | requests a second |", "|---|---|---|---|---|---|"]
    for row, of in rows.items():
        cpu = statistics.median(of["cpu_us"])
        span = f"{cpu:.1f} ({min(of['cpu_us']):.1f}–{max(of['cpu_us']):.1f})"
        out.append(f"| {row.replace(', ', ' | ')} | {span} | {cpu / bare:.2f} | {statistics.median(of['requests_per_s']):,.0f} |")
    return "\n".join(out)


def record(text):
    begin, end = "<!-- goals: scripts/bench writes this -->", "<!-- /goals -->"
    old = DOCUMENT.read_text()
    DOCUMENT.write_text(old[: old.index(begin) + len(begin)] + "\n" + text + "\n" + old[old.index(end) :])


def corpus(directory):
    """Pages of the corpus by size, or one made article."""
    pages = Path(os.environ.get("DECKLE_CORPUS", "../shared/corpus"), "pages")
    found = sorted(pages.glob("*.html"), key=lambda page: page.stat().st_size)
    if not found:
        print(f"no pages at {pages}: one made article is measured (set DECKLE_CORPUS)", file=sys.stderr)
        words = "<p>The committee said on Monday that it would not publish the full report.</p>\n" * 2_300
        found = [Path(directory, "made.html")]
        found[0].write_text(f"<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article>{words}</article></body></html>")
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--goals", action="store_true")
    arguments.add_argument("--goal", action="append", default=[])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--seconds", type=float, default=5)
    arguments.add_argument("--strict", action="store_true")
    arguments.add_argument("--record", action="store_true")
    arguments = arguments.parse_args()
    if arguments.goals == bool(arguments.goal) or (arguments.record and not arguments.goals):
        sys.exit("either --goals or --goal ID; --record with --goals")
    if not Path("/proc/self/stat").exists():
        print("skipped: CPU time of other processes is read from /proc")
        return
    with contextlib.ExitStack() as stack:
        pages = corpus(stack.enter_context(tempfile.TemporaryDirectory(prefix="deckle-goals-")))
        suite = Suite(Lab(stack, pages[len(pages) // 2]), pages, arguments.seconds)
        all_goals = goals(suite)
        unknown = set(arguments.goal) - all_goals.keys()
        if unknown:
            sys.exit(f"no such goal: {', '.join(sorted(unknown))}; there are {', '.join(all_goals)}")
        results = {}
        for name in arguments.goal or all_goals:
            goal = all_goals[name]
            results[name] = (goal, *judge(goal, suite))
            print((line if arguments.json else text)(name, *results[name]), flush=True)
    if arguments.record:
        record(tables(results))
    bad = {"missed", "not built", "not measured"} if arguments.strict else {"missed"}
    missed = [name for name, (_, status, _, _) in results.items() if status in bad]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
        sys.exit(3)


main()
