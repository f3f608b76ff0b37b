#!/usr/bin/env python3
"""Makes a large log out of the corpus, and measures programs on it. Called by bench_review.sh."""
import argparse, gzip, json, os, re, resource, shutil, statistics, subprocess, sys, tempfile
from datetime import datetime, timedelta
from pathlib import Path

COPIES = 441
DAYS = 28


def lines(corpus):
    text = (corpus / "combined-blog-2015-a.log").read_bytes()
    text += gzip.decompress((corpus / "combined-blog-2015-b.log.gz").read_bytes())
    return [line for line in text.split(b"\n") if line]


def make(corpus, path, copies):
    """Every copy has days and first two octets of its own. All lines of a day stand in order of time, as a server writes them."""
    stamp = re.compile(rb"^(\d+)\.(\d+)\.(\d+\.\d+) (.*?)\[(\d\d)/May/2015:(.*)$", re.S)
    parts = {}
    for line in lines(corpus):
        found = stamp.match(line)
        if found:
            first, second, rest, middle, day, tail = found.groups()
            parts.setdefault(int(day), []).append((tail[:8], int(first), int(second), rest, middle, tail))
    begin = min(parts)
    by_shift = {}
    for copy in range(copies):
        by_shift.setdefault(copy * DAYS // copies, []).append((copy * 7 % 200, copy * 13 % 250))
    with open(path, "wb") as out:
        for past in range(DAYS + max(parts) - begin):
            date = (datetime(2015, 5, begin) + timedelta(days=past)).strftime("%d/%b/%Y").encode()
            lines_of_day = [
                (time, b"%d.%d.%s %s[%s:%s\n" % ((first + add) % 223 + 1, (second + other) % 256, rest, middle, date, tail))
                for day, of_day in parts.items()
                for add, other in by_shift.get(past - (day - begin), ())
                for time, first, second, rest, middle, tail in of_day]
            # Lines of one second stay as they were: by day of the corpus, and by copy.
            lines_of_day.sort(key=lambda pair: pair[0])
            out.write(b"".join(line for _, line in lines_of_day))
    return sum(map(len, parts.values())) * copies


def measure(command, stdout=subprocess.DEVNULL):
    """Wall and CPU seconds, peak memory in MiB."""
    started = datetime.now()
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = (datetime.now() - started).total_seconds()
    if os.waitstatus_to_exitcode(status) not in (0, 5):
        sys.exit(f"{command[0]} ended with {status}")
    return {"wall_s": round(wall, 3), "cpu_s": round(usage.ru_utime + usage.ru_stime, 3), "rss_mib": usage.ru_maxrss // 1024}


def median(command, times):
    runs = [measure(command) for _ in range(times)]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def goaccess():
    found = shutil.which("goaccess")
    if found:
        return found
    print("skipped: GoAccess is not installed (apt-get install goaccess)", file=sys.stderr)
    return None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--corpus", type=Path, required=True)
    arguments.add_argument("--deckle", required=True)
    arguments.add_argument("--part", type=int, default=1)
    arguments = arguments.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="deckle-bench-") as directory:
        log = Path(directory) / "access.log"
        count = make(arguments.corpus, log, max(1, COPIES // arguments.part))
        size = log.stat().st_size
        report = Path(directory) / "report.json"

        def show(name, figures, rows=count):
            figures["lines_per_cpu_s"] = round(rows / figures["cpu_s"])
            print(json.dumps({"what": name, "lines": rows, **figures}), flush=True)
            return figures

        def floor(name, value, least):
            holds = value >= least
            print(f"{'ok  ' if holds else 'MISS'}  {name}: {value:.2f} (at least {least:g})", flush=True)
            # A part of the log, on a machine that others use, fails nobody.
            if not holds and arguments.part == 1:
                failed.append(name)

        print(json.dumps({"what": "log", "lines": count, "bytes": size}), flush=True)
        review = [arguments.deckle, "review", str(log), "--json", str(report)]
        one = show("deckle, one thread", median([*review, "--jobs", "1"], 3))
        two = show("deckle, two threads", median([*review, "--jobs", "2"], 3))
        floor("million lines a CPU second", one["lines_per_cpu_s"] / 1e6, 1.0)
        if (os.cpu_count() or 1) >= 2:
            floor("speed-up by a second thread", one["wall_s"] / two["wall_s"], 1 / 0.6)
        floor("memory below 512 MiB (ratio)", 512 / max(one["rss_mib"], two["rss_mib"]), 1.0)
        simulated = show("deckle, two threads, --simulate", median([*review, "--jobs", "2", "--simulate", "deckle.toml"], 3))
        floor("simulation within twice the CPU of the report (ratio)", 2 * two["cpu_s"] / simulated["cpu_s"], 1.0)
        other = goaccess()
        if other:
            help_text = subprocess.run([other, "--help"], capture_output=True, text=True).stdout
            one_job = ["--jobs=1"] if "--jobs" in help_text else []
            peer = [other, str(log), "--log-format=COMBINED", *one_job, "-o", str(Path(directory) / "peer.json"), "--no-progress"]
            figures = show("GoAccess", measure(peer))
            floor("times less CPU than GoAccess", figures["cpu_s"] / one["cpu_s"], 20.0)
        head = Path(directory) / "head.log"
        with open(log, "rb") as whole:
            start = whole.read(10_000_000)
        head.write_bytes(start[: start.rindex(b"\n") + 1])
        first = median([arguments.deckle, "review", str(head)], 5)
        floor("first screen of 10 MB within 150 ms (ratio)", 0.150 / first["wall_s"], 1.0)
        packed = Path(directory) / "access.log.gz"
        with open(head, "rb") as source, gzip.open(packed, "wb", 6) as target:
            for _ in range(10):
                source.seek(0)
                shutil.copyfileobj(source, target)
        zcat = median(["gzip", "-dc", str(packed)], 3)
        unpacked = median([arguments.deckle, "review", str(packed), "--json", str(report)], 3)
        floor("gzip, of what gzip -dc allows (wall)", zcat["wall_s"] / unpacked["wall_s"], 0.9)
    if failed:
        sys.exit(f"below the floor: {', '.join(failed)}")


main()
