#!/usr/bin/env python3
"""The goals of docs/performance.md: peers take turns on loopback, and ratios of what they cost are held against limits. Called
by scripts/bench, which says with which options, and builds what is measured."""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from bench_lab import DECKLE, SETTINGS, Lab, Row, Unmeasured, can_run, in_flight, measure, nginx, on, tails

DECIDE = "target/dist/examples/decide"
DOCUMENT = Path("docs/performance.md")
# A→Z, Z→A, A→Z; and again with so many where a ratio is that near to its limit, while there is time for it.
ROUNDS, MORE_ROUNDS, NEAR = 3, 5, 0.1
TIME = 600


# --- goals ------------------------------------------------------------------------------------------------------------
@dataclass
class Part:
    """One figure of a goal, run by run, and its limit; `missing`: why there is none."""

    what: str
    runs: list[float]
    at_most: float
    unit: str = ""
    missing: str = ""

    def value(self):
        return statistics.median(self.runs) if self.runs else None

    def holds(self):
        return self.value() <= self.at_most if self.runs else None

    def is_near(self):
        return bool(self.runs) and abs(self.value() / self.at_most - 1) <= NEAR


@dataclass
class Goal:
    """`measure(rounds)` gives the parts and what they are made of. `told`: it is no goal at all."""

    what: str
    measure: Callable
    told: bool = False


@dataclass
class Result:
    """What became of a goal, and what its parts are made of."""

    goal: Goal
    status: str
    parts: list[Part] = field(default_factory=list)
    peers: dict = field(default_factory=dict)
    why: str = ""


class Suite:
    """What measures goals."""

    def __init__(self, lab, pages, seconds):
        self.lab, self.pages, self.seconds = lab, pages, seconds
        # Runs of programs that measure in their own process; more are added when they are asked for.
        self.reports, self.decisions = [], []
        self.left_out = set()

    def served(self, *parts):
        """CPU of whole answers: (what, row, the row beside it, limit). A ratio is one of a turn."""

        def measure_parts(rounds):
            rows = list(dict.fromkeys(row for _, row, peer, _ in parts for row in (row, peer) if can_run(row)))
            runs = measure(self.lab, rows, rounds, self.seconds)
            made = []
            for what, row, peer, limit in parts:
                if peer in runs:
                    made.append(Part(what, [a / b for a, b in zip(runs[row]["cpu_us"], runs[peer]["cpu_us"])], limit))
                else:
                    made.append(Part(what, [], limit, missing="there is no nginx"))
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
            runs, made = self.bench(rounds), []
            for what, keys, beside, become, limit in parts:
                ratios = [become(found) for run in runs if (found := figures(run, keys, beside))]
                made.append(Part(what, ratios, limit, missing="" if ratios else "no page has these figures"))
            used = {key for _, keys, beside, _, _ in parts for key in (*keys, *beside)}
            return made, {name: {key: [run[name].get(key) for run in runs] for key in sorted(used)} for name in runs[0]}

        return measure_parts

    def decision(self, *parts):
        """Of `decide`: (what, its value, limit, unit)."""

        def measure_parts(rounds):
            while len(self.decisions) < rounds:
                run = subprocess.run(on(self.lab.tested, [DECIDE]), capture_output=True, text=True, check=False)
                if run.returncode != 0:
                    raise Unmeasured(f"{DECIDE} ends with {run.returncode}: {run.stderr.strip()[-300:]}")
                self.decisions.append(json.loads(run.stdout))
            made = [Part(what, [value(run) for run in self.decisions], limit, unit) for what, value, limit, unit in parts]
            return made, {"decide": {key: [run[key] for run in self.decisions] for key in self.decisions[0]}}

        return measure_parts

    def memory(self, limit):
        """KiB of an answer in flight: that of all slow readers together by their number, or what more of them take."""

        def measure_parts(rounds):
            runs = [in_flight(self.lab) for _ in range(rounds)]
            kib = [max(run["of 256"], run["one more"]) for run in runs]
            return [Part("", kib, limit, "KiB")], {"deckle": {key: [run[key] for run in runs] for key in runs[0]}}

        return measure_parts

    def tail(self, limit):
        """p99 while pages are packed, against that without."""

        def measure_parts(rounds):
            runs = [tails(self.lab) for _ in range(rounds)]
            ratios = [run["packing_us"] / run["without_us"] for run in runs]
            return [Part("the same without", ratios, limit)], {"deckle": {key: [run[key] for run in runs] for key in runs[0]}}

        return measure_parts

    def bench(self, rounds):
        """So many runs of `deckle bench` over all pages: what each of them said of each page."""
        while len(self.reports) < rounds:
            run = {page.stem: self.bench_page(page) for page in self.pages if page not in self.left_out}
            self.reports.append({name: of for name, of in run.items() if of})
        names = set.intersection(*(set(run) for run in self.reports))
        if not names:
            raise Unmeasured("no page can be measured")
        return [{name: run[name] for name in sorted(names)} for run in self.reports]

    def bench_page(self, page):
        command = on(self.lab.tested, [DECKLE, "bench", "--json", page])
        out = subprocess.run(command, capture_output=True, text=True, env=os.environ | SETTINGS, check=False)
        if out.returncode != 0:
            self.left_out.add(page)
            print(f"{page.name} is left out: {out.stderr.strip()}", file=sys.stderr)
            return {}
        report = json.loads(out.stdout)
        if not report["packed"] and not self.reports:
            print(f"{page.name} is not packed: it counts for goals that do not ask for that", file=sys.stderr)
        parts = {part: report[part] or {} for part in ("bytes", "nanoseconds", "packed")}
        return {f"{part}.{key}": value for part, of in parts.items() for key, value in of.items() if value is not None}


def figures(run, keys, beside):
    """Of each page that has them all: the one, the other, and its length."""
    complete = [of for of in run.values() if {*keys, *beside} <= of.keys()]
    return [(added(of, keys), added(of, beside), of["bytes.source"]) for of in complete]


def added(of, keys):
    return sum(of[key] for key in keys)


def total(figures):
    return sum(of for of, _, _ in figures) / sum(beside for _, beside, _ in figures)


def middle(figures):
    return statistics.median(of / beside for of, beside, _ in figures)


def worst_over_2_kb(figures):
    return max((of / beside for of, beside, source in figures if source > 2_048), default=0)


PAGE, PAGE_GZIP, PAGE_CODED = Row("page stage"), Row("page stage", coding="gzip"), Row("page stage", "/coded/article", "gzip")
PAGE_VALIDATED, PICTURE = Row("page stage", "/validated/article", "gzip"), Row("page stage", "/picture.jpg")
PROXY, PROXY_CODED, PROXY_PICTURE = Row("proxy"), Row("proxy", "/coded/article", "gzip"), Row("proxy", "/picture.jpg")
SUB, SUB_GZIP = Row("nginx sub_filter"), Row("nginx sub_filter gzip", coding="gzip")
AXUM, DECKLE_ALL, DECKLE_GZIP = Row("axum"), Row("deckle"), Row("deckle", coding="gzip")
TOLD = [AXUM, Row("axum", "/coded/article", "gzip"), Row("axum + governor"), Row("nginx"), PROXY, PROXY_CODED, SUB, SUB_GZIP]
TOLD += [PAGE, PAGE_GZIP, PAGE_CODED, DECKLE_ALL, DECKLE_GZIP, Row("deckle", "/picture.jpg")]

SOURCE, GZIP_6, FULL, QUICK = (["bytes.source"], ["packed.gzip_6_bytes"], ["packed.full_bytes"], ["packed.quick_bytes"])
FIRST, FIRST_GZIP = ["nanoseconds.first_sight"], ["nanoseconds.first_sight_gzip_6"]
PLAIN, PLAIN_GZIP = ["nanoseconds.plain_pass"], ["nanoseconds.plain_pass_gzip_6"]
SPLICE_1, SPLICE_6 = ["nanoseconds.known", "nanoseconds.gzip_1"], ["nanoseconds.known", "nanoseconds.gzip_6"]
QUICK_TIME, FULL_TIME = ["packed.quick_ns"], ["packed.full_ns"]
GZIP_6_TIME, PATCH, HELD = ["packed.gzip_6_ns"], ["packed.patch_ns"], ["packed.held_bytes"]


def goals(suite):
    """Limits are those of docs/performance.md. Those of whole answers stand together, and so do those of one program."""
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
        ("bare proxy that passes gzip on, as the site can answer 304", PAGE_VALIDATED, PROXY_CODED, 1.3),
    )
    g4 = served(("bare proxy", PAGE, PROXY, 1.25), ("nginx sub_filter, limit_req", PAGE, SUB, 0.65))
    g6 = decision(
        ("keyed check of governor", lambda of: of["decide_ns"] / of["governor_ns"], 40, ""),
        ("", lambda of: of["decide_allocations"], 3, "allocations"),
    )
    g7 = decision(("", lambda of: of["audit_p50_ns"] / 1e3, 2, "µs"), ("", lambda of: of["audit_allocations"], 3, "allocations"))
    g12 = in_process(("gzip 6, quick effort", QUICK_TIME, GZIP_6_TIME, total, 1 / 0.4), ("gzip 6, full effort", FULL_TIME, GZIP_6_TIME, total, 1 / 0.05))
    return {
        "peers": Goal("whole answers of all peers", suite.told(*TOLD), told=True),
        "G1": Goal("known page, gzip: its body", g1),
        "G2": Goal("size of the packed form", g2),
        "G3": Goal("known page, gzip, whole answer of the page stage", g3),
        "G4": Goal("known page, identity, whole answer of the page stage", g4),
        "G5": Goal("first sight, identity: its body", in_process(("lol_html, two handlers", FIRST, PLAIN, total, 2.5))),
        "G5b": Goal("first sight, gzip: its body", in_process(("lol_html, two handlers, gzip 6", FIRST_GZIP, PLAIN_GZIP, total, 1.1))),
        "G6": Goal("identify, assess and decide", g6),
        "G7": Goal("a record of the log, on the request path, median", g7),
        "G8": Goal("known page, gzip, whole answer, all stages", served(("page stage alone", DECKLE_GZIP, PAGE_GZIP, 1.25))),
        "G9": Goal("a picture, whole answer of the page stage", served(("bare proxy", PICTURE, PROXY_PICTURE, 1.05))),
        "G10": Goal("memory of a plan", in_process(("the page", HELD, SOURCE, total, 0.5))),
        "G11": Goal("memory of an answer in flight, known page, gzip", suite.memory(66)),
        "G12": Goal("time to pack", g12),
        "G13": Goal("p99 of other answers while pages are packed", suite.tail(1.3)),
    }


def judge(goal, suite, end):
    """Measures a goal; once more if a ratio is near its limit and there is time until `end`."""
    start = time.monotonic()
    try:
        parts, peers = goal.measure(ROUNDS)
        took = time.monotonic() - start
        if any(part.is_near() for part in parts) and time.monotonic() + took * MORE_ROUNDS / ROUNDS < end:
            parts, peers = goal.measure(MORE_ROUNDS)
    except Unmeasured as why:
        return Result(goal, "not measured", why=str(why))
    return Result(goal, "told" if goal.told else status(parts), parts, peers)


def status(parts):
    holds = [part.holds() for part in parts]
    if False in holds:
        return "missed"
    if None in holds:
        return "in part" if True in holds else "not measured"
    return "ok"


# --- what is said -----------------------------------------------------------------------------------------------------
WORDS = {True: "ok", False: "missed", None: "not measured"}


def number(value, unit, form=".2f"):
    return f"1/{1 / value:.0f}" if not unit and 0 < value < 0.1 else format(value, form)


def limit(part):
    return f"{number(part.at_most, part.unit, 'g')} {part.unit or '×'}"


def measured(part):
    """The median, and between what the runs lie."""
    if not part.runs:
        return f"not measured: {part.missing}"
    middle, least, most = (number(value, part.unit) for value in (part.value(), min(part.runs), max(part.runs)))
    return f"{middle} {part.unit or '×'} ({least}–{most})"


def line(name, result):
    made = [
        {
            "beside": part.what,
            "median": part.value(),
            "spread": [min(part.runs), max(part.runs)] if part.runs else None,
            "runs": part.runs,
            "at_most": part.at_most,
            "unit": part.unit or "ratio",
            "holds": part.holds(),
            "missing": part.missing,
        }
        for part in result.parts
    ]
    said = {"goal": name, "what": result.goal.what, "status": result.status, "why": result.why, "parts": made, "peers": result.peers}
    return json.dumps(said, ensure_ascii=False)


def text(name, result):
    out = [f"{name:<6} {result.status:<13} {result.goal.what}"]
    out += [f"       {result.why}"] if result.why else []
    for part in result.parts:
        beside = f": {part.what}" if part.what else ""
        out.append(f"       {WORDS[part.holds()]:<13} {measured(part)}, at most {limit(part)}{beside}")
    if result.status == "told":
        out += [f"       {statistics.median(of['cpu_us']):>13.1f} µs {row}" for row, of in result.peers.items()]
    return "\n".join(out)


def tables(results):
    """Markdown: goals, and the peers that they are made of."""
    said = subprocess.run([nginx(), "-v"], capture_output=True, text=True, check=False).stderr if nginx() else ""
    version = re.search(r"nginx/([\d.]+)", said)
    out = [f"{os.cpu_count()} cores, nginx {version[1] if version else 'not there'}. In brackets: the runs.", ""]
    out += ["| goal | what | beside | at most | measured | |", "|---|---|---|---|---|---|"]
    for name, result in results.items():
        for part in result.parts:
            out.append(f"| {name} | {result.goal.what} | {part.what} | {limit(part)} | {measured(part)} | {WORDS[part.holds()]} |")
        if result.why:
            out.append(f"| {name} | {result.goal.what} | | | not measured: {result.why.replace('|', '/')} | not measured |")
    rows = results["peers"].peers
    bare = statistics.median(rows[str(AXUM)]["cpu_us"]) if rows else 1
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
    arguments.add_argument("--seconds", type=float, default=3)
    arguments.add_argument("--strict", action="store_true")
    arguments.add_argument("--record", action="store_true")
    arguments = arguments.parse_args()
    if arguments.goals == bool(arguments.goal) or (arguments.record and not arguments.goals):
        sys.exit("either --goals or --goal ID; --record with --goals")
    if not Path("/proc/self/stat").exists():
        print("skipped: CPU time of other processes is read from /proc")
        return
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        pages = corpus(stack.enter_context(tempfile.TemporaryDirectory(prefix="deckle-goals-")))
        try:
            suite = Suite(Lab(stack, pages[len(pages) // 2]), pages, arguments.seconds)
        except Unmeasured as why:
            sys.exit(f"nothing is measured: {why}")
        all_goals = goals(suite)
        unknown = set(arguments.goal) - all_goals.keys()
        if unknown:
            sys.exit(f"no such goal: {', '.join(sorted(unknown))}; there are {', '.join(all_goals)}")
        results = {}
        # What all peers take is for the tables alone.
        for name in arguments.goal or [name for name, goal in all_goals.items() if arguments.record or not goal.told]:
            results[name] = judge(all_goals[name], suite, start + TIME)
            print((line if arguments.json else text)(name, results[name]), flush=True)
    print(f"{time.monotonic() - start:.0f} seconds", file=sys.stderr)
    if arguments.record:
        record(tables(results))
    bad = {"missed", "in part", "not measured"} if arguments.strict else {"missed"}
    missed = [name for name, result in results.items() if result.status in bad]
    unmeasured = [name for name, result in results.items() if result.status in ("in part", "not measured")]
    if unmeasured:
        print(f"not measured, or not all of it: {', '.join(unmeasured)}", file=sys.stderr)
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
