#!/usr/bin/env python3
"""The part of ClickHouse's HTTP interface that deckle speaks, on loopback, with the real engine behind it (chdb).

    shim.py DIR [PORT]      prints "listening PORT"; ends with its standard input, and the tables in DIR with it

`POST /fault?table=T&mode=M` makes inserts into T fail from now on: 500, hang, close (in mid-body), or none again.
There is one user with a password; without credentials everybody may do everything.
"""

import http.server
import os
import re
import shutil
import socket
import struct
import sys
import tempfile
import threading
import urllib.parse

import lz4.block
from chdb import session
from clickhouse_cityhash.cityhash import CityHash128

INSERT = re.compile(r"(?is)\s*INSERT\s+INTO\s+(\S+?)\s*\(([^)]*)\)\s*FORMAT\s+(\w+)\s*$")
FIELD = re.compile(rb'name="([^"]*)"')
FORMAT = re.compile(r"(?is)\sFORMAT\s+(\w+)\s*;?\s*$")
# Parameters of the address that are no settings.
NO_SETTINGS = {"query", "database", "default_format", "decompress"}
PASSWORDS = {"writer": "p@ss:word/1"}
LZ4 = 0x82

engine = session.Session(sys.argv[1])
one_at_a_time = threading.Lock()
faults = {}
changed = threading.Condition()


class Refused(Exception):
    """An exception of the engine: its number, and the status that it comes with."""

    def __init__(self, code, text, status=400):
        super().__init__(text)
        self.code, self.status = code, status


def checksum(frame):
    number = CityHash128(frame)
    return struct.pack("<QQ", number >> 64, number & (1 << 64) - 1)


def unframed(body):
    """Frames: a checksum, the method, two lengths, a block."""
    out = []
    while body:
        method, packed, plain = struct.unpack_from("<BII", body, 16)
        frame = body[16 : 16 + packed]
        if method != LZ4 or checksum(frame) != body[:16]:
            raise Refused(40, "Code: 40. DB::Exception: Checksum doesn't match. (CHECKSUM_DOESNT_MATCH)")
        out.append(lz4.block.decompress(frame[9:], uncompressed_size=plain))
        body = body[16 + packed :]
    return b"".join(out)


def fields(body, boundary):
    """A form: the statement and its parameters, each under its name."""
    out = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        out[FIELD.search(head)[1].decode()] = value.removesuffix(b"\r\n").decode()
    return out


def insert(table, columns, form, body):
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(body)
        file.flush()
        engine.query(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM file('{file.name}', '{form}')")
    return b""


def answer(parameters, body):
    if database := parameters.get("database"):
        engine.query(f"USE `{database}`")
    sql = parameters.get("query") or ""
    if found := INSERT.match(sql):
        return insert(*found.groups(), body)
    sql = sql or body.decode()
    form = parameters.get("default_format", "TabSeparated")
    if named := FORMAT.search(sql):
        form, sql = named[1], sql[: named.start()]
    values = {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}
    others = [name for name in parameters if name not in NO_SETTINGS and not name.startswith("param_")]
    if others and re.match(r"(?is)\s*(SELECT|DESCRIBE)\b", sql):
        sql = sql.rstrip().rstrip(";") + " SETTINGS " + ", ".join(f"{name} = {parameters[name]}" for name in others)
    return engine.query(sql, form, params=values).bytes() or b""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = []
        # A body that breaks off ends in a line without a number: an error, and no rows.
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(out)

    def check_user(self):
        user, password = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        if (user or password) and PASSWORDS.get(user) != password:
            text = f"Code: 516. DB::Exception: {user}: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)"
            raise Refused(516, text, 403)

    def fault(self, sql):
        """True: this request gets no answer."""
        found = INSERT.match(sql)
        table = found and found[1].strip("`").split("`.`")[-1]
        mode = faults.get(table)
        if mode == "close":
            self.rfile.read(1)
            self.connection.shutdown(socket.SHUT_RDWR)
        elif mode == "hang":
            with changed:
                changed.wait_for(lambda: faults.get(table) != "hang")
            self.connection.shutdown(socket.SHUT_RDWR)
        elif mode == "500":
            self.body()
            self.send(500, b"Internal Server Error")
        return mode in ("close", "hang", "500")

    def send(self, status, out, code=None):
        self.send_response(status)
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def do_POST(self):
        address = urllib.parse.urlparse(self.path)
        parameters = dict(urllib.parse.parse_qsl(address.query, keep_blank_values=True))
        if address.path == "/fault":
            with changed:
                faults[parameters["table"]] = parameters["mode"]
                changed.notify_all()
            return self.send(200, b"")
        if self.fault(parameters.get("query", "")):
            self.close_connection = True
            return None
        body = self.body()
        try:
            self.check_user()
            if self.headers.get_content_type() == "multipart/form-data":
                parameters |= fields(body, self.headers.get_boundary())
                body = b""
            with one_at_a_time:
                out = answer(parameters, unframed(body) if parameters.get("decompress") == "1" else body)
            # Not compressed: who asks may accept that, and need not get it.
            return self.send(200, out)
        except Refused as refused:
            return self.send(refused.status, str(refused).encode(), refused.code)
        except Exception as error:  # The engine's own: "Code: 60. DB::Exception: …".
            found = re.search(r"Code: (\d+)", str(error))
            return self.send(404 if found and found[1] == "60" else 400, str(error).encode(), found[1] if found else 1)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Handler)


def end_with_standard_input():
    sys.stdin.buffer.read()
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    os._exit(0)


threading.Thread(target=end_with_standard_input, daemon=True).start()
print("listening", server.server_address[1], flush=True)
server.serve_forever()
