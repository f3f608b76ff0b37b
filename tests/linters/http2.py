#!/usr/bin/env python3
"""Frame-level HTTP/2 conformance of deckle's plain listener (prior knowledge), after RFC 9113, RFC 7541 and h2spec.

    pip install hpack==4.2.0
    http2.py DECKLE [WORD]     runs the cases whose name or section holds WORD

pass   as the RFC says
near   the connection ended as it must, with PROTOCOL_ERROR in place of the code that the RFC names
known  not as the RFC says, for the reason that stands in KNOWN
FAIL   anything else, and a known one that passes by now; exit 1

The site behind deckle reads every request body to its end, so that no early answer hides what a bad body leads to.
"""

import collections
import http.server
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
FRAMES = "DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION".split()
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
ERRORS = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT, INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST = range(1, 7)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT = 3.0
BIG = 200_000


class Fail(Exception):
    pass


class Near(Exception):
    pass


def fail(why):
    raise Fail(why)


# What the h2 crate is lenient about. None of it reaches the site, but for white space around a value.
KNOWN = {
    "first frame is not SETTINGS": "h2 waits for SETTINGS while it answers other frames",
    "pseudo-header in trailers": "h2 drops it and takes the trailers",
    "space before a value": "h2 does not look at the ends of values; HTTP/1.1 has white space there anyway",
    "tab behind a value": "as above",
}


# --- the site behind deckle -------------------------------------------------------------------------------------------
class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    release = threading.Event()
    seen = queue.SimpleQueue()

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            length = 0
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                length += len(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return length
        return len(self.rfile.read(int(self.headers.get("content-length", 0))))

    def do_GET(self):
        if self.path == "/hold":
            self.release.wait(30)
        try:
            length = self.body()
        except (OSError, ValueError):
            self.close_connection = True
            return
        self.seen.put((self.command, self.path, self.headers.items()))
        text = b"x" * BIG if self.path == "/big" else b"%d bytes\n" % length
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_POST = do_HEAD = do_OPTIONS = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_):
        pass


# --- a client that may say anything ------------------------------------------------------------------------------------
class Conn:
    def __init__(self, port, raw=False):
        self.port = port
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.closed = b"", False
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.settings, self.bodies, self.heads, self.ended, self.seen = {}, {}, {}, set(), []
        self.window = 65_535
        if not raw:
            self.write(PREFACE)
            self.send(SETTINGS)
            self.until(lambda f: f[0] == SETTINGS and not f[1] & ACK, "the server's SETTINGS")
            self.send(SETTINGS, ACK)

    def write(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            # The server may close in the middle of what is too much; what it said before is read all the same.
            return False
        return True

    def send(self, kind, flags=0, stream=0, payload=b"", length=None):
        length = len(payload) if length is None else length
        return self.write(struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def block(self, fields):
        return self.encoder.encode([hpack.NeverIndexedHeaderTuple(n, v) for n, v in fields], huffman=False)

    def request(self, extra=(), stream=1, end=True, flags=END_HEADERS, method="GET", path="/", drop=(), **_):
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", f"127.0.0.1:{self.port}")]
        fields = [f for f in fields if f[0] not in drop] + list(extra)
        return self.send(HEADERS, flags | (END_STREAM if end else 0), stream, self.block(fields))

    def post(self, extra=(), stream=1, **more):
        return self.request(extra, stream, end=False, method="POST", **more)

    def window_update(self, by, stream=0):
        return self.send(WINDOW_UPDATE, 0, stream, struct.pack(">I", by))

    def set(self, *pairs):
        return self.send(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))

    # One frame, or None at the end of the connection.
    def frame(self, deadline):
        while True:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + length:
                    kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                    payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
                    return self.note(kind, flags, stream, payload)
            if self.closed:
                return None
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                raise Fail("nothing more came") from None
            except OSError:
                data = b""
            self.closed = not data
            self.buffer += data

    def note(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.settings.update(struct.iter_unpack(">HI", payload))
        elif kind == HEADERS:
            self.heads.setdefault(stream, dict(self.decoder.decode(payload)))
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, 0) + len(payload)
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += struct.unpack(">I", payload)[0]
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.ended.add(stream)
        name = FRAMES[kind] if kind < len(FRAMES) else f"type {kind}"
        if kind in (RST_STREAM, GOAWAY):
            code = struct.unpack(">I", payload[-4:] if kind == RST_STREAM else payload[4:8])[0]
            name += f"({ERRORS[code] if code < len(ERRORS) else code})"
        elif kind == HEADERS and ":status" in self.heads[stream]:
            name += f"({self.heads[stream][':status']})"
        self.seen.append(name)
        return kind, flags, stream, payload

    def until(self, wanted, what):
        deadline = time.monotonic() + WAIT
        while frame := self.frame(deadline):
            if wanted(frame):
                return frame
        raise Fail(f"closed before {what}")


# --- what may be expected -----------------------------------------------------------------------------------------------
def code_of(frame):
    return ERRORS[min(struct.unpack(">I", frame[3][4:8] if frame[0] == GOAWAY else frame[3])[0], len(ERRORS) - 1)]


def connection_error(*codes):
    """GOAWAY with one of the codes and the end of the connection; a mere end is allowed (RFC 9113 §5.4.1)."""

    def check(c):
        deadline = time.monotonic() + WAIT
        told = None
        while frame := c.frame(deadline):
            if frame[0] == GOAWAY:
                told = code_of(frame)
        if told and told not in codes:
            raise (Near if told == "PROTOCOL_ERROR" else Fail)(f"GOAWAY({told}), not {' or '.join(codes)}")
        return f"GOAWAY({told})" if told else "closed"

    return check


def stream_error(*codes, stream=1, answer=True):
    """RST_STREAM with one of the codes; or as a connection error (§5.4.2); or, if malformed, a 4xx (§8.1.1)."""

    def check(c):
        deadline = time.monotonic() + WAIT
        while frame := c.frame(deadline):
            if frame[0] in (RST_STREAM, GOAWAY) and (frame[0] == GOAWAY or frame[2] == stream):
                if code_of(frame) not in codes:
                    near = frame[0] == GOAWAY and code_of(frame) == "PROTOCOL_ERROR"
                    raise (Near if near else Fail)(f"{c.seen[-1]}, not {' or '.join(codes)}")
                return c.seen[-1]
            if frame[0] == HEADERS and frame[2] == stream:
                status = c.heads[stream][":status"]
                if answer and status.startswith("4"):
                    return status
                raise Fail(f"answered {status}")
        return "closed"

    return check


def answered(stream=1, status="200"):
    def check(c):
        c.until(lambda _: stream in c.ended, "the answer")
        if c.heads[stream][":status"] != status:
            raise Fail(f"answered {c.heads[stream][':status']}")
        return status

    return check


def alive(c):
    c.send(PING, 0, 0, b"are you?")
    c.until(lambda f: f == (PING, ACK, 0, b"are you?"), "PING ACK")
    return "PING ACK"


def either(*checks):
    def check(c):
        why = []
        for one in checks:
            try:
                return one(c)
            except Fail as fail:
                why.append(str(fail))
        raise Fail("; ".join(why))

    return check


CASES = []


def case(section, name, expected, raw=False):
    def register(run):
        CASES.append((section, name, expected, raw, run))
        return run

    return register


def say(section, name, expected, raw=False):
    """A case in one line."""
    return lambda run: case(section, name, expected, raw)(run)


malformed = stream_error("PROTOCOL_ERROR")
protocol = connection_error("PROTOCOL_ERROR")
frame_size = connection_error("FRAME_SIZE_ERROR")
compression = connection_error("COMPRESSION_ERROR")
stream_closed = connection_error("STREAM_CLOSED")
flow = connection_error("FLOW_CONTROL_ERROR")

# --- RFC 9113 §3, §4 ----------------------------------------------------------------------------------------------------
say("3.4", "preface and SETTINGS, then a request", answered())(lambda c: c.request())
say("3.4", "SETTINGS are acknowledged", lambda c: c.until(lambda f: f[:2] == (SETTINGS, ACK), "ACK") and "ACK")(
    lambda c: c.set((MAX_CONCURRENT, 100))
)


@case("3.4", "preface that is none: closed, or a 400 of HTTP/1.1", lambda c: c.told, raw=True)
def _(c):
    c.write(b"INVALID CONNECTION PREFACE\r\n\r\n")
    c.sock.settimeout(WAIT)
    said = b""
    try:
        while data := c.sock.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise Fail("still open") from None
    c.told = said.split(b"\r\n")[0].decode() or "closed"
    if said and b" 400 " not in said:
        raise Fail(c.told)


@case("3.4", "preface broken in its second half", connection_error("PROTOCOL_ERROR"), raw=True)
def _(c):
    c.write(PREFACE[:20] + b"XX\r\n")


@case("3.4", "first frame is not SETTINGS", protocol, raw=True)
def _(c):
    c.write(PREFACE)
    c.send(PING, 0, 0, b"12345678")


@case("3.4", "preface byte by byte", answered(), raw=True)
def _(c):
    for byte in PREFACE:
        c.write(bytes([byte]))
        time.sleep(0.002)
    c.send(SETTINGS)
    c.request()


say("4.1", "unknown frame type is ignored", alive)(lambda c: c.send(0x16, 0, 0, b"12345678"))
say("4.1", "unknown flags are ignored", alive)(lambda c: c.send(PING, 0x16, 0, b"12345678"))
say("4.1", "the reserved bit is ignored", alive)(lambda c: c.send(PING, 0, 1 << 31, b"12345678"))
say("4.2", "DATA of 2^14 bytes", answered())(lambda c: (c.post(), c.send(DATA, END_STREAM, 1, b"x" * 16384)))
say("4.2", "DATA beyond SETTINGS_MAX_FRAME_SIZE", stream_error("FRAME_SIZE_ERROR", answer=False))(
    lambda c: (c.post(), c.send(DATA, END_STREAM, 1, b"x" * (c.settings.get(MAX_FRAME, 16384) + 1)))
)
say("4.2", "HEADERS beyond SETTINGS_MAX_FRAME_SIZE", frame_size)(
    lambda c: c.request([("x", "y" * c.settings.get(MAX_FRAME, 16384))])
)
say("4.3", "header block that cannot be decoded", compression)(
    lambda c: c.send(HEADERS, END_STREAM | END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
)
say("4.3", "PRIORITY between HEADERS and CONTINUATION", protocol)(
    lambda c: (c.request(flags=0), c.send(PRIORITY, 0, 1, b"\0\0\0\0\0"), c.send(CONTINUATION, END_HEADERS, 1))
)
say("4.3", "HEADERS of another stream before CONTINUATION", protocol)(
    lambda c: (c.request(flags=0), c.request(stream=3), c.send(CONTINUATION, END_HEADERS, 1))
)

# --- §5 -------------------------------------------------------------------------------------------------------------------
say("5.1", "idle: DATA", protocol)(lambda c: c.send(DATA, END_STREAM, 1, b"x"))
say("5.1", "idle: RST_STREAM", protocol)(lambda c: c.send(RST_STREAM, 0, 1, b"\0\0\0\x08"))
say("5.1", "idle: WINDOW_UPDATE", protocol)(lambda c: c.window_update(100, 1))
say("5.1", "idle: CONTINUATION", protocol)(
    lambda c: c.send(CONTINUATION, END_HEADERS, 1, c.block([(":method", "GET")]))
)
say("5.1", "half-closed (remote): DATA", stream_error("STREAM_CLOSED", answer=False))(
    lambda c: (c.request(path="/hold"), c.send(DATA, END_STREAM, 1, b"x"))
)
say("5.1", "half-closed (remote): HEADERS", stream_error("STREAM_CLOSED", answer=False))(
    lambda c: (c.request(path="/hold"), c.request())
)
say("5.1", "half-closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are fine", alive)(
    lambda c: (
        c.request(path="/hold"),
        c.window_update(1, 1),
        c.send(PRIORITY, 0, 1, b"\0\0\0\0\x01"),
        c.send(RST_STREAM, 0, 1, b"\0\0\0\x08"),
    )
)
say("5.1", "closed by RST_STREAM: DATA", stream_error("STREAM_CLOSED", answer=False))(
    lambda c: (c.post(), c.send(RST_STREAM, 0, 1, b"\0\0\0\x08"), c.send(DATA, END_STREAM, 1, b"x"))
)
say("5.1", "closed by RST_STREAM: HEADERS", stream_error("STREAM_CLOSED", answer=False))(
    lambda c: (c.post(), c.send(RST_STREAM, 0, 1, b"\0\0\0\x08"), c.request())
)


def finished(c):
    c.request()
    c.until(lambda _: 1 in c.ended, "the answer")


say("5.1", "closed: DATA", stream_error("STREAM_CLOSED", answer=False))(
    lambda c: (finished(c), c.send(DATA, END_STREAM, 1, b"x"))
)
say("5.1", "closed: HEADERS", stream_error("STREAM_CLOSED", "PROTOCOL_ERROR", answer=False))(
    lambda c: (finished(c), c.request())
)
say("5.1", "closed: WINDOW_UPDATE, PRIORITY and RST_STREAM are fine", alive)(
    lambda c: (
        finished(c),
        c.window_update(1, 1),
        c.send(PRIORITY, 0, 1, b"\0\0\0\0\x01"),
        c.send(RST_STREAM, 0, 1, b"\0\0\0\x08"),
    )
)
say("5.1.1", "even stream", protocol)(lambda c: c.request(stream=2))
say("5.1.1", "stream below one that was used", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"))(
    lambda c: (c.request(stream=5), c.request(stream=3))
)


@case(
    "5.1.2",
    "one stream more than SETTINGS_MAX_CONCURRENT_STREAMS",
    lambda c: stream_error("REFUSED_STREAM", "PROTOCOL_ERROR", stream=c.last, answer=False)(c),
)
def _(c):
    most = c.settings.get(MAX_CONCURRENT)
    if most is None:
        raise Fail("no limit is announced")
    for n in range(most):
        c.request(stream=2 * n + 1, path="/hold")
    c.last = 2 * most + 1
    c.request(stream=c.last)


say(
    "5.3",
    "PRIORITY that names itself: ignored or an error",
    either(stream_error("PROTOCOL_ERROR", answer=False), alive),
)(lambda c: (c.send(PRIORITY, 0, 1, b"\0\0\0\x01\x10"), c.send(PING, 0, 0, b"are you?")))
say(
    "5.3",
    "HEADERS with a priority that names itself: answered or an error",
    either(stream_error("PROTOCOL_ERROR"), answered()),
)(
    lambda c: c.send(
        HEADERS,
        END_STREAM | END_HEADERS | WITH_PRIORITY,
        1,
        b"\0\0\0\x01\x10" + c.block([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
    )
)
say("5.5", "unknown frame within a header block", protocol)(
    lambda c: (c.request(flags=0), c.send(0x16, 0, 1, b"12345678"), c.send(CONTINUATION, END_HEADERS, 1))
)

# --- §6.1 to §6.4 ---------------------------------------------------------------------------------------------------------
say("6.1", "DATA on stream 0", protocol)(lambda c: c.send(DATA, 0, 0, b"x"))
say("6.1", "DATA with padding", answered())(
    lambda c: (c.post(), c.send(DATA, END_STREAM | PADDED, 1, b"\x06hello" + b"\0" * 6))
)
say("6.1", "DATA with more padding than payload", protocol)(
    lambda c: (c.post(), c.send(DATA, END_STREAM | PADDED, 1, b"\x06hello"))
)
say("6.1", "DATA with the flag of padding and no byte", connection_error("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"))(
    lambda c: (c.post(), c.send(DATA, END_STREAM | PADDED, 1))
)
say("6.2", "HEADERS on stream 0", protocol)(lambda c: c.request(stream=0))
say("6.2", "HEADERS with more padding than payload", protocol)(
    lambda c: c.send(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\xff" + c.block([(":method", "GET")]))
)
say("6.2", "HEADERS with padding and priority", answered())(
    lambda c: c.send(
        HEADERS,
        END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY,
        1,
        b"\x03\0\0\0\0\x10"
        + c.block([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")])
        + b"\0\0\0",
    )
)
say("6.3", "PRIORITY on stream 0", protocol)(lambda c: c.send(PRIORITY, 0, 0, b"\0\0\0\x01\x10"))
say("6.3", "PRIORITY of 4 bytes", stream_error("FRAME_SIZE_ERROR", answer=False))(
    lambda c: (c.request(path="/hold"), c.send(PRIORITY, 0, 1, b"\0\0\0\x01"))
)
say("6.4", "RST_STREAM on stream 0", protocol)(lambda c: c.send(RST_STREAM, 0, 0, b"\0\0\0\x08"))
say("6.4", "RST_STREAM of 3 bytes", frame_size)(
    lambda c: (c.request(path="/hold"), c.send(RST_STREAM, 0, 1, b"\0\0\x08"))
)
say("6.4", "RST_STREAM with an unknown code", alive)(
    lambda c: (c.request(path="/hold"), c.send(RST_STREAM, 0, 1, b"\0\0\0\xff"))
)

# --- §6.5 to §6.10 --------------------------------------------------------------------------------------------------------
say("6.5", "SETTINGS ACK with payload", frame_size)(lambda c: c.send(SETTINGS, ACK, 0, struct.pack(">HI", 3, 1)))
say("6.5", "SETTINGS on a stream", protocol)(lambda c: c.send(SETTINGS, 0, 1, struct.pack(">HI", 3, 1)))
say("6.5", "SETTINGS of 5 bytes", frame_size)(lambda c: c.send(SETTINGS, 0, 0, b"\0\x03\0\0\0"))
say("6.5.2", "SETTINGS_ENABLE_PUSH of 2", protocol)(lambda c: c.set((ENABLE_PUSH, 2)))
say("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", flow)(lambda c: c.set((INITIAL_WINDOW, 1 << 31)))
say("6.5.2", "SETTINGS_MAX_FRAME_SIZE below 2^14", protocol)(lambda c: c.set((MAX_FRAME, 16383)))
say("6.5.2", "SETTINGS_MAX_FRAME_SIZE above 2^24-1", protocol)(lambda c: c.set((MAX_FRAME, 1 << 24)))
say("6.5.2", "unknown setting is ignored", alive)(lambda c: c.set((0xFF, 1)))
say(
    "6.5.3",
    "the last of two values holds",
    lambda c: c.until(lambda f: f[0] == DATA and len(f[3]) == 1, "1 byte") and "1 byte",
)(lambda c: (c.set((INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1)), c.request()))
say("6.6", "PUSH_PROMISE of a client", protocol)(
    lambda c: c.send(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + c.block([(":method", "GET")]))
)
say("6.7", "PING is answered with the same bytes", alive)(lambda c: None)
say("6.7", "PING ACK is not answered", lambda c: (alive(c), c.seen.count("PING") == 1 or fail("answered"))[0])(
    lambda c: c.send(PING, ACK, 0, b"unwanted")
)
say("6.7", "PING on a stream", protocol)(lambda c: c.send(PING, 0, 1, b"12345678"))
say("6.7", "PING of 6 bytes", frame_size)(lambda c: c.send(PING, 0, 0, b"123456"))
say("6.8", "GOAWAY on a stream", protocol)(lambda c: c.send(GOAWAY, 0, 1, b"\0" * 8))
say("6.8", "GOAWAY while a request runs: it is answered", answered())(
    lambda c: (c.request(path="/big"), c.send(GOAWAY, 0, 0, b"\0" * 8), c.window_update(BIG), c.window_update(BIG, 1))
)
say("6.9", "WINDOW_UPDATE by 0 on the connection", protocol)(lambda c: c.window_update(0))
say("6.9", "WINDOW_UPDATE by 0 on a stream", stream_error("PROTOCOL_ERROR", answer=False))(
    lambda c: (c.request(path="/hold"), c.window_update(0, 1))
)
say("6.9", "WINDOW_UPDATE of 3 bytes", frame_size)(lambda c: c.send(WINDOW_UPDATE, 0, 0, b"\0\0\x01"))
say(
    "6.9.1",
    "a window of 1 is kept to",
    lambda c: (
        c.until(lambda f: f[0] == DATA, "DATA") and ("1 byte" if c.bodies[1] == 1 else fail(f"{c.bodies[1]} bytes"))
    ),
)(lambda c: (c.set((INITIAL_WINDOW, 1)), c.request(path="/big")))
say("6.9.1", "connection window above 2^31-1", flow)(lambda c: (c.window_update(2**31 - 1), c.window_update(2**31 - 1)))
say("6.9.1", "stream window above 2^31-1", stream_error("FLOW_CONTROL_ERROR", answer=False))(
    lambda c: (c.request(path="/hold"), c.window_update(2**31 - 1, 1), c.window_update(2**31 - 1, 1))
)


def exact_window(c):
    """All of the body comes as windows open, and never more than they allow."""
    total, allowed = 0, 1000
    while 1 not in c.ended:
        c.until(lambda f: f[0] == DATA, "DATA")
        if c.bodies[1] > allowed:
            raise Fail(f"{c.bodies[1]} bytes where {allowed} were allowed")
        if c.bodies[1] == allowed and allowed < BIG:
            step = min(50_000, BIG - allowed)
            c.window_update(step), c.window_update(step, 1)
            allowed += step
        total = c.bodies[1]
    return f"{total} bytes" if total == BIG else fail(f"only {total} bytes")


say("6.9.1", "a large body over many windows", exact_window)(
    lambda c: (c.set((INITIAL_WINDOW, 1000)), c.request(path="/big"))
)


@case("6.9.2", "a window made negative by SETTINGS is waited for", lambda c: c.told)
def _(c):
    c.set((INITIAL_WINDOW, 3))
    c.request(path="/big")
    c.until(lambda _: c.bodies.get(1) == 3, "3 bytes")
    c.set((INITIAL_WINDOW, 2))
    c.until(lambda f: f[:2] == (SETTINGS, ACK), "ACK")
    c.window_update(1, 1)
    alive(c)
    if c.bodies[1] != 3:
        raise Fail("DATA into a window of 0")
    c.window_update(1, 1)
    c.until(lambda f: f[0] == DATA, "1 byte more")
    c.told = f"{c.bodies[1]} bytes"


@case("6.9.2", "INITIAL_WINDOW_SIZE that brings a stream above 2^31-1", flow)
def _(c):
    c.request(path="/hold")
    c.window_update(2**31 - 1 - 65_535, 1)
    c.set((INITIAL_WINDOW, 65_536))


@case(
    "6.9",
    "DATA without regard to any window, to a site that does not read",
    either(flow, stream_error("FLOW_CONTROL_ERROR", answer=False)),
)
def _(c):
    # Windows open for as long as the sockets behind deckle take something.
    c.post(path="/hold")
    for _ in range(16_384):
        if not c.send(DATA, 0, 1, b"x" * 16_384):
            return
    fail("256 MiB were taken")


say("6.10", "CONTINUATION frames after HEADERS", answered())(
    lambda c: (
        c.request(flags=0),
        c.send(CONTINUATION, 0, 1, c.block([("a", "b")])),
        c.send(CONTINUATION, END_HEADERS, 1, c.block([("c", "d")])),
    )
)
say("6.10", "CONTINUATION on stream 0", protocol)(
    lambda c: (c.request(flags=0), c.send(CONTINUATION, END_HEADERS, 0, c.block([("a", "b")])))
)
say("6.10", "CONTINUATION after END_HEADERS", protocol)(
    lambda c: (c.post(), c.send(CONTINUATION, END_HEADERS, 1, c.block([("a", "b")])))
)
say("6.10", "DATA before CONTINUATION", protocol)(
    lambda c: (c.post(flags=0), c.send(DATA, 0, 1, b"x"), c.send(CONTINUATION, END_HEADERS, 1))
)
say("7", "GOAWAY with an unknown code", either(alive, connection_error("NO_ERROR")))(
    lambda c: c.send(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff")
)

# --- §8 -------------------------------------------------------------------------------------------------------------------
say("8.1", "trailers", answered())(
    lambda c: (
        c.post(),
        c.send(DATA, 0, 1, b"hello"),
        c.send(HEADERS, END_STREAM | END_HEADERS, 1, c.block([("x-sum", "1")])),
    )
)
say("8.1", "trailers without END_STREAM", malformed)(
    lambda c: (c.post(), c.send(DATA, 0, 1, b"hello"), c.send(HEADERS, END_HEADERS, 1, c.block([("x-sum", "1")])))
)
say("8.1", "pseudo-header in trailers", malformed)(
    lambda c: (
        c.post(),
        c.send(DATA, 0, 1, b"hello"),
        c.send(HEADERS, END_STREAM | END_HEADERS, 1, c.block([(":method", "POST")])),
    )
)
say("8.1", "HEAD has no body", lambda c: (answered()(c), c.bodies.get(1) and fail("a body"))[0])(
    lambda c: c.request(method="HEAD")
)

for why, name, value in [
    ("upper-case name", "X-Test", "ok"),
    ("space in a name", "x test", "ok"),
    ("colon in a name", "x:test", "ok"),
    ("byte above 0x7e in a name", "x\u00e9".encode("latin-1"), "ok"),
    ("empty name", "", "ok"),
    ("NUL in a value", "x-test", "a\0b"),
    ("CR in a value", "x-test", "a\rb"),
    ("LF in a value", "x-test", "a\nb"),
    ("space before a value", "x-test", " a"),
    ("tab behind a value", "x-test", "a\t"),
]:
    say("8.2.1", why, malformed)(lambda c, name=name, value=value: c.request([(name, value)]))
for name, value in [
    ("connection", "keep-alive"),
    ("proxy-connection", "keep-alive"),
    ("keep-alive", "timeout=5"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "websocket"),
    ("te", "trailers, deflate"),
    ("te", "gzip"),
]:
    say("8.2.2", f"{name}: {value}", malformed)(lambda c, name=name, value=value: c.request([(name, value)]))
say("8.2.2", "te: trailers is fine", answered())(lambda c: c.request([("te", "trailers")]))


@case("8.2.3", "two cookie fields reach the site as one", lambda c: c.told)
def _(c):
    c.request([("cookie", "a=1"), ("cookie", "b=2")], path="/cookies")
    answered()(c)
    while (seen := Site.seen.get(timeout=1))[1] != "/cookies":
        pass
    cookies = [value for name, value in seen[2] if name.lower() == "cookie"]
    if cookies != ["a=1; b=2"]:
        raise Fail(f"{cookies}")
    c.told = "a=1; b=2"


say("8.3", "unknown pseudo-header", malformed)(lambda c: c.request([(":test", "ok")]))
say("8.3", "pseudo-header of responses", malformed)(lambda c: c.request([(":status", "200")]))
say("8.3", "pseudo-header after a regular field", malformed)(
    lambda c: c.request([("x-test", "ok"), (":path", "/")], drop=[":path"])
)
for name in [":method", ":scheme", ":path"]:
    say("8.3.1", f"no {name}", malformed)(lambda c, name=name: c.request(drop=[name]))
for name, value in [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]:
    say("8.3.1", f"{name} twice", malformed)(lambda c, name=name, value=value: c.request([(name, value)]))
say("8.3.1", "empty :path", malformed)(lambda c: c.request(path=""))
say("8.3.1", ":path without slash", malformed)(lambda c: c.request(path="a"))
say("8.3.1", ":path that holds a space", malformed)(lambda c: c.request(path="/a b"))
say("8.3.1", ":path that holds a fragment", either(malformed, answered()))(lambda c: c.request(path="/a#b"))
say("8.3.1", "OPTIONS *", answered())(lambda c: c.request(method="OPTIONS", path="*"))
say("8.3.1", "method that is no token", malformed)(lambda c: c.request(method="G T"))
say("8.3.1", "user name in :authority", malformed)(
    lambda c: c.request([(":authority", "user@127.0.0.1")], drop=[":authority"])
)
say("8.3.1", "Host that differs from :authority (SHOULD)", malformed)(lambda c: c.request([("host", "other.example")]))
say("8.3.1", "Host instead of :authority is fine", answered())(
    lambda c: c.request([("host", "127.0.0.1")], drop=[":authority"])
)
say("8.3.1", "neither Host nor :authority", malformed)(lambda c: c.request(drop=[":authority"]))
say("8.5", "CONNECT with :scheme and :path", malformed)(lambda c: c.request(method="CONNECT"))
say("8.5", "CONNECT is refused", stream_error("PROTOCOL_ERROR", "CONNECT_ERROR", "REFUSED_STREAM"))(
    lambda c: c.request(method="CONNECT", drop=[":scheme", ":path"])
)
say("8.1.1", "content-length is right", answered())(
    lambda c: (c.post([("content-length", "5")]), c.send(DATA, 0, 1, b"he"), c.send(DATA, END_STREAM, 1, b"llo"))
)
say("8.1.1", "content-length above one DATA", malformed)(
    lambda c: (c.post([("content-length", "6")]), c.send(DATA, END_STREAM, 1, b"hello"))
)
say("8.1.1", "content-length below the sum of DATA", malformed)(
    lambda c: (c.post([("content-length", "4")]), c.send(DATA, 0, 1, b"he"), c.send(DATA, END_STREAM, 1, b"llo"))
)
say("8.1.1", "content-length without any DATA", malformed)(lambda c: c.request([("content-length", "6")]))
say("8.1.1", "two content-lengths that differ", malformed)(
    lambda c: (c.post([("content-length", "5"), ("content-length", "6")]), c.send(DATA, END_STREAM, 1, b"hello"))
)
for value in ["+5", "-1", "5, 5x", "0x5", "18446744073709551621"]:
    say("8.1.1", f"content-length: {value}", malformed)(
        lambda c, value=value: (c.post([("content-length", value)]), c.send(DATA, END_STREAM, 1, b"hello"))
    )
say("8.1.1", "content-length against trailers", malformed)(
    lambda c: (
        c.post([("content-length", "6")]),
        c.send(DATA, 0, 1, b"hello"),
        c.send(HEADERS, END_STREAM | END_HEADERS, 1, c.block([("x-sum", "1")])),
    )
)

# --- RFC 7541 --------------------------------------------------------------------------------------------------------------
# :method GET, :scheme http, :path / from the static table, and :authority a.
PLAIN = b"\x82\x86\x84\x41\x01a"
for section, why, block in [
    ("2.3.3", "index beyond the tables", b"\xc6"),
    ("2.3.3", "literal with a name index beyond the tables", b"\x7f\x70\x01a"),
    ("6.1", "index 0", b"\x80"),
    ("5.1", "integer that never ends", b"\xff" + b"\xff" * 12 + b"\x01"),
    ("5.2", "Huffman padding longer than 7 bits", b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
    ("5.2", "Huffman padding of zeros", b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"),
    ("5.2", "EOS within a Huffman string", b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"),
    ("5.2", "string longer than the block", b"\x00\x01a\x7f\x10b"),
    ("4.2", "size update at the end of a block", b"\x3f\x01"),
    ("6.3", "size update above SETTINGS_HEADER_TABLE_SIZE", None),
]:
    # A block that opens with an update above the limit.
    data = b"\x3f\xe2\x1f" + PLAIN if block is None else PLAIN + block
    say(f"7541 {section}", why, compression)(lambda c, data=data: c.send(HEADERS, END_STREAM | END_HEADERS, 1, data))
say("7541 4.2", "size updates at the start of a block", answered())(
    lambda c: c.send(HEADERS, END_STREAM | END_HEADERS, 1, b"\x20\x3f\xe1\x1f" + PLAIN)
)


# --- floods: §10.5 and what was found since --------------------------------------------------------------------------------
def survived(c):
    """On a new connection a reader is answered at once, whatever became of this one."""
    start = time.monotonic()
    fresh = Conn(c.port)
    fresh.request()
    answered()(fresh)
    fresh.sock.close()
    took = time.monotonic() - start
    told = next((s for s in c.seen if s.startswith("GOAWAY")), "closed" if c.closed else "still open")
    if took > 1:
        raise Fail(f"a reader waited {took:.1f} s")
    if c.growth() > 64:
        raise Fail(f"memory +{c.growth()} MiB")
    return f"{told}; a reader waited {took * 1000:.0f} ms; memory +{c.growth()} MiB"


def ended(c):
    if not (c.closed or any(s.startswith("GOAWAY") for s in c.seen)):
        raise Fail("the connection goes on")
    return survived(c)


def drain(c, seconds=0.5):
    try:
        deadline = time.monotonic() + seconds
        while c.frame(deadline):
            pass
    except Fail:
        pass


def flood(c, frames, times):
    """Sends until it is done, the connection ends, or nothing more is taken, which is an answer, too."""
    c.sock.settimeout(1)
    sent = 0
    while sent < times and c.write(frames):
        sent += 1
    drain(c)


def raw(kind, stream=0, payload=b"", flags=0):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@case("10.5", "rapid reset, 10,000 times", ended)
def _(c):
    for n in range(10_000):
        if not (c.request(stream=2 * n + 1) and c.send(RST_STREAM, 0, 2 * n + 1, b"\0\0\0\x08")):
            break
    drain(c)


@case("10.5", "made-you-reset by DATA after the end, 10,000 times", ended)
def _(c):
    for n in range(10_000):
        if not (
            c.post([("content-length", "1")], 2 * n + 1, path="/hold")
            and c.send(DATA, END_STREAM, 2 * n + 1, b"too long")
        ):
            break
    drain(c)


say("10.5", "CONTINUATION without end, 64 MiB", ended)(
    lambda c: (c.request(flags=0), flood(c, raw(CONTINUATION, 1, c.block([("x" * 20, "y" * 16_000)])), 4_000))
)
say("10.5", "empty CONTINUATION, 1,000,000 times", ended)(
    lambda c: (c.request(flags=0), flood(c, raw(CONTINUATION, 1) * 1000, 1000))
)
say("10.5", "empty DATA, 1,000,000 times", ended)(lambda c: (c.post(), flood(c, raw(DATA, 1) * 1000, 1000)))
say("10.5", "PING, 4,000,000 times, answers unread", survived)(
    lambda c: flood(c, raw(PING, payload=b"12345678") * 1000, 4000)
)
say("10.5", "SETTINGS, 4,000,000 times, answers unread", survived)(
    lambda c: flood(c, raw(SETTINGS, payload=struct.pack(">HI", 3, 1)) * 1000, 4000)
)
say("10.5", "PRIORITY, 1,000,000 times", survived)(lambda c: flood(c, raw(PRIORITY, 1, b"\0\0\0\0\x01") * 1000, 1000))


@case(
    "10.5",
    "HPACK bomb: 4 kB stored once, named 12,000 times",
    either(
        stream_error("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "COMPRESSION_ERROR", "REFUSED_STREAM"),
        connection_error("ENHANCE_YOUR_CALM"),
    ),
)
def _(c):
    c.send(HEADERS, END_STREAM | END_HEADERS, 1, PLAIN + b"\x40\x01x\x7f\xc1\x1e" + b"y" * 4000 + b"\xbe" * 12_000)


@case(
    "10.5.1",
    "header list above SETTINGS_MAX_HEADER_LIST_SIZE",
    stream_error("PROTOCOL_ERROR", "ENHANCE_YOUR_CALM", "REFUSED_STREAM"),
)
def _(c):
    most = c.settings.get(MAX_HEADER_LIST, 1 << 16)
    c.request(flags=0)
    block = c.block([("x", "y" * 10_000)])
    for _ in range(most // 10_000 + 1):
        c.send(CONTINUATION, 0, 1, block)
    c.send(CONTINUATION, END_HEADERS, 1)


# --- run --------------------------------------------------------------------------------------------------------------------
def memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) >> 10


def main():
    deckle, word = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    site = Server(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    log = tempfile.TemporaryDirectory()
    # Not a reader's user agent anywhere here, so nothing may be refused for it.
    child = subprocess.Popen(
        [
            deckle,
            "proxy",
            "--listen",
            "127.0.0.1:0",
            "--log-dir",
            log.name,
            "--mode",
            "observe",
            "--upstream",
            f"http://127.0.0.1:{site.server_port}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "RUST_LOG": "error"},
    )
    verdicts = collections.Counter()
    start = time.monotonic()
    try:
        port = next(int(m[1]) for line in child.stdout if (m := re.search(r"listening on http://[^:]+:(\d+)", line)))
        chosen = [one for one in CASES if word in one[1] or word in one[0]]
        for section, name, expected, raw, run in chosen:
            before = memory(child.pid)
            Site.release.clear()
            c = None
            try:
                c = Conn(port, raw)
                c.growth = lambda before=before: memory(child.pid) - before
                run(c)
                verdict, told = "pass", expected(c)
            except Near as near:
                verdict, told = "near", str(near)
            except (Fail, OSError, queue.Empty) as why:
                verdict, told = "FAIL", f"{why!s} [{' '.join(c.seen[-6:]) if c else ''}]"
            finally:
                Site.release.set()
                if c:
                    c.sock.close()
            if name in KNOWN:
                verdict = "known" if verdict == "FAIL" else "FAIL"
                told += f": {KNOWN[name] if verdict == 'known' else 'no longer in KNOWN, then'}"
            verdicts[verdict] += 1
            print(f"{verdict:<5}  {section:<10} {name}: {told}", flush=True)
            if child.poll() is not None:
                raise SystemExit(f"deckle ended with {child.returncode}")
        print(f"{verdicts['near']} near, {verdicts['known']} known, {time.monotonic() - start:.1f} s")
        print(f"{len(chosen) - verdicts['FAIL']} passed, {verdicts['FAIL']} failed")
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(40)
        site.shutdown()
        log.cleanup()
    sys.exit(1 if verdicts["FAIL"] else 0)


if __name__ == "__main__":
    main()
