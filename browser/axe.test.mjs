// Accessibility of what deckle puts before a reader: axe-core over the demo site, the message of the guard, and the pages
// by which deckle refuses.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { behind, context, launch } from "./chrome.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const VIEWS = [
  ["desktop", {}],
  ["phone", { viewport: { width: 390, height: 844 } }],
  ["dark", { colorScheme: "dark" }],
];

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

// The demo site in a mode of its own.
const demo = async (t, mode, more = {}) => {
  const log = await mkdtemp(join(tmpdir(), "deckle-"));
  const env = { ...process.env, DECKLE_PAGE__GUARD__MODE: mode, DECKLE_PAGE__GUARD__TOAST_MS: "20000", ...more };
  const child = spawn(process.env.DECKLE, ["proxy", "--listen", "127.0.0.1:0", "--log-dir", log], { env, stdio: ["ignore", "pipe", "inherit"] });
  const base = await new Promise((done, fail) => {
    child.once("exit", (code) => fail(new Error(`deckle ended with ${code}`)));
    createInterface(child.stdout).on("line", (line) => /listening on (\S+)/.test(line) && done(/listening on (\S+)/.exec(line)[1]));
  });
  t.after(async () => {
    child.removeAllListeners("exit");
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await ended;
    await rm(log, { recursive: true });
  });
  const api = await (await fetch(`${base}/api/articles.json`)).json();
  return { base, article: (language) => api.articles.find((a) => a.lang === language).path };
};

// All rules, those of best practice included; one line for each element.
const check = async (page) => {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => axe.run(document));
  const lines = (list) =>
    list.flatMap((rule) => rule.nodes.map((node) => `${rule.impact} ${rule.id}: ${rule.help} [${node.target.flat().join(" >>> ")}] ${node.html.slice(0, 160)} ${node.any[0]?.message || ""}`));
  // What is in a shadow tree has a path of more than one selector; on these pages that is the message alone.
  const message = found.passes.filter((rule) => rule.nodes.some((node) => node.target.flat().length > 1)).map((rule) => rule.id);
  return { violations: lines(found.violations), open: lines(found.incomplete), message };
};

const judge = (t, name, { violations, open }) => {
  for (const line of violations) t.diagnostic(`${name}: ${line}`);
  for (const line of open) t.diagnostic(`${name}: to be looked at by a person: ${line}`);
  return violations.map((line) => `${name}: ${line}`);
};

test("the demo site with the notice", async (t) => {
  const site = await demo(t, "attribute");
  const wrong = [];
  for (const [view, options] of VIEWS) {
    const made = await context(browser, options, site.base);
    for (const path of ["/", "/archive/", "/city/", "/search?q=ferry", "/nowhere", ...["en", "de", "fr", "ja", "ar"].map(site.article)]) {
      const page = await made.newPage();
      await page.goto(site.base + path);
      if (path !== "/nowhere") assert.ok(await page.locator(".deckle-notice").isVisible(), path);
      wrong.push(...judge(t, `${view} ${path}`, await check(page)));
      await page.close();
    }
    await made.close();
  }
  assert.deepEqual(wrong, []);
});

for (const mode of ["quote", "block"])
  test(`the message of the guard, ${mode}`, async (t) => {
    const site = await demo(t, mode);
    const wrong = [];
    for (const [view, options] of VIEWS)
      for (const language of ["en", "ar"]) {
        const made = await context(browser, options, site.base);
        const page = await made.newPage();
        await page.goto(site.base + site.article(language));
        await page.waitForFunction(() => window.__deckle === 1);
        await page.evaluate(() => getSelection().selectAllChildren(document.querySelector(".body")));
        await page.keyboard.press("Control+c");
        await page.getByRole("status").filter({ hasText: /./ }).waitFor();
        await page.screenshot({ path: `shots/axe-${mode}-${view}-${language}.png` });
        const found = await check(page);
        // axe does not look at the contrast of Arabic.
        assert.ok(found.message.includes(language === "en" ? "color-contrast" : "valid-lang"), `the message was not seen: ${found.message}`);
        wrong.push(...judge(t, `${view} ${language}`, found));
        await made.close();
      }
      assert.deepEqual(wrong, []);
  });

// A site of somebody else's that has no violation by itself: what is found is deckle's.
const PLAIN = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title><meta name="viewport" content="width=device-width">
  <style>body{background:BACK;color:TEXT}a{color:inherit}</style></head><body><header><a href="/">Home</a></header>
  <main><h1>A page</h1><article><p class="body">${"One word and another. ".repeat(40)}</p></article></main><footer><p>The end.</p></footer></body></html>`;
const COLOURS = [["#fff", "#111"], ["#111", "#eee"], ["#7a7a7a", "#000"]];

for (const mode of ["attribute", "quote", "block"])
  test(`a site without a fault has none through deckle, ${mode}`, async (t) => {
    const site = await behind(`[page.guard]\nmode = "${mode}"\ntoast_ms = 20000\n[rights]\nholder = "The Post"\nlicense = { name = "All rights reserved", page = "https://news.example/licence" }\n`, (url) => {
      const [back, text] = COLOURS[url.slice(1)] || COLOURS[0];
      const html = PLAIN.replace("BACK", back).replace("TEXT", text);
      return { html, head: url.includes("plain") ? { "cache-control": "no-transform" } : {} };
    });
    t.after(site.stop);
    const wrong = [];
    for (const [view, options] of VIEWS)
      // The first is the page as it was.
      for (const path of ["plain", "0", "1", "2"]) {
        const made = await context(browser, options, site.base);
        const page = await made.newPage();
        await page.goto(`${site.base}/${path}`);
        if (path !== "plain") assert.ok(await page.locator(".deckle-notice").isVisible());
        if (path !== "plain" && mode !== "attribute") {
          await page.waitForFunction(() => window.__deckle === 1);
          await page.evaluate(() => getSelection().selectAllChildren(document.querySelector(".body")));
          await page.keyboard.press("Control+c");
          await page.getByRole("status").filter({ hasText: /./ }).waitFor();
        }
        wrong.push(...judge(t, `${view} ${path}`, await check(page)));
        await made.close();
      }
      assert.deepEqual(wrong, []);
  });

test("refusals and problems", async (t) => {
  const site = await demo(t, "attribute", { DECKLE_MODE: "enforce", DECKLE_ACTION__CONTACT: "mailto:desk@example.org" });
  const wrong = [];
  for (let n = 0; n < 60; n++) await fetch(`${site.base}/?${n}`, { headers: { "user-agent": "python-requests/2.32" } });
  for (const [view, options] of VIEWS) {
    for (const [agent, path, status] of [["python-requests/2.32", "/", 429], [undefined, `/${"a".repeat(17_000)}`, 414]]) {
      const made = await context(browser, agent ? { ...options, userAgent: agent } : options, site.base);
      const page = await made.newPage();
      const answer = await page.goto(site.base + path);
      assert.equal(answer.status(), status);
      await page.screenshot({ path: `shots/axe-${status}-${view}.png` });
      wrong.push(...judge(t, `${view} ${status}`, await check(page)));
      await made.close();
    }
  }
  assert.deepEqual(wrong, []);
});
