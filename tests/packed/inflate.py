#!/usr/bin/env python3
"""Inflates the bodies that `packed_bodies` wrote, and compares each with the plain copy of its page.

    inflate.py DIR

A line for each decoder: bodies, bytes of their pages, and how many are different. Each decoder has to refuse a body
with another checksum, too; so one that looks at nothing is not taken for one that agrees. Exit 1 on any difference.
"""

import importlib
import pathlib
import struct
import subprocess
import sys
import zlib

# What one packet of Ethernet holds.
PACKET = 1_460


def fields(file):
    while length := file.read(4):
        yield file.read(struct.unpack("<I", length)[0])


def copies(path):
    """Number of the mark, plain copy, bodies."""
    with path.open("rb") as file:
        parts = fields(file)
        for number, (plain, *bodies) in enumerate(zip(parts, parts, parts, strict=True)):
            yield number, plain, [body for body in bodies if body]


def stream(module, step):
    """A decoder with the interface of zlib, which gets so many bytes at a time."""

    def inflate(body):
        decoder = module.decompressobj(31)
        page = b"".join(decoder.decompress(body[at : at + step]) for at in range(0, len(body), step))
        page += decoder.flush()
        if not decoder.eof or decoder.unused_data:
            raise ValueError("the body does not end where it should")
        return page

    return inflate


def gzip(body):
    done = subprocess.run(["gzip", "-dc"], input=body, capture_output=True)
    if done.returncode or done.stderr:
        raise ValueError(done.stderr.decode(errors="replace").strip())
    return done.stdout


def module(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"skipped: {name} ({error})")
        return None


def decoders():
    """Name, function, and of how many marks of a page the bodies are tried."""
    found = []
    for name, where in (("zlib", "zlib"), ("zlib-ng", "zlib_ng.zlib_ng"), ("ISA-L", "isal.isal_zlib")):
        if one := module(where):
            found.append((name, stream(one, sys.maxsize), sys.maxsize))
            found.append((name + ", by packets", stream(one, PACKET), sys.maxsize))
    if libdeflate := module("deflate"):
        found.append(("libdeflate", libdeflate.gzip_decompress, sys.maxsize))
    try:
        version = subprocess.run(["gzip", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
        found.append((version + ", 3 marks", gzip, 3))
    except OSError as error:
        print(f"skipped: gzip ({error})")
    return found


def agrees(inflate, body, plain):
    try:
        return bytes(inflate(body)) == plain
    except Exception:  # Each decoder has errors of its own.
        return False


def main(directory):
    containers = sorted(pathlib.Path(directory).glob("*.bodies"))
    failed = False
    for name, inflate, marks in decoders():
        bodies, length, different, noticed = 0, 0, [], True
        for path in containers:
            for number, plain, of_copy in copies(path):
                if number >= marks:
                    break
                for which, body in enumerate(of_copy):
                    bodies, length = bodies + 1, length + len(plain)
                    if not agrees(inflate, body, plain):
                        different.append(f"{path.stem}, mark {number}, effort {('Quick', 'Full')[which]}")
                if number == 0:
                    wrong = bytearray(of_copy[0])
                    wrong[-8] ^= 1
                    noticed &= not agrees(inflate, bytes(wrong), plain)
        print(f"{name:24} {bodies:6} bodies {length / 1e6:8.1f} MB {len(different):4} different")
        for where in different[:5]:
            print(f"    {where}")
        if not noticed:
            print("    a wrong checksum was not noticed")
        failed |= bodies == 0 or bool(different) or not noticed
    return failed


sys.exit(main(sys.argv[1]))
