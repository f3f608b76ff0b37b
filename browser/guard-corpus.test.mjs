// Copies from real pages: with the guard they are the browser's own, or the browser's own and the credit behind it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { behind, context, copy, launch } from "./chrome.mjs";

const CORPUS = process.env.DECKLE_CORPUS && join(process.env.DECKLE_CORPUS, "pages");
const SELECTIONS = Number(process.env.SELECTIONS || 6);
let names = [];
try {
  names = readdirSync(CORPUS).filter((name) => name.endsWith(".html"));
} catch {
  console.log("# skipped: no corpus (set DECKLE_CORPUS)");
}

let browser, site, made;
before(async () => {
  const pages = new Map(
    names.map((name) => [
      name,
      // As they stand, but for scripts, whose servers are not here, and for policies that would refuse the test itself.
      readFileSync(join(CORPUS, name), "utf8").replace(/<script[\s\S]*?<\/script>/gi, "").replace(/<meta[^>]*http-equiv[^>]*>/gi, ""),
    ]),
  );
  browser = await launch();
  // Without marks: they add text nodes, and the draws would differ.
  site = await behind("[watermark]\nlevel = \"off\"\n", (url) => {
    const { pathname, searchParams } = new URL(url, "http://x");
    const html = pages.get(pathname.slice(1));
    return html && { html, head: searchParams.has("off") ? { "x-deckle-guard": "off" } : {} };
  });
  made = await context(browser, {}, site.base);
  await made.route("**", (route) => (route.request().url().startsWith(site.base) ? route.continue() : route.abort()));
});
after(async () => {
  await browser?.close();
  await site?.stop();
});

// Two places in the text of a page, drawn from a seed.
const select = (seed) => {
  let state = seed;
  const draw = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) if (walker.currentNode.data.trim() && walker.currentNode.parentElement.checkVisibility()) nodes.push(walker.currentNode);
  const from = draw(nodes.length);
  const to = Math.min(nodes.length - 1, from + draw(60));
  const [a, b] = [nodes[from], nodes[to]];
  getSelection().setBaseAndExtent(a, draw(a.data.length), b, a === b ? b.data.length : draw(b.data.length) + 1);
};

test("copies from the corpus are the native ones, with or without a credit", { skip: !names.length && "no corpus", timeout: 240_000 }, async () => {
  let [same, credited, other] = [0, 0, []];
  for (const name of names) {
    const tabs = [];
    for (const query of ["?off", ""]) {
      const tab = await made.newPage();
      await tab.goto(`${site.base}/${name}${query}`, { waitUntil: "domcontentloaded" });
      tabs.push(tab);
    }
    const placeholders = await tabs[0].evaluate(() => [...document.querySelectorAll("[placeholder]")].map((e) => e.placeholder).filter(Boolean));
    const plain = (got) => placeholders.reduce((text, p) => text.replaceAll(p, ""), got["text/plain"] || "").replace(/\s+/g, "");
    for (let i = 0; i < SELECTIONS; i++) {
      const seed = 7919 * i + name.length;
      await tabs[0].bringToFront();
      const without = plain(await copy(tabs[0], select, seed));
      await tabs[1].bringToFront();
      const withGuard = plain(await copy(tabs[1], select, seed));
      if (withGuard === without) same++;
      else if (withGuard.startsWith(`${without}\u2014`) || withGuard.startsWith(`${without}http`)) credited++;
      else other.push(`${name} ${seed}`);
    }
    for (const tab of tabs) await tab.close();
  }
  const all = same + credited + other.length;
  console.log(`# ${all} selections: ${same} native, ${credited} credited, ${other.length} differ ${other.join(", ")}`);
  assert.ok(credited > all / 4, "the guard did its work");
  assert.ok(other.length <= 0.02 * all, other.join(", "));
});
