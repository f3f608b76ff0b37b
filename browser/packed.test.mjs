// Packed pages in a browser: what Chromium inflates is byte for byte the copy that the same visitor gets without a coding.
// Browsers do not look at the checksum of a gzip body, so nothing else would tell of a wrong bit.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { behind, context, freePort, launch } from "./chrome.mjs";

const PAGES = process.env.DECKLE_MARK_PAGES || "watermark-pages";
const OWN = ["fa", "hi", "ar", "he", "th", "ja", "ko", "fr-ja", "parts"];
// No copy guard, and no style sheet to tell browsers by: the text is that of the site, and the marks.
const QUIET = `[page.guard]\nmode = "off"\n[suspicion]\nbeacon = "off"\n[watermark.channels]\nwhitespace = "always"\n`;
// Long enough for a loaded machine to look at a page beside all else it does.
const PATIENCE_MS = 30_000;

const WORDS = ("the harbour bridge council of and a report wall water morning said that was to repair engineer old new market ferry "
  + "stone iron lamp price bread school street north river tide winter summer boat mayor vote paper letter signal copper").split(" ");

// A paragraph of 60 words, always the same for its number.
const paragraph = (number) => {
  let state = number * 2_654_435_761 + 1;
  const words = Array.from({ length: 60 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return WORDS[(state >>> 16) % WORDS.length];
  });
  return `<p>Paragraph ${number} ${words.join(" ")}.</p>\n`;
};
const article = (title, body) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head><body><article><h1>${title}</h1>\n${body}</article></body></html>`;
const LONG = article("A long report", Array.from({ length: 900 }, (_, number) => paragraph(number)).join(""));
// Texts of one length and of several: the page is cut there.
const CHOICES = article("Two ways to say it", `${Array.from({ length: 6 }, (_, number) => paragraph(number)).join("")}
<p>It was said <span data-variant="although|though">although</span> nobody had asked, and the council “won’t wait” for long… so the old
harbour wall <span data-variant="has|had">has</span> to be mended before the winter, as every engineer who looked at it has said.</p>\n`);

const FILES = new Map(OWN.map((name) => [`/${name}/page`, readFileSync(join(PAGES, `${name}.html`), "utf8")]));
const ZIPPED = new Map([...FILES, ["/long/page", LONG], ["/choices/page", CHOICES], ["/", article("Front page", "")]].map(([path, html]) => [path, { html, zipped: gzipSync(html) }]));

// The site compresses for whoever likes it. With `version` each form of a page has a validator, and is confirmed by it.
const answer = (version) => (path, headers) => {
  const page = ZIPPED.get(path);
  if (!page) return {};
  const zip = headers["accept-encoding"]?.includes("gzip");
  const tag = `"${version}${zip ? "-gzip" : ""}"`;
  const head = { vary: "accept-encoding", ...(zip ? { "content-encoding": "gzip" } : {}), ...(version ? { etag: tag } : {}) };
  if (version && headers["if-none-match"]?.split(", ").includes(tag)) return { status: 304, head };
  return { head, html: zip ? page.zipped : page.html };
};

let browser, codings;
const sites = {};
before(async () => {
  browser = await launch();
  for (const [name, tag, more] of [["plain", "", ""], ["long", "", ""], ["tagged", "v1", ""], ["choices", "", `[watermark]\nlevel = "variants"\n`]]) {
    const admin = `127.0.0.1:${await freePort()}`;
    sites[name] = await behind(`${QUIET}${more}[proxy]\nadmin = "${admin}"\n`, answer(tag));
    sites[name].admin = admin;
  }
  // What Chromium accepts over loopback: readers say the same, for a site may answer by it.
  const made = await context(browser, {}, sites.plain.base);
  const response = await (await made.newPage()).goto(`${sites.plain.base}/`);
  codings = (await response.request().allHeaders())["accept-encoding"];
  await made.close();
});
after(async () => {
  await browser?.close();
  for (const site of Object.values(sites)) await site.stop();
});

// Head and bytes as they are on the wire.
const ask = (url, headers) =>
  new Promise((done, fail) => {
    get(url, { headers, agent: false }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => done({ head: response.headers, body: Buffer.concat(pieces) }));
      response.on("error", fail);
    }).on("error", fail);
  });

// The sum of a metric over its labels that `matching` stands in.
const metric = async (site, name, matching = "") => {
  const text = await (await fetch(`http://${site.admin}/metrics`)).text();
  const lines = text.split("\n").filter((line) => new RegExp(`^${name}[ {]`).test(line));
  assert.ok(lines.length, `no metric ${name}`);
  return lines.filter((line) => line.includes(matching)).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
};

const answers = (site) => metric(site, "deckle_packed_answers_total");

// Seven readers come in turn, until one gets the page in packed form; the first one cannot.
const readers = async (site, path, enough = async () => true) => {
  const end = Date.now() + PATIENCE_MS;
  let before = await answers(site);
  for (let number = 0; Date.now() < end; number++) {
    const { head } = await ask(site.base + path, { "user-agent": `Reader/${number % 7}`, "accept-encoding": codings });
    assert.equal(head["content-encoding"], "gzip");
    const now = await answers(site);
    if (now > before && (await enough())) return number;
    before = now;
  }
  return assert.fail(`${path} was not packed`);
};

// What Chromium makes of a page, and what the same visitor gets without a coding. Both are of one day, by which marks change.
const load = async (made, site, path) => {
  for (;;) {
    const day = new Date().toISOString().slice(0, 10);
    const page = await made.newPage();
    const before = await answers(site);
    const response = await page.goto(site.base + path, { waitUntil: "load" });
    const [head, body, sent] = [await response.allHeaders(), await response.body(), await response.request().allHeaders()];
    const { responseBodySize: length } = await response.request().sizes();
    const packed = (await answers(site)) - before;
    const html = await page.evaluate(() => document.documentElement.outerHTML);
    const same = Object.fromEntries(Object.entries(sent).filter(([name]) => !name.startsWith(":") && name !== "host"));
    const identity = await ask(site.base + path, { ...same, "accept-encoding": "identity" });
    if (day === new Date().toISOString().slice(0, 10)) return { page, head, body, html, identity, length, packed };
    await page.close();
  }
};

// The text nodes of a page without its marks, each with its element; and what marks there are.
const taken_apart = (page, html) =>
  page.evaluate((html) => {
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const seals = [...parsed.querySelectorAll("span[inert]")].map((seal) => seal.textContent);
    parsed.querySelectorAll("span[inert]").forEach((seal) => seal.remove());
    parsed.normalize();
    const walker = parsed.createTreeWalker(parsed.documentElement, NodeFilter.SHOW_TEXT);
    const [texts, white] = [[], []];
    while (walker.nextNode()) {
      const { data, parentElement } = walker.currentNode;
      texts.push(`${parentElement.localName}: ${data.replace(/[ \n]/g, " ")}`);
      white.push(data.replace(/[^ \n]+/g, ""));
    }
    return { outer: parsed.documentElement.outerHTML.replace(/[ \n]/g, " "), texts, white, seals };
  }, html);

// One load: the bytes are those of the identity copy, and so is what Chromium made of them. Was it packed?
const check = async (made, site, path, source) => {
  const { page, head, body, html, identity, length, packed } = await load(made, site, path);
  assert.equal(head["content-encoding"], "gzip");
  assert.ok(!("content-encoding" in identity.head), "the other copy has no coding");
  assert.ok(body.equals(identity.body), `${path}: other bytes than without a coding`);
  const [drawn, plain] = [await taken_apart(page, html), await taken_apart(page, identity.body.toString("utf8"))];
  assert.deepEqual(drawn.seals, plain.seals, "seals");
  assert.deepEqual(drawn.white, plain.white, "white space");
  assert.deepEqual(drawn.texts, plain.texts, "texts");
  if (source) {
    const before = await taken_apart(page, source);
    assert.deepEqual(drawn.texts, before.texts, `${path}: the text of the site`);
    assert.equal(drawn.outer, before.outer, `${path}: the page of the site`);
    assert.deepEqual(before.seals, []);
    assert.ok(drawn.seals.length > 0 && drawn.seals.every((seal) => /^[\ufe06-\ufe0d]{25}$/u.test(seal)), "no seals");
  }
  await page.close();
  return { packed, head, body, length, seals: drawn.seals.length, marks: `${drawn.white}${drawn.seals}` };
};

// Where the machine is too busy a copy leaves in the ordinary way; so many packed ones have to come of twice as many loads.
const checks = async (made, site, path, source, many) => {
  const packed = [];
  for (let turn = 0; turn < 2 * many && packed.length < many; turn++) {
    const seen = await check(made, site, path, source);
    if (seen.packed === 1) packed.push(seen);
  }
  assert.equal(packed.length, many, `${path}: Chromium got packed pages`);
  assert.equal(await metric(site, "deckle_packed_mismatch_total"), 0);
  return packed;
};

const visitor = async (t, site, userAgent) => {
  const made = await context(browser, userAgent ? { userAgent } : {}, site.base);
  t.after(() => made.close());
  return made;
};

for (const path of FILES.keys())
  test(`a packed page is the page: ${path}`, async (t) => {
    const site = sites.plain;
    assert.ok((await readers(site, path)) > 1, "packed at first sight");
    const [one] = await checks(await visitor(t, site), site, path, FILES.get(path), 1);
    const [other] = await checks(await visitor(t, site, "Mozilla/5.0 (another one)"), site, path, FILES.get(path), 1);
    assert.notEqual(one.marks, other.marks, "two visitors have two marks");
    t.diagnostic(`${one.body.length} bytes in ${one.length}, ${one.seals} seals`);
  });

test("a long page, a dozen times in a row, in either effort", async (t) => {
  const [site, path] = [sites.long, "/long/page"];
  assert.ok(LONG.length > 300_000, `${LONG.length} bytes`);
  const made = await visitor(t, site);
  await readers(site, path);
  const seen = await checks(made, site, path, LONG, 12);
  const full = () => metric(site, "deckle_plan_packed_total", "full");
  await readers(site, path, async () => (await full()) > 0);
  seen.push(...(await checks(made, site, path, LONG, 12)));
  assert.equal(new Set(seen.map((one) => one.marks)).size, 1, "one visitor has one mark");
  assert.deepEqual([await metric(site, "deckle_plan_packed_total", "quick"), await full()], [1, 1]);
  t.diagnostic(`${seen[0].body.length} bytes in ${[...new Set(seen.map((one) => one.length))].join(" and ")}, ${seen[0].seals} seals`);
});

test("a page that the site has only confirmed", async (t) => {
  const [site, path] = [sites.tagged, "/he/page"];
  const confirmed = () => metric(site, "deckle_packed_confirmed_total");
  await readers(site, path, async () => (await confirmed()) > 0);
  for (const number of [1, 2, 3]) {
    // Each with a cache of its own.
    const before = await confirmed();
    const [{ head, length }] = await checks(await visitor(t, site, `Mozilla/5.0 (reader ${number})`), site, path, FILES.get(path), 1);
    assert.equal(await confirmed(), before + 1);
    assert.equal(Number(head["content-length"]), length);
  }
});

test("a page with alternatives and spellings, of another length for each visitor", async (t) => {
  const [site, path] = [sites.choices, "/choices/page"];
  await readers(site, path);
  const seen = [];
  for (let number = 0; number < 12; number++) seen.push(...(await checks(await visitor(t, site, `Mozilla/5.0 (reader ${number})`), site, path, "", 1)));
  assert.ok(new Set(seen.map((one) => one.length)).size > 1, "all have one length");
  assert.equal(new Set(seen.map((one) => one.marks)).size, seen.length, "each has a mark of its own");
});
