"""What people take text out of pages with: one function a tool, `run(page)`, which gives text, Markdown or HTML."""

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

warnings.filterwarnings("ignore")
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
STOP_WORDS = {"en": "English", "de": "German", "fr": "French", "fa": "Persian", "hi": "Hindi", "ar": "Arabic"}


@dataclass
class Page:
    """A page as a visitor got it."""

    name: str
    html: str
    lang: str
    url: str  # Where a mirror can fetch the same bytes.


@dataclass
class Tool:
    """`white`: whether marks in white space must be read in what comes out, or must not; `None`: no promise. `seals`: the share
    of seals that must come through whole, likewise; `spellings`, `alternatives`: of the places in paragraphs that the tool
    kept. `slow`: not with --quick, and on few pages."""

    name: str
    run: Callable[[Page], str]
    needs: str  # A package of PyPI, or a program.
    form: str = "txt"
    white: bool | None = None
    seals: float | None = 0.99
    slow: bool = False
    spellings: float | None = 0.97
    alternatives: float | None = 0.9


def program(*command, stdin, env=None):
    """What a program makes of its standard input."""
    out = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=120, env={**os.environ, **(env or {})})
    return out.stdout.decode("utf-8", "replace")


# --- one by one -------------------------------------------------------------------------------------------------------
def raw(page):
    return page.html


def httrack(page):
    with tempfile.TemporaryDirectory() as directory:
        command = ["httrack", page.url, "-r1", "-O", directory, "--quiet", "--robots=0", "--disable-security-limits"]
        subprocess.run(command, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        saved = [p for p in Path(directory).rglob("*.html") if p.parent != Path(directory)]
        return max((p.read_text("utf-8", "replace") for p in saved), key=len, default="")


def soup(parser, *arguments, **named):
    def run(page):
        from bs4 import BeautifulSoup

        return BeautifulSoup(page.html, parser).get_text(*arguments, **named)

    return run


def readability(page):
    from readability import Document

    return Document(page.html).summary()


def readability_text(page):
    from bs4 import BeautifulSoup

    return BeautifulSoup(readability(page), "html.parser").get_text()


def markdownify(page):
    import markdownify

    return markdownify.markdownify(page.html)


def justext(page):
    import justext

    words = justext.get_stoplist(STOP_WORDS.get(page.lang, "English"))
    return "\n\n".join(p.text for p in justext.justext(page.html.encode(), words) if not p.is_boilerplate)


def trafilatura(**named):
    def run(page):
        import trafilatura

        return trafilatura.extract(page.html, **named) or ""

    return run


WITH_ALL = {"include_links": True, "include_images": True, "include_formatting": True}


def newspaper(page):
    from newspaper import Article

    article = Article(page.url, fetch_images=False)
    article.download(input_html=page.html)
    article.parse()
    return article.text


def goose(page):
    from goose3 import Goose

    with Goose({"enable_image_fetching": False}) as goose:
        return goose.extract(raw_html=page.html).cleaned_text


def resiliparse(**named):
    def run(page):
        from resiliparse.extract.html2text import extract_plain_text

        return extract_plain_text(page.html, **named)

    return run


def inscriptis(page):
    from inscriptis import get_text

    return get_text(page.html)


def html2text(page):
    import html2text

    reader = html2text.HTML2Text()
    reader.body_width = 0
    return reader.handle(page.html)


def lynx(page):
    return program("lynx", "-stdin", "-dump", "-nolist", "-width=10000", "-assume_charset=utf-8", "-display_charset=utf-8", stdin=page.html)


def lynx_in_ascii(page):
    return program("lynx", "-stdin", "-dump", "-nolist", "-width=10000", stdin=page.html, env={"LC_ALL": "C"})


def w3m(page):
    command = ["w3m", "-dump", "-T", "text/html", "-I", "UTF-8", "-O", "UTF-8", "-cols", "10000"]
    return program(*command, stdin=page.html, env={"LC_ALL": "C.UTF-8"})


def pandoc(form):
    return lambda page: program("pandoc", "-f", "html", "-t", form, "--wrap=none", stdin=page.html)


def html2text_in_c(page):
    return program("html2text", "-utf8", "-width", "10000", stdin=page.html)


@contextlib.contextmanager
def in_chromium(page, script=""):
    """Runs Chromium on a saved page without scripts and style sheets of others."""
    with tempfile.TemporaryDirectory(prefix="deckle-chromium-") as directory:
        html = re.sub(r"<script\b.*?</script>|<link\b[^>]*>", "", page.html, flags=re.S | re.I)
        end = html.rfind("</body>")
        end = len(html) if end < 0 else end
        saved = Path(directory, "page.html")
        saved.write_text(html[:end] + script + html[end:])

        def run(*arguments):
            command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile", "--no-first-run"]
            # What the page names elsewhere is nobody's business here.
            command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--disable-component-update"]
            return subprocess.run([*command, *arguments, saved.as_uri()], capture_output=True, timeout=120).stdout.decode("utf-8", "replace")

        yield Path(directory), run


# What a reader gets who selects all and copies.
SELECT = """<script>
getSelection().selectAllChildren(document.body);
document.documentElement.setAttribute("data-selected", encodeURIComponent(String(getSelection())));
</script>"""


def selection(page):
    with in_chromium(page, SELECT) as (_, run):
        found = re.search(r'data-selected="([^"]*)"', run("--dump-dom"))
        return urllib.parse.unquote(found[1]) if found else ""


def document(page):
    with in_chromium(page) as (_, run):
        return run("--dump-dom")


def pdf(*options):
    def read(page):
        with in_chromium(page) as (directory, run):
            run("--no-pdf-header-footer", f"--print-to-pdf={directory}/page.pdf")
            out = subprocess.run(["pdftotext", *options, f"{directory}/page.pdf", "-"], capture_output=True, timeout=60)
            return out.stdout.decode("utf-8", "replace")

    return read


TOOLS = [
    Tool("page as it came", raw, "", "html", white=True),
    Tool("HTTrack", httrack, "httrack", "html", white=True),
    Tool("BeautifulSoup `get_text()`", soup("html.parser"), "beautifulsoup4", white=True),
    Tool("BeautifulSoup `get_text(' ', strip=True)`", soup("lxml", " ", strip=True), "beautifulsoup4", white=True),
    Tool("readability-lxml, HTML", readability, "readability-lxml", "html", white=True),
    Tool("readability-lxml, text", readability_text, "readability-lxml", white=True),
    Tool("markdownify", markdownify, "markdownify", "md", white=True),
    Tool("jusText", justext, "jusText"),
    Tool("trafilatura, text", trafilatura(), "trafilatura", white=False),
    Tool("trafilatura, Markdown", trafilatura(output_format="markdown", **WITH_ALL), "trafilatura", "md"),
    Tool("trafilatura, HTML", trafilatura(output_format="html", **WITH_ALL), "trafilatura", "html"),
    Tool("newspaper4k", newspaper, "newspaper4k", white=False),
    Tool("goose3", goose, "goose3", white=False),
    Tool("Resiliparse, all text", resiliparse(), "Resiliparse", white=False),
    Tool("Resiliparse, main content", resiliparse(main_content=True), "Resiliparse", white=False),
    Tool("inscriptis", inscriptis, "inscriptis", white=False),
    Tool("html2text (Python)", html2text, "html2text", "md"),
    Tool("Lynx", lynx, "lynx", white=False),
    Tool("w3m", w3m, "w3m", white=False),
    Tool("pandoc, GFM", pandoc("gfm"), "pandoc", "md"),
    Tool("pandoc, plain", pandoc("plain"), "pandoc"),
    Tool("pandoc, Markdown", pandoc("markdown"), "pandoc", "md"),
    # It writes links as one word, with a line under it.
    Tool("html2text (C++)", html2text_in_c, "html2text-program", spellings=0.95, alternatives=0.85),
    Tool("Lynx in `LC_ALL=C`", lynx_in_ascii, "lynx", white=False, seals=None, spellings=0),
    Tool("Chromium, saved document", document, "chromium", "html", white=True, slow=True),
    Tool("Chromium, select all and copy", selection, "chromium", white=False, seals=None, slow=True),
    Tool("Chromium, print to PDF, `pdftotext`", pdf(), "pdftotext", seals=None, spellings=None, alternatives=None, slow=True),
    Tool("Chromium, print to PDF, `pdftotext -layout`", pdf("-layout"), "pdftotext", seals=None, spellings=None, alternatives=None, slow=True),
]

VERSIONS = {
    "httrack": ["httrack", "--version"],
    "lynx": ["lynx", "--version"],
    "w3m": ["w3m", "-version"],
    "pandoc": ["pandoc", "--version"],
    "html2text-program": ["html2text", "-version"],
    "chromium": [CHROMIUM or "chromium", "--version"],
    "pdftotext": ["pdftotext", "-v"],
}


def version(tool):
    """Its version, or None where it is not to be had."""
    if not tool.needs:
        return ""
    if tool.needs not in VERSIONS:
        try:
            return importlib.metadata.version(tool.needs)
        except importlib.metadata.PackageNotFoundError:
            return None
    command = VERSIONS[tool.needs]
    if not shutil.which(command[0]) or (tool.slow and not CHROMIUM):
        return None
    out = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"(\d+(?:[.-]\d+)+\w*)", out.stdout + out.stderr)
    return found[1] if found else "unknown"
