// The copy guard on a page made for it, in every mode: what is on the clipboard, and what stays as it was.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { behind, context, copy, launch, watch } from "./chrome.mjs";

const words = (n) => Array.from({ length: n }, (_, i) => `word${i + 1}`).join(" ");
const CREDIT = "\n\n\u2014 OG title \u00b7 Ann Lee \u00b7 The Post\nhttps://news.test/a?x=1\nCC BY 4.0\n";
const JAPANESE = "委員会は月曜日、六月末までに報告書の全文を公表しないと述べた。".repeat(8);
const GUARD = '[page.guard]\nsite_name = "The Post"\nlicense = "CC BY 4.0"\n';

const pages = new Map([["/favicon.ico", { html: "" }]]);
const page = (body, { lang = "en", head = {} } = {}) => ({
  head,
  html: `<!doctype html><html lang="${lang}"><head><meta charset="utf-8"><title>Title</title>
    <meta property="og:title" content="OG title"><meta name="author" content="Ann Lee">
    <link rel="canonical" href="https://news.test/a?x=1#frag"></head><body>${body}</body></html>`,
});
const answer = (url) => pages.get(new URL(url, "http://x").pathname);

let browser;
const sites = {};
before(async () => {
  mkdirSync("shots", { recursive: true });
  browser = await launch();
  sites.attribute = await behind(GUARD, answer);
  sites.quote = await behind(`${GUARD}mode = "quote"\nmin_words = 5\nquote_words = 10\n`, answer);
  sites.block = await behind(`${GUARD}mode = "block"\n`, answer);
  sites.hide = await behind(`${GUARD}mode = "block"\nblock = { print = "hide", keys = ["s"] }\n`, answer);
  sites.beacon = await behind(`${GUARD}beacon = true\n`, answer);
  sites.silent = await behind(`${GUARD}mode = "block"\ntoast = "never"\n`, answer);
});
after(async () => {
  await browser?.close();
  await Promise.all(Object.values(sites).map((site) => site.stop()));
});

// Opens a page behind deckle.
const open = async (mode, body, options = {}, contextOptions = {}) => {
  const { base } = sites[mode];
  pages.set("/p", page(body, options));
  const made = await context(browser, contextOptions, base);
  const tab = await made.newPage();
  const problems = watch(tab);
  await tab.goto(`${base}/p`);
  if (options.guarded !== false) await tab.waitForFunction(() => window.__deckle === 1);
  return { tab, base, problems, close: () => made.close() };
};
const all = (selector) => getSelection().selectAllChildren(document.querySelector(selector));
const range = ([from, to]) => {
  const text = (selector) => {
    const walker = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
    return walker.nextNode();
  };
  const [start, end] = [text(from), text(to)];
  getSelection().setBaseAndExtent(start, 0, end, end.length);
};

// What is copied with the guard in a mode, and without it.
const copied = async (mode, body, select, argument, options) => {
  const opened = await open(mode, body, options);
  const got = await copy(opened.tab, select, argument);
  assert.deepEqual(opened.problems, []);
  await opened.close();
  return got;
};
const native = (body, select, argument, options = {}) =>
  copied("attribute", body, select, argument, { ...options, head: { "x-deckle-guard": "off" }, guarded: false });

// name, markup, how it is selected, what becomes of the text: "native", or a suffix
const ROWS = [
  ["30 words", `<p>${words(30)}</p>`, all, "p", "native"],
  ["31 words", `<p>${words(31)}</p>`, all, "p", CREDIT],
  ["images between the ends", `<i id=a>x</i> <figure><img alt="a cat"></figure> <i>${words(40)} <img alt=pic></i> <i id=b>end</i>`, range, ["#a", "#b"], CREDIT],
  ["an image at the end of the range", `<p>${words(40)} <img alt=pic></p>`, all, "p", "native"],
  ["images that say nothing", `<p><img alt=""><img> ${words(35)} <b>end</b></p>`, all, "p", CREDIT],
  ["a host without a box", `<p>${words(40)} <x-h style="display:contents"></x-h> tail</p><script>document.querySelector("x-h").attachShadow({ mode: "open" }).innerHTML = "deep text"</script>`, all, "p", "native"],
  ["cells of a table", `<table><tr><td id=a>${words(20)}</td><td>b</td></tr><tr><td>c</td><td id=b>${words(20)}</td></tr></table>`, range, ["#a", "#b"], CREDIT],
  ["text that is shown in capitals", `<p style="text-transform:uppercase">${words(40)}</p>`, all, "p", CREDIT],
  ["a field with a value", `<p>${words(40)} <input value=typed> more</p>`, all, "p", "native"],
  ["a select", `<p>${words(40)} <select><option>one</select> more</p>`, all, "p", "native"],
  ["a field that is in focus elsewhere", `<input autofocus><p>${words(40)}</p>`, all, "p", CREDIT],
  ["design mode", `<p>${words(40)}</p><script>document.designMode = "on"</script>`, all, "p", "native"],
  ["editable text", `<div contenteditable>${words(40)}</div>`, all, "div", "native"],
  ["a text box by its role", `<div role=textbox>${words(40)}</div>`, all, "div", "native"],
  ["Japanese", `<p>${JAPANESE}</p>`, all, "p", CREDIT],
  ["a part of a paragraph", `<p id=a>${words(20)}</p><p id=b>${words(20)}</p>`, range, ["#a", "#b"], CREDIT],
];
for (const [name, body, select, argument, ending] of ROWS)
  test(`attribute: ${name}`, async () => {
    const without = (await native(body, select, argument))["text/plain"];
    const both = await copied("attribute", body, select, argument);
    const got = both["text/plain"];
    assert.ok(without.length > 20, without);
    assert.equal(got, ending === "native" ? without : without + ending);
    if (ending === "native") return;
    // The rich form says the same, and rows stay rows.
    const rich = both["text/html"];
    const text = rich.slice(0, rich.indexOf("</blockquote>")).replace(/<img[^>]*alt="([^"]*)"[^>]*>/g, "$1").replace(/<[^>]*>/g, "");
    assert.equal(text.replace(/\s/g, ""), without.replace(/\s/g, ""));
    assert.equal(/<table>.*<\/table>/s.test(rich), body.includes("<table"));
  });

test("attribute: an empty field is no text", async () => {
  const got = await copied("attribute", `<p>${words(40)} <input placeholder=Email> more</p>`, all, "p");
  assert.ok(got["text/plain"].endsWith(`more${CREDIT}`) && !got["text/plain"].includes("Email"), got["text/plain"]);
});

test("attribute: the rich form is clean and complete", async () => {
  const markup = `<p>${words(31)} <b>bold</b> <a href=/rel class=c onclick="x()" style="color:red">link</a>
    <a href="javascript:alert(1)">bad</a> <x-y lang=de>own</x-y> <i hidden>hidden</i> <i style="user-select:none">none</i></p>`;
  const opened = await open("attribute", markup);
  const got = await copy(opened.tab, all, "p");
  assert.equal(
    got["text/html"].replace(/\s+/g, " "),
    `<blockquote cite="https://news.test/a?x=1"><p>${words(31)} <b>bold</b> <a href="${opened.base}/rel">link</a> <a>bad</a> ` +
      '<span lang="de">own</span> </p></blockquote><p>\u2014 OG title \u00b7 Ann Lee \u00b7 The Post<br>' +
      '<a href="https://news.test/a?x=1">https://news.test/a?x=1</a><br>CC BY 4.0</p>',
  );
  await opened.close();
});

test("attribute: shadow trees", async () => {
  const host = (mode) => `<x-host></x-host><script>
    document.querySelector("x-host").attachShadow({ mode: "${mode}" }).innerHTML = "<p>${words(40)}</p><input value=inside>";
  </script>`;
  const inside = (selector) => {
    const p = document.querySelector("x-host").shadowRoot.querySelector(selector);
    if (selector === "input") p.select();
    else getSelection().selectAllChildren(p);
  };
  const shadow = await copied("attribute", host("open"), inside, "p");
  assert.equal(shadow["text/plain"], words(40) + CREDIT);
  assert.ok(shadow["text/html"].includes(words(40)), shadow["text/html"]);
  assert.equal((await copied("attribute", host("open"), inside, "input"))["text/plain"], "inside");
  // A selection that crosses the host holds its text only in the browser's own copy.
  const crossing = `<p id=a>${words(40)}</p>${host("open").replace(words(40), "deep inside")}<p id=b>end</p>`;
  const got = await copied("attribute", crossing, range, ["#a", "#b"]);
  assert.match(got["text/plain"], /deep inside/);
  assert.doesNotMatch(got["text/plain"], /\u2014/);
});

test("attribute: nothing selected, nothing done", async () => {
  const caret = () => getSelection().collapse(document.querySelector("p").firstChild, 3);
  assert.equal((await copied("attribute", `<p>${words(40)}</p>`, caret))["text/plain"], "SENTINEL");
});

test("attribute: cutting plain text is not copying", async () => {
  const { tab, close } = await open("attribute", `<p>${words(40)}</p>`);
  await tab.evaluate(() => navigator.clipboard.writeText("SENTINEL"));
  await tab.evaluate(all, "p");
  await tab.keyboard.press("Control+x");
  assert.equal(await tab.evaluate(() => navigator.clipboard.readText()), "SENTINEL");
  await close();
});

test("attribute: content blockers and the site's own buttons win", async () => {
  const blocker = `<p>${words(40)}</p><script>addEventListener("copy", (e) => e.stopImmediatePropagation(), true)</script>`;
  assert.equal((await copied("attribute", blocker, all, "p"))["text/plain"], words(40));
  const { tab, close } = await open("attribute", `<p>${words(40)}</p>`);
  await tab.evaluate(() => navigator.clipboard.writeText("x"));
  assert.equal(await tab.evaluate(() => navigator.clipboard.readText()), "x");
  await close();
});

test("attribute: one credit however many tags", async () => {
  const opened = await open("attribute", `<p>${words(40)}</p>`);
  await opened.tab.evaluate(() => new Promise((done) => {
    const twin = document.createElement("script");
    for (const { name, value } of document.querySelector("script[data-deckle]").attributes) twin.setAttribute(name, value);
    twin.onload = done;
    document.head.append(twin);
  }));
  const got = await copy(opened.tab, all, "p");
  assert.equal(got["text/plain"], words(40) + CREDIT);
  await opened.close();
});

test("attribute: a drag carries the source, a link does not", async () => {
  const { tab, close } = await open("attribute", `<p id=t>${words(33)}</p><a id=l href=/x>link</a>`);
  const drag = (selector) =>
    tab.evaluate((target) => {
      const node = document.querySelector(target);
      getSelection().selectAllChildren(document.querySelector("#t"));
      const event = new DragEvent("dragstart", { bubbles: true, dataTransfer: new DataTransfer() });
      node.dispatchEvent(event);
      return [event.dataTransfer.getData("text/plain"), event.defaultPrevented];
    }, selector);
  assert.deepEqual(await drag("#t"), [words(33) + CREDIT, false]);
  assert.deepEqual(await drag("#l"), ["", false]);
  await close();
});

test("attribute: addresses lose what tracks, titles what breaks", async () => {
  const { tab, base, close } = await open("attribute", `<p>${words(40)}</p>`);
  await tab.evaluate(() => {
    document.querySelector("link[rel=canonical]").href = "javascript:alert(1)";
    document.querySelector('meta[property="og:title"]').content = `  a\n title \u05d0 ${"x".repeat(300)}`;
    history.replaceState(0, "", "?utm_source=x&utm_medium=y&id=7&fbclid=z#frag");
  });
  const lines = (await copy(tab, all, "p"))["text/plain"].split("\n");
  assert.equal(lines[3], `${base}/p?id=7`);
  assert.match(lines[2], /^\u2014 \u2068a title \u05d0 x+\u2069 \u00b7 Ann Lee/u);
  assert.ok([...lines[2]].length < 240);
  await close();
});

test("quote: a long copy is cut at a word, credited, and the reader is told", async () => {
  const opened = await open("quote", `<p>${words(31)}</p>`);
  const got = await copy(opened.tab, all, "p");
  assert.equal(got["text/plain"], `${words(10)} [\u2026]${CREDIT}`);
  assert.ok(got["text/html"].startsWith(`<blockquote cite="https://news.test/a?x=1">${words(10)} [\u2026]</blockquote>`));
  const toast = opened.tab.getByRole("status");
  await toast.filter({ hasText: "A short excerpt was copied, together with its source." }).waitFor();
  await opened.tab.screenshot({ path: "shots/toast.png" });
  await opened.close();
  const short = await copied("quote", `<p>${words(8)}</p>`, all, "p");
  assert.equal(short["text/plain"], words(8) + CREDIT);
  const japanese = await copied("quote", `<p>${JAPANESE}</p>`, all, "p");
  assert.match(japanese["text/plain"], /^委員会.{5,40} \[\u2026\]\n\n\u2014/u);
});

test("block: text is not copied, the clipboard keeps what it had, the reader is told", async () => {
  const { tab, problems, close } = await open("block", `<p>${words(40)}</p>`);
  await tab.click("p", { clickCount: 3 });
  assert.equal(await tab.evaluate(() => `${getSelection()}`), "", "a triple click selects nothing");
  await tab.evaluate(() => navigator.clipboard.writeText("SENTINEL"));
  await tab.evaluate(() => {
    // As an extension would select it.
    document.adoptedStyleSheets = [];
    getSelection().selectAllChildren(document.querySelector("p"));
  });
  await tab.keyboard.press("Control+c");
  await tab.getByRole("status").filter({ hasText: "Copying is switched off on this page." }).waitFor();
  assert.equal(await tab.evaluate(() => navigator.clipboard.readText()), "SENTINEL");
  assert.deepEqual(problems, []);
  await close();
});

test("block: fields, code and editable text are copied", async () => {
  for (const [markup, select, argument] of [
    [`<textarea>${words(40)}</textarea>`, () => { const t = document.querySelector("textarea"); t.focus(); t.select(); }],
    [`<pre>${words(40)}</pre>`, all, "pre"],
    [`<div contenteditable>${words(40)}</div>`, all, "div"],
    [`<p data-deckle=off>${words(40)}</p>`, all, "p"],
  ])
    assert.equal((await copied("block", markup, select, argument))["text/plain"].trim(), words(40), markup);
});

test("block: the menu stays where somebody needs it, keys are nobody's business", async () => {
  const { tab, close } = await open("block", `<p id=t>text</p><a id=l href=/x>link</a><input id=i><img id=m src=x.png alt=x>`);
  const menu = (selector, init) =>
    tab.evaluate(([target, options]) => {
      const event = new PointerEvent("contextmenu", { bubbles: true, cancelable: true, composed: true, button: 2, ...options });
      document.querySelector(target).dispatchEvent(event);
      return event.defaultPrevented;
    }, [selector, init]);
  assert.equal(await menu("#t"), true);
  assert.equal(await menu("#t", { button: 0, pointerType: "touch" }), true);
  for (const [selector, init] of [["#l"], ["#i"], ["#m"], ["#t", { shiftKey: true }], ["#t", { button: -1, pointerType: "mouse" }]])
    assert.equal(await menu(selector, init), false, selector);
  await tab.evaluate(() => {
    window.prevented = [];
    addEventListener("keydown", (e) => setTimeout(() => e.defaultPrevented && window.prevented.push(e.key)));
  });
  for (const key of ["Tab", "Space", "Home", "End", "ContextMenu", "F12", "Control+a"]) await tab.keyboard.press(key);
  for (const key of ["u", "p", "f", "l", "s"])
    await tab.evaluate((k) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: k, ctrlKey: true, bubbles: true, cancelable: true })), key);
  assert.deepEqual(await tab.evaluate(() => new Promise((done) => setTimeout(() => done(window.prevented)))), []);
  await close();
});

test("block: what the site lets be dragged can be dragged", async () => {
  const { tab, close } = await open("block", `<pre id=t>${words(40)}</pre><p id=p>${words(40)}</p><div id=d draggable=true>drag me</div>`);
  const prevented = (selection, target) =>
    tab.evaluate(([from, on]) => {
      document.adoptedStyleSheets = [];
      getSelection().selectAllChildren(document.querySelector(from));
      const event = new DragEvent("dragstart", { bubbles: true, cancelable: true, composed: true, dataTransfer: new DataTransfer() });
      document.querySelector(on).dispatchEvent(event);
      return event.defaultPrevented;
    }, [selection, target]);
  assert.deepEqual([await prevented("#p", "#p"), await prevented("#t", "#d"), await prevented("#p", "#d")], [true, false, false]);
  await close();
});

test("block: find, the accessibility tree and print are what they were", async () => {
  const body = `<p>${words(40)} findme</p>`;
  const off = await open("block", body, { head: { "x-deckle-guard": "off" }, guarded: false });
  const on = await open("block", body);
  assert.equal(await on.tab.evaluate(() => window.find("findme")), true);
  assert.equal(await on.tab.locator("body").ariaSnapshot(), await off.tab.locator("body").ariaSnapshot());
  const [with_, without] = [await on.tab.pdf(), await off.tab.pdf()];
  assert.ok(Math.abs(with_.length - without.length) < 200, `${with_.length} ${without.length}`);
  await on.tab.emulateMedia({ media: "print" });
  assert.ok(await on.tab.locator("p").isVisible());
  await off.close();
  await on.close();
});

test("block: print and keys are taken only where the site says so", async () => {
  const { tab, close } = await open("hide", `<p>${words(40)}</p><textarea></textarea>`);
  const save = (selector) =>
    tab.evaluate((target) => {
      const event = new KeyboardEvent("keydown", { key: "s", ctrlKey: true, bubbles: true, cancelable: true });
      document.querySelector(target).dispatchEvent(event);
      return event.defaultPrevented;
    }, selector);
  assert.deepEqual([await save("body"), await save("textarea")], [true, false]);
  await tab.emulateMedia({ media: "print" });
  assert.equal(await tab.evaluate(() => getComputedStyle(document.body).display), "none");
  await close();
});

test("the message: said once, in the language of the page, over a dialog, gone with Escape, and never a part of the page", async () => {
  const { tab, close } = await open("block", `<dialog><p>${words(40)}</p></dialog>`, { lang: "ar" }, { reducedMotion: "reduce" });
  const refuse = async () => {
    await tab.evaluate(() => {
      document.adoptedStyleSheets = [];
      getSelection().selectAllChildren(document.querySelector("p"));
    });
    await tab.keyboard.press("Control+c");
  };
  await tab.evaluate(() => {
    window.shift = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((e) => (window.shift += e.value))).observe({ type: "layout-shift", buffered: true });
    document.querySelector("dialog").showModal();
  });
  await refuse();
  const said = tab.locator("dialog").getByRole("status").filter({ hasText: "النسخ معطّل في هذه الصفحة." });
  await said.waitFor();
  const toast = await said.elementHandle();
  assert.deepEqual(
    await toast.evaluate((p) => [p.dir, p.lang, p.getAttribute("aria-live"), p.getAttribute("aria-atomic"), getComputedStyle(p).direction]),
    ["rtl", "ar", "polite", "true", "rtl"],
  );
  assert.doesNotMatch(await tab.evaluate(() => document.body.innerText), /النسخ/);
  assert.equal(await toast.evaluate((p) => getComputedStyle(p).pointerEvents), "none");
  assert.match(await toast.evaluate((p) => getComputedStyle(p).transition), /^(all|none)( 0s.*)?$/);
  await tab.screenshot({ path: "shots/toast-rtl.png" });
  await tab.keyboard.press("Escape");
  assert.equal(await toast.evaluate((p) => p.textContent), "");
  assert.equal(await tab.evaluate(() => window.shift), 0);
  await close();
  const silent = await open("silent", `<p>${words(40)}</p>`);
  await silent.tab.evaluate(() => {
    document.adoptedStyleSheets = [];
    getSelection().selectAllChildren(document.querySelector("p"));
  });
  await silent.tab.keyboard.press("Control+c");
  assert.equal(await silent.tab.getByRole("status").count(), 0);
  await silent.close();
});

test("the beacon tells that something was copied, how long it was and where, and not of those who do not want it", async () => {
  for (const wanted of [true, false]) {
    const { tab, base, close } = await open("beacon", `<p>${words(120)}</p>`);
    const sent = [];
    tab.on("response", (r) => r.url().includes("copied") && sent.push([r.request().method(), r.url().slice(base.length), r.request().postData(), r.status()]));
    await tab.evaluate((gpc) => Object.defineProperty(navigator, "globalPrivacyControl", { value: gpc }), !wanted);
    const got = await copy(tab, all, "p");
    assert.equal(got["text/plain"], words(120) + CREDIT);
    await tab.waitForLoadState("networkidle");
    assert.deepEqual(sent, wanted ? [["POST", "/.deckle/copied?v=1&k=credit&b=2&p=%2Fp", null, 204]] : []);
    await close();
  }
});

// WCAG 2.2, relative luminance.
const contrast = ([a, b]) => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
  return (x + 0.05) / (y + 0.05);
};
for (const [name, options] of [["light", {}], ["dark", { colorScheme: "dark" }], ["forced colours", { forcedColors: "active" }]])
  test(`the message can be read in ${name}`, async () => {
    const { tab, close } = await open("quote", `<p>${words(40)}</p>`, {}, options);
    await copy(tab, all, "p");
    const toast = tab.getByRole("status").filter({ hasText: "excerpt" });
    await toast.waitFor();
    const colours = await toast.evaluate((p) => [getComputedStyle(p).color, getComputedStyle(p).backgroundColor]);
    assert.ok(contrast(colours) >= 7, colours.join(" on "));
    await close();
  });

test("a strict policy of the site changes nothing of this", async () => {
  const head = { "content-security-policy": "default-src 'self'; style-src 'none'; require-trusted-types-for 'script'" };
  const got = await copied("attribute", `<p>${words(40)}</p>`, all, "p", { head });
  assert.equal(got["text/plain"], words(40) + CREDIT);
  const { tab, problems, close } = await open("block", `<p>${words(40)}</p>`, { head });
  await tab.click("p", { clickCount: 3 });
  assert.equal(await tab.evaluate(() => `${getSelection()}`), "");
  assert.deepEqual(problems, []);
  await close();
});

test("how long a copy of 5,000 words holds the page up", async () => {
  const { tab, close } = await open("attribute", Array.from({ length: 50 }, () => `<p>${words(100)}</p>`).join(""));
  const times = [];
  await tab.evaluate(() => {
    document.body.id = "all";
    // In the capture phase first, last in the bubble phase.
    addEventListener("copy", () => (window.from = performance.now()), true);
    addEventListener("copy", () => (window.took = performance.now() - window.from));
  });
  for (let i = 0; i < 9; i++) {
    const got = await copy(tab, all, "#all");
    assert.ok(got["text/plain"].endsWith(CREDIT));
    times.push(await tab.evaluate(() => window.took));
  }
  times.sort((a, b) => a - b);
  console.log(`# a copy of 5,000 words: median ${times[4].toFixed(1)} ms in the handlers`);
  await close();
});
