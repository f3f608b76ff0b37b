"""What scripts/bench_goals.py measures with: servers on loopback, each a process of its own, and what they cost."""

import contextlib
import gzip
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import string
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

DECKLE = "target/dist/deckle"
PEERS = "target/dist/examples/peers"
WARM_UP_SECONDS = 1
# So many loads of a second, until a page leaves in packed form.
PATIENCE = 15
# Of the answers that are said to be packed so many are, at least.
PACKED_SHARE = 0.95
FULL, PACKED_ANSWERS = 'deckle_plan_packed_total{effort="full"}', "deckle_packed_answers_total"
QUICK = 'deckle_plan_packed_total{effort="quick"}'
INSERTED = '<meta name="copyright" content="All rights reserved">'
# As benches/client.rs asks: what is known of a page is known of a host.
HOST = "x"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
# Every gap between words is a slot, and a page leaves as the client likes it. Clients that never fetch a style sheet are
# soon offered one of their own, and such copies are not packed: readers are not, and these play readers.
SETTINGS = {
    "DECKLE_PAGE__COMPRESS": "true",
    "DECKLE_WATERMARK__CHANNELS__WHITESPACE": "always",
    "DECKLE_SUSPICION__BEACON": "off",
    "DECKLE_VISITOR__RANGES__REFRESH": "0s",
    "TOKIO_WORKER_THREADS": "1",
}


class Unmeasured(Exception):
    """Why something cannot be measured."""


# --- processes --------------------------------------------------------------------------------------------------------
def cores():
    """The core of the tested server, and those of all others."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[:1], mine[1:] or mine[:1]


def on(core, command):
    pin = ["taskset", "-c", ",".join(map(str, core))] if shutil.which("taskset") else []
    return [*pin, *map(str, command)]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Server:
    """A process of its own that listens on loopback: where it says, or on `port`. What its plans do stands at `figures`, a port."""

    def __init__(self, command, core, port=None, figures=None):
        out = subprocess.DEVNULL if port else subprocess.PIPE
        own = {"DECKLE_PROXY__ADMIN": f"127.0.0.1:{figures}"} if figures else {}
        env = os.environ | SETTINGS | own
        self.process = subprocess.Popen(on(core, command), stdout=out, stderr=subprocess.DEVNULL, env=env, text=True)
        self.port, self.figures = port, figures
        try:
            if port:
                self.wait()
            else:
                self.port = self.said()
        except BaseException:
            self.stop()
            raise

    def said(self):
        """Where it says that it listens; it has ten seconds."""
        late = threading.Timer(10, self.process.kill)
        late.start()
        try:
            for line in self.process.stdout:
                found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
                if found:
                    # What it says later is read, so that it never waits for a reader.
                    threading.Thread(target=lambda: all(True for _ in self.process.stdout), daemon=True).start()
                    return int(found[1])
        finally:
            late.cancel()
        raise Unmeasured(f"{self.process.args} does not start")

    def wait(self):
        end = time.monotonic() + 10
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Unmeasured(f"{self.process.args} does not start") from None
                time.sleep(0.05)

    def cpu(self):
        """Seconds that all its threads have taken, of the user and of the system (proc_pid_stat(5), fields 14 and 15)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat[stat.rindex(")") + 2 :].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Bytes of it that are in memory (proc_pid_statm(5), field 2)."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def counts(self):
        """What its plans have done so far, by the names of docs/reference/metrics.md."""
        connection = http.client.HTTPConnection("127.0.0.1", self.figures, timeout=10)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        wanted = (line.rpartition(" ") for line in lines if line.startswith(("deckle_plan_packed", "deckle_packed")))
        return {name: float(value) for name, _, value in wanted}

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
        # Rows whose page is known, and packed.
        self.warm = set()
        self.dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deckle-goals-")))
        self.site = self.start([PEERS, "site", page], self.others)

    def start(self, command, core, port=None, figures=None):
        server = Server(command, core, port, figures)
        self.stack.callback(server.stop)
        return server

    def server(self, name):
        if name not in self.servers:
            self.servers[name] = self.made(name)
        return self.servers[name]

    def made(self, name):
        if name.startswith("nginx"):
            return self.nginx(name)
        if name == "deckle":
            return self.deckle(self.site, self.tested)
        site = f"http://127.0.0.1:{self.site.port}"
        arguments = {
            "axum": ["site", self.page],
            "axum + governor": ["governed", self.page],
            "proxy": ["proxy", site],
            "page stage": ["page", site],
        }[name]
        server = self.start([PEERS, *arguments], self.tested)
        if name == "page stage":
            server.figures = server.port
        return server

    def deckle(self, site, core):
        """A `deckle proxy` of its own before a site."""
        admin = free_port()
        command = [DECKLE, "proxy", "--listen", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{site.port}"]
        return self.start([*command, "--log-dir", self.dir / f"log-{admin}"], core, figures=admin)

    def nginx(self, name):
        port = free_port()
        more = {"nginx": "", "nginx sub_filter": SUB_FILTER, "nginx sub_filter gzip": SUB_FILTER + GZIP}[name]
        place = self.dir / f"nginx-{port}"
        place.mkdir()
        (place / "nginx.conf").write_text(NGINX.format(dir=place, site=self.site.port, port=port, more=more))
        return self.start([nginx(), "-p", place, "-c", place / "nginx.conf", "-e", "stderr"], self.tested, port)


def nginx():
    unpacked = Path("target/nginx/usr/sbin/nginx").absolute()
    return shutil.which("nginx") or (unpacked if unpacked.exists() else None)


def can_run(row):
    return not row.server.startswith("nginx") or nginx() is not None


# --- whole answers ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Row:
    """What is asked of a server."""

    server: str
    path: str = "/article"
    coding: str = "identity"

    def __str__(self):
        return f"{self.server}, {self.path}, {self.coding}"

    def is_packed(self):
        """Do its answers leave in packed form?"""
        return self.server in ("page stage", "deckle") and self.coding == "gzip"


class Reader:
    """One reader on a connection of its own; by their network they are told apart."""

    def __init__(self, port, number=1):
        address = f"127.0.{number % 250 + 1}.{number // 250 + 1}"
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(address, 0))

    def get(self, path, coding):
        """The body without its coding, and the coding."""
        headers = {"Host": HOST, "Accept": "text/html", "Accept-Encoding": coding, "User-Agent": BROWSER}
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        body, coding = answer.read(), answer.getheader("Content-Encoding", "identity")
        if answer.status != 200:
            raise Unmeasured(f"{path}: {answer.status}")
        return (gzip.decompress(body) if coding == "gzip" else body), coding

    def close(self):
        self.connection.close()


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
        raise Unmeasured(f"{row}: not the answer that is to be measured ({coding}, {len(body)} bytes)")


def load(lab, server, row, seconds, every=None):
    """One run: CPU of the tested process in microseconds a request, and what the 32 clients saw; each of them asks `every` so
    many microseconds, or as fast as it is answered."""
    command = [PEERS, "load", f"127.0.0.1:{server.port}", row.path, row.coding, seconds, *([every] if every else [])]
    counted, before = server.counts() if row.is_packed() else None, server.cpu()
    run = subprocess.run(on(lab.others, command), capture_output=True, check=False)
    spent = server.cpu() - before
    if run.returncode != 0:
        raise Unmeasured(f"{row}: the clients end with {run.returncode}: {run.stderr.decode()[-300:].strip()}")
    seen = json.loads(run.stdout)
    if not spent:
        raise Unmeasured(f"{row}: no CPU time was counted; --seconds is too short")
    requests = seen["requests"]
    packed = server.counts()[PACKED_ANSWERS] - counted[PACKED_ANSWERS] if counted else 0
    return {
        "cpu_us": round(spent * 1e6 / requests, 2),
        "requests_per_s": round(requests / seen["seconds"]),
        "p50_us": seen["p50_us"],
        "p99_us": seen["p99_us"],
        "bytes": seen["bytes"] // requests,
        "packed": round(packed / requests, 3),
    }


def warm(lab, server, row, source, seconds):
    """The first answers teach what a mark needs to know, make the plan, and are looked at; then readers ask until the page is
    packed with full effort, and leaves so. The last of these loads is the answer."""
    before = server.counts()[FULL] if row.is_packed() else 0
    reader = Reader(server.port)
    for _ in range(4):
        body, coding = reader.get(row.path, row.coding)
    reader.close()
    check(row, body, coding, source)
    for _ in range(PATIENCE):
        run = load(lab, server, row, min(WARM_UP_SECONDS, seconds))
        if not row.is_packed() or (run["packed"] >= PACKED_SHARE and server.counts()[FULL] > before):
            return run
    raise Unmeasured(f"{row}: after {PATIENCE} loads {run['packed']:.0%} of the answers are packed")


def measure(lab, rows, rounds, seconds):
    """All rows by turns: what each of them took, run by run."""
    source = lab.page.read_bytes()
    for row in rows:
        if row not in lab.warm:
            warm(lab, lab.server(row.server), row, source, seconds)
            lab.warm.add(row)
    runs = {row: [] for row in rows}
    for turn in range(rounds):
        for row in rows if turn % 2 == 0 else reversed(rows):
            run = load(lab, lab.server(row.server), row, seconds)
            if row.is_packed() and run["packed"] < PACKED_SHARE:
                raise Unmeasured(f"{row}: only {run['packed']:.0%} of the answers were packed")
            runs[row].append(run)
    return {row: {key: [run[key] for run in of] for key in of[0]} for row, of in runs.items()}


# --- memory of answers in flight --------------------------------------------------------------------------------------
# Of the large page; the readers who take their time.
PIECES, PIECE = 185, 4_800
FEW, MANY = 64, 256
# Of a network: on loopback the system's own buffers would take in the whole answer.
SEGMENT, WINDOW = 1_448, 4_096


def large_page():
    """A page that is long when it is compressed, too: hardly anything in it is there twice."""
    of = random.Random(11)
    letters = string.ascii_letters + string.digits
    piece = "<p>The committee said on Monday that it would not publish the full report.</p><div data-x=\"{}\"></div>\n"
    text = "".join(piece.format("".join(of.choices(letters, k=PIECE))) for _ in range(PIECES))
    return f"<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article>{text}</article></body></html>"


def slow_reader(stack, port, number):
    """Asks, and takes the first bytes of the answer."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    client.settimeout(10)
    client.bind((f"127.0.{number % 250 + 1}.{number // 250 + 1}", 0))
    client.connect(("127.0.0.1", port))
    head = f"GET /article HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {BROWSER}\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\n\r\n"
    client.sendall(head.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = client.recv(1_024)
        if not piece:
            raise Unmeasured("an answer in flight: the connection ends")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Unmeasured(f"an answer in flight: {answer[:80]!r}")


def settled(server):
    """Bytes in memory, once they stay the same."""
    now = server.memory()
    for _ in range(30):
        time.sleep(0.1)
        before, now = now, server.memory()
        if before == now:
            break
    return now


def in_flight(lab):
    """KiB that each slow reader of a large packed page takes: by their number, and what one more takes."""
    page = lab.dir / "large.html"
    page.write_text(large_page())
    site = lab.start([PEERS, "site", page], lab.others)
    server = lab.deckle(site, lab.tested)
    try:
        row = Row("deckle", coding="gzip")
        whole = warm(lab, server, row, page.read_bytes(), WARM_UP_SECONDS)
        idle, counted, memory = settled(server), server.counts()[PACKED_ANSWERS], {}
        with contextlib.ExitStack() as stack:
            for number in range(MANY):
                slow_reader(stack, server.port, number)
                if number + 1 in (FEW, MANY):
                    memory[number + 1] = settled(server)
        packed = server.counts()[PACKED_ANSWERS] - counted
        if packed < MANY * PACKED_SHARE:
            raise Unmeasured(f"{packed:.0f} of {MANY} answers in flight are packed")
    finally:
        server.stop()
        site.stop()
    each = {f"of {count}": (of - idle) / count / 1_024 for count, of in memory.items()}
    more = (memory[MANY] - memory[FEW]) / (MANY - FEW) / 1_024
    return {**each, "one more": more, "answer_bytes": whole["bytes"], "idle_bytes": idle}


# --- other answers while pages are packed -----------------------------------------------------------------------------
# The queue holds so many pages, and bytes of them together; a page is packed fully at its 16th known answer.
PAGES, PAGES_BYTES, KNOWN = 60, 15 << 20, 16
TAIL_SECONDS, TAIL_EVERY_US = 2, 40_000


def ripen(server, pages):
    """Brings so many pages one answer before full effort."""
    before = server.counts()[QUICK]
    first, other = Reader(server.port, 101), Reader(server.port, 102)
    for number in range(pages):
        first.get(f"/many/{number}", "gzip")
        for _ in range(KNOWN - 1):
            other.get(f"/many/{number}", "gzip")
    first.close()
    end = time.monotonic() + 30
    while server.counts()[QUICK] < before + pages:
        if time.monotonic() > end:
            raise Unmeasured(f"of {pages} pages {server.counts()[QUICK] - before:.0f} are packed")
        time.sleep(0.1)
    return other


def tails(lab):
    """p99 of a packed page for readers who ask every so often, before and while others are packed with full effort. The server
    has all cores: packing has a thread of its own, and that one the core that is free."""
    pages = min(PAGES, PAGES_BYTES // lab.page.stat().st_size)
    server, row = lab.deckle(lab.site, sorted({*lab.tested, *lab.others})), Row("deckle", coding="gzip")
    try:
        warm(lab, server, row, lab.page.read_bytes(), WARM_UP_SECONDS)
        reader = ripen(server, pages)
        full = server.counts()[FULL]
        without = load(lab, server, row, TAIL_SECONDS, TAIL_EVERY_US)
        if server.counts()[FULL] > full:
            raise Unmeasured("pages were packed before it was their turn")
        for number in range(pages):
            reader.get(f"/many/{number}", "gzip")
        reader.close()
        busy = load(lab, server, row, TAIL_SECONDS, TAIL_EVERY_US)
        packed = server.counts()[FULL] - full
        if packed < pages / 10:
            raise Unmeasured(f"only {packed:.0f} of {pages} pages were packed meanwhile")
    finally:
        server.stop()
    return {"without_us": without["p99_us"], "packing_us": busy["p99_us"], "pages_packed": packed, "pages": pages}
