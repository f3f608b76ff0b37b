"""The clients of scripts/load, and the count afterwards."""

import asyncio
import glob
import json
import os
import signal
import sys
import time

port, server, log, clients, seconds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
PATHS = ["/", "/static/base.css", "/city/", "/img/logo.svg", "/feed.xml", "/static/menu.js"]
UA = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
counts = {"answers": 0, "errors": 0, "bytes": 0}
samples = []


def rss():
    with open(f"/proc/{server}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        counts["bytes"] += len(await reader.readexactly(length))
    elif b"chunked" in lower:
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            counts["bytes"] += len(await reader.readexactly(size + 2)) - 2
            if size == 0:
                break
    else:
        raise ValueError("no length")
    return status


async def client(number, end):
    # A loopback address for every four clients, as in a real crowd.
    source = (f"127.{1 + number // 4 // 250}.0.{1 + number // 4 % 250}", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
        turn = number
        while time.monotonic() < end:
            path = PATHS[turn % len(PATHS)]
            turn += 1
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {UA}\r\nAccept: text/html\r\n\r\n".encode())
            status = await asyncio.wait_for(answer(reader), 60)
            counts["answers"] += 1
            counts["errors"] += status != 200
        writer.close()
    except (OSError, ValueError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
        counts["errors"] += 1
        print(f"client {number}: {error!r}")


async def watch(end):
    while time.monotonic() < end:
        samples.append(rss())
        await asyncio.sleep(1)


async def main():
    end = time.monotonic() + seconds
    await asyncio.gather(watch(end), *(client(number, end) for number in range(clients)))


asyncio.run(main())
os.kill(server, signal.SIGTERM)
records = dropped = 0
for _ in range(300):
    ended = any('"deckle.kind":"end"' in open(f).read()[-2000:] for f in glob.glob(f"{log}/audit-*.ndjson"))
    if ended:
        break
    time.sleep(0.1)
for file in glob.glob(f"{log}/audit-*.ndjson"):
    for line in open(file):
        entry = json.loads(line)
        kind = entry.get("deckle.kind")
        records += kind is None
        if kind == "gap":
            dropped += entry.get("dropped.channel_full", 0) + entry.get("dropped.io", 0)
# The first seconds fill the tables and the pools of 1,000 connections.
settled = samples[len(samples) // 3 :]
growth = (max(settled[-3:]) - settled[0]) / settled[0] if settled else 0
print(
    f"{clients} clients, {seconds:.0f} s: {counts['answers']} answers ({counts['answers'] / seconds:.0f}/s), "
    f"{counts['errors']} errors, {records} records + {dropped} counted drops, "
    f"RSS {samples[0] // 1024} MiB at first, {settled[0] // 1024} MiB settled, {samples[-1] // 1024} MiB at the end"
)
assert counts["errors"] == 0, "errors"
assert counts["answers"] == records + dropped, "requests are not records + drops"
assert growth < 0.15, f"memory grew by {growth:.0%}"
