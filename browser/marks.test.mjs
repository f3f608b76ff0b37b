// Marks harm no reader: each page goes through two proxies, one that marks whatever it may and one that marks nothing, and
// what a browser makes of the two must be the same: pixels, what is read aloud, what is found, copied, printed, translated.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { firefox } from "playwright-core";
import { behind, context, copy, launch } from "./chrome.mjs";

const run = promisify(execFile);
// No copy guard, which writes the address, and no style sheet to tell browsers by: both are others behind each proxy.
const GUARD = `[page.guard]\nmode = "off"\n[suspicion]\nbeacon = "off"\n`;
const OFF = `${GUARD}[watermark]\nlevel = "off"\n`;
const ALWAYS = `${GUARD}[watermark.channels]\nwhitespace = "always"\n`;
const PAGES = process.env.DECKLE_MARK_PAGES || "watermark-pages";
const CORPUS = `${process.env.DECKLE_CORPUS || "../shared/corpus"}/pages`;
const OWN = ["fa", "hi", "ar", "he", "th", "ja", "ko", "fr-ja", "parts"];
const NEWS = ["wapo-1", "seattletimes-1", "heise", "lemonde-1", "salon-1", "theverge", "ars-1", "citylab-1", "herald-sun-1", "telegraph",
  "nytimes-1", "wordpress"];

// Pages of others as they are without what they would fetch from elsewhere.
const alone = (html) =>
  html.replace(/<script\b[^]*?<\/script>/gi, "").replace(/<link\b[^>]*>/gi, "")
    .replace(/<(iframe|video|audio|object)\b[^]*?<\/\1>/gi, "").replace(/<(img|source|embed)\b[^>]*>/gi, "");

let browser, poppler, demo;
const sites = {};
before(async () => {
  browser = await launch();
  poppler = await run("pdftoppm", ["-v"]).then(() => true, () => false);
  if (!poppler) console.log("skipped: what printed pages show: poppler-utils is not installed");
  const files = new Map(OWN.map((name) => [`/${name}/page`, readFileSync(join(PAGES, `${name}.html`), "utf8")]));
  if (existsSync(CORPUS))
    for (const name of NEWS) files.set(`/${name}/page`, alone(readFileSync(join(CORPUS, `${name}.html`), "utf8")));
  else console.log(`skipped: pages of news sites: none at ${CORPUS} (set DECKLE_CORPUS)`);
  for (const [name, config] of [["off", OFF], ["always", ALWAYS]]) {
    sites[name] = await behind(config, (path) => ({ html: files.get(path) }));
    sites[`demo ${name}`] = await behind(config);
  }
  demo = (await (await fetch(`${sites["demo off"].base}/api/articles.json`)).json()).articles;
});
after(async () => {
  await browser.close();
  for (const site of Object.values(sites)) await site.stop();
});

// What the two proxies make of a page; `undefined` where this build marks none of it.
const both = async (t, path, kind = "") => {
  const names = [`${kind}off`, `${kind}always`];
  // The first answer teaches deckle what pages of this kind hold.
  for (const name of names) await (await fetch(sites[name].base + path)).text();
  const [plain, marked] = await Promise.all(names.map(async (name) => (await fetch(sites[name].base + path)).text()));
  if (plain === marked) {
    console.log(`skipped: ${path} goes out without a mark`);
    t.skip("no marks");
    return undefined;
  }
  return { plain, marked };
};

const side = async (site, path, options) => {
  const made = await context(browser, options, site.base);
  await made.route("**/*", (route) => (route.request().url().startsWith(site.base) ? route.continue() : route.abort()));
  const page = await made.newPage();
  await page.goto(site.base + path, { waitUntil: "load" });
  await page.evaluate(() => document.fonts.ready);
  return { made, page };
};

// Two pages side by side, the plain one first: `ask` is done on each, and the answers are given.
const compare = async (path, kind, options, ask) => {
  const answers = [];
  for (const name of [`${kind}off`, `${kind}always`]) {
    const { made, page } = await side(sites[name], path, options);
    answers.push(await ask(page, made));
    await made.close();
  }
  return answers;
};

// Is a page drawn the same by both? Chromium draws the round corner of a search field with a pixel more or less, also of the
// very same page; marks that show do so every time.
const drawn = async (path, kind, options, prepare) => {
  for (let turn = 0; turn < 3; turn++) {
    const [plain, marked] = await compare(path, kind, options, async (page) => {
      await prepare?.(page);
      return page.screenshot({ animations: "disabled", mask: [page.locator("input[type=search]")] });
    });
    if (marked.equals(plain)) return true;
  }
  return false;
};

// --- what is asked of a page ------------------------------------------------------------------------------------------
const spoken = async (page, made) => {
  const session = await made.newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  return nodes.filter((n) => !n.ignored && n.role?.value !== "InlineTextBox").map((n) => `${n.role?.value}: ${n.name?.value ?? ""}`);
};

// Text as it is shown. A browser's `innerText` has the symbols of a seal, which it does not show.
const shown = (page) =>
  page.evaluate(() => [document.documentElement.innerText.replace(/[\ufe06-\ufe0d]/gu, ""), document.documentElement.scrollHeight]);

const phrases = (page) =>
  page.evaluate(() => {
    const found = [];
    for (const p of document.querySelectorAll("p, li, blockquote")) {
      const text = p.innerText.replace(/[\ufe06-\ufe0d]/gu, "");
      const words = text.split(/\s+/);
      if (getComputedStyle(p).whiteSpaceCollapse !== "collapse" || !p.checkVisibility()) continue;
      if (words.length >= 9) found.push(words.slice(3, 8).join(" "));
      else if (text.length >= 40) found.push(text.slice(10, 22));
    }
    const step = Math.max(1, Math.floor(found.length / 6));
    return found.filter((_, at) => at % step === 0).slice(0, 6);
  });

const finds = (page, texts) =>
  page.evaluate((texts) => texts.map((text) => {
    getSelection().removeAllRanges();
    return window.find(text, false, false, true);
  }), texts);

// As Shift with the arrow keys does, over the ends of three paragraphs.
const caret = (page) =>
  page.evaluate(() => {
    const steps = [];
    for (const p of [...document.querySelectorAll("article p")].slice(0, 3)) {
      for (const unit of ["character", "line"]) {
        getSelection().collapse(p, 0);
        getSelection().modify("extend", "forward", "paragraphboundary");
        for (let step = 0; step < 6; step++) getSelection().modify("extend", "backward", "character");
        getSelection().collapseToEnd();
        for (let step = 0; step < 12; step++) {
          getSelection().modify("extend", "forward", unit);
          steps.push(`${unit}: ${getSelection()}`);
        }
      }
    }
    return steps;
  });

// What a translator does: each text becomes the content of elements of its own.
const translate = (page) =>
  page.evaluate(() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) if (!walker.currentNode.parentElement.closest("script, style, textarea, pre")) texts.push(walker.currentNode);
    for (const text of texts) {
      const outer = document.createElement("font"), inner = document.createElement("font");
      outer.append(inner);
      text.replaceWith(outer);
      inner.append(text);
    }
    return texts.length;
  });

const printed = async (page) => {
  const bytes = await page.pdf({ format: "A4" });
  const count = bytes.toString("latin1").match(/\/Type\s*\/Page\b(?!s)/g)?.length;
  if (!poppler) return { count };
  const dir = await mkdtemp(join(tmpdir(), "deckle-pdf-"));
  const file = join(dir, "page.pdf");
  await writeFile(file, bytes);
  const { stdout } = await run("pdftotext", [file, "-"], { maxBuffer: 1 << 26 });
  await run("pdftoppm", ["-r", "60", "-gray", file, join(dir, "drawn")]);
  const drawn = [];
  for (const name of (await readdir(dir)).sort())
    if (name.startsWith("drawn")) drawn.push(createHash("sha256").update(await readFile(join(dir, name))).digest("hex"));
  await rm(dir, { recursive: true });
  return { count, text: stdout.replace(/[ \n]+/g, " "), drawn };
};

// What may not change at all, as a parser sees it: attributes, and the parts that are no prose.
const parts = (page, html) =>
  page.evaluate((html) => {
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const seals = parsed.querySelectorAll("span[inert]");
    seals.forEach((seal) => seal.remove());
    // White space at the end of a block is shown nowhere, and makes room for a seal.
    parsed.querySelectorAll("p, li, blockquote, dd").forEach((block) => block.append(" "));
    const attributes = [...parsed.querySelectorAll("*")].map((e) => [e.tagName, ...[...e.attributes].map((a) => `${a.name}=${a.value}`)].join(" "));
    const kept = [...parsed.querySelectorAll("pre, code, kbd, samp, textarea, title, script, style, noscript, [style*='pre']")].map((e) => e.innerHTML);
    const text = parsed.documentElement.textContent;
    const joiners = [...text].filter((c) => c === "\u200c" || c === "\u200d" || c === "\u00a0").length;
    return { seals: seals.length, attributes, kept, joiners, text: text.replace(/[ \t\r\n\f]+/g, " ") };
  }, html);

const everything = () => {
  const all = document.createRange();
  all.selectNodeContents(document.body);
  getSelection().removeAllRanges();
  getSelection().addRange(all);
};

// --- pages of the project: everything ---------------------------------------------------------------------------------
const nothing_changes = async (t, path, kind) => {
  const html = await both(t, path, kind);
  if (!html) return;
  const options = { viewport: { width: 800, height: 3000 } };
  assert.ok(await drawn(path, kind, options), "pixels");
  assert.ok(await drawn(path, kind, options, translate), "pixels after a translation");
  const [plain, marked] = await compare(path, kind, options, async (page, made) => {
    const answer = { spoken: await spoken(page, made), shown: await shown(page) };
    answer.phrases = await phrases(page);
    answer.finds = await finds(page, answer.phrases);
    answer.caret = await caret(page);
    answer.copied = await copy(page, everything);
    answer.printed = await printed(page);
    await translate(page);
    answer.translated = [await spoken(page, made), await shown(page)];
    answer.parts = await Promise.all([parts(page, html.plain), parts(page, html.marked)]);
    return answer;
  });
  assert.deepEqual(marked.spoken, plain.spoken, "what is read aloud");
  assert.deepEqual(marked.shown, plain.shown, "text and height");
  assert.deepEqual(marked.phrases, plain.phrases);
  assert.ok(plain.finds.filter(Boolean).length >= 3, `${path}: the test finds nothing`);
  assert.deepEqual(marked.finds, plain.finds, "what is found");
  assert.deepEqual(marked.caret, plain.caret, "what the keyboard selects");
  assert.equal(marked.copied["text/plain"], plain.copied["text/plain"], "copied text");
  const flat = (text) => text.replace(/\s+/g, " ").replaceAll(sites[`${kind}always`].base, sites[`${kind}off`].base);
  assert.equal(flat(marked.copied["text/html"]), flat(plain.copied["text/html"]), "copied markup");
  assert.deepEqual(marked.printed, plain.printed, "what is printed");
  assert.ok(plain.printed.count >= 1);
  assert.deepEqual(marked.translated, plain.translated, "after a translation");
  const [{ seals: none, ...before }, { seals, ...behind }] = marked.parts;
  assert.equal(none, 0);
  assert.deepEqual(behind, before, "attributes and parts that are no prose");
  t.diagnostic(`${seals} seals, ${[...html.marked].filter((c) => c === "\n").length - [...html.plain].filter((c) => c === "\n").length} line feeds more`);
};

for (const name of OWN) test(`a page in its language: ${name}`, (t) => nothing_changes(t, `/${name}/page`, ""));

for (const language of ["en", "de", "fr", "ar", "ja"])
  test(`an article of the demo: ${language}`, (t) => nothing_changes(t, demo.find((a) => a.lang === language).path, "demo "));

// --- pages of news sites, with the styles that stand in them ----------------------------------------------------------
for (const name of NEWS)
  test(`a page of a news site: ${name}`, async (t) => {
    if (!existsSync(CORPUS)) return t.skip("no corpus");
    const path = `/${name}/page`;
    const html = await both(t, path);
    if (!html) return;
    const options = { viewport: { width: 800, height: 6000 } };
    assert.ok(await drawn(path, "", options), "pixels");
    const [plain, marked] = await compare(path, "", options, async (page, made) => {
      const answer = { spoken: await spoken(page, made), shown: await shown(page) };
      answer.phrases = await phrases(page);
      answer.finds = await finds(page, answer.phrases);
      answer.parts = await Promise.all([parts(page, html.plain), parts(page, html.marked)]);
      return answer;
    });
    assert.deepEqual(marked.spoken, plain.spoken, "what is read aloud");
    assert.deepEqual(marked.shown, plain.shown, "text and height");
    assert.deepEqual([marked.phrases, marked.finds], [plain.phrases, plain.finds], "what is found");
    const [{ seals: none, ...before }, { seals, ...behind }] = marked.parts;
    assert.equal(none, 0);
    assert.deepEqual(behind, before, "attributes and parts that are no prose");
    t.diagnostic(`${seals} seals`);
  });

// --- style sheets that show white space, or give a span a box ---------------------------------------------------------
// In the default, deckle has to see from them where a mark would show.
const SHEETS = [
  "p{white-space:pre-line}",
  ".post :is(p,li){white-space:break-spaces}",
  "pre,code{white-space:pre}",
  ".nav a{white-space:nowrap}",
  "@media print{p{white-space:pre-wrap}}",
  ":root{--w:pre} p{white-space:var(--w)}",
  "*{margin:0;padding:0;box-sizing:border-box}",
  "article span{display:block}",
  "p :last-child{padding:1em;background:#fed}",
  "span{border:2px solid;margin:0 1em}",
  "p{display:flex;gap:2em;flex-wrap:wrap}",
];
const SENTENCE = "The committee said on Monday that it won’t publish the full report before the end of June, because members can’t agree on the wording of three chapters.";
const styled = (sheet) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>T</title>${sheet}</head><body><article class="post">`
  + `<p>${SENTENCE}</p><p>${SENTENCE} <em>And more.</em></p><ul><li>${SENTENCE}</li></ul></article></body></html>`;

for (const sheet of SHEETS)
  for (const where of ["linked", "inline"])
    test(`a style sheet, ${where}: ${sheet}`, async (t) => {
      const answer = (path) =>
        path === "/style.css" ? { head: { "content-type": "text/css" }, html: sheet }
          : { html: styled(where === "inline" ? `<style>${sheet}</style>` : '<link rel="stylesheet" href="/style.css">') };
      const pair = [await behind(OFF, answer), await behind(GUARD, answer)];
      t.after(() => Promise.all(pair.map((site) => site.stop())));
      const shots = [];
      for (const site of pair) {
        for (let turn = 0; turn < 2; turn++) {
          // The first time round teaches deckle what pages and sheets there are.
          const { made, page } = await side(site, "/a/page", { viewport: { width: 600, height: 800 } });
          await page.emulateMedia({ media: sheet.includes("print") ? "print" : "screen" });
          if (turn) shots.push([await page.screenshot(), await spoken(page, made)]);
          await made.close();
        }
      }
      assert.ok(shots[1][0].equals(shots[0][0]), "pixels");
      assert.deepEqual(shots[1][1], shots[0][1], "what is read aloud");
    });

// --- what is not the same yet -----------------------------------------------------------------------------------------
const at_the_end_of_a_paragraph = async (press) => {
  const seen = [];
  for (const name of ["off", "always"]) {
    const { made, page } = await side(sites[name], "/he/page", {});
    // An English page of two paragraphs, marked as the site's own is.
    const seal = name === "always" ? await page.locator("p span[inert]").first().evaluate((s) => s.outerHTML) : "";
    await page.setContent(`<p>The first paragraph ends here with words.${seal}</p><p>The second one begins with some more words.</p>`);
    seen.push(await press(page));
    await made.close();
  }
  return seen;
};

test("the keyboard selects word by word beyond a seal", { todo: "Chromium stops at it" }, async () => {
  const [plain, marked] = await at_the_end_of_a_paragraph(async (page) => {
    await page.locator("p").first().dblclick({ position: { x: 200, y: 8 } });
    for (let word = 0; word < 8; word++) await page.keyboard.press("Control+Shift+ArrowRight");
    return page.evaluate(() => String(getSelection()));
  });
  assert.match(plain, /second/);
  assert.equal(marked, plain);
});

test("three clicks select a paragraph with the gap behind it", { todo: "Chromium leaves the gap out" }, async () => {
  const [plain, marked] = await at_the_end_of_a_paragraph(async (page) => {
    await page.locator("p").first().click({ clickCount: 3, position: { x: 200, y: 8 } });
    return page.evaluate(() => String(getSelection()));
  });
  assert.match(plain, /words\.\n\n$/);
  assert.equal(marked, plain);
});

test("the same in Firefox", async (t) => {
  if (!existsSync(firefox.executablePath())) {
    console.log("skipped: Firefox: there is no build of it that Playwright can drive");
    return t.skip("no Firefox");
  }
  const other = await firefox.launch();
  t.after(() => other.close());
  for (const name of OWN) {
    const seen = [];
    for (const site of [sites.off, sites.always]) {
      const page = await other.newPage({ viewport: { width: 800, height: 3000 } });
      await page.goto(`${site.base}/${name}/page`, { waitUntil: "load" });
      seen.push([await page.screenshot(), await shown(page)]);
      await page.close();
    }
    assert.ok(seen[1][0].equals(seen[0][0]), `${name}: pixels`);
    assert.deepEqual(seen[1][1], seen[0][1], name);
  }
});
