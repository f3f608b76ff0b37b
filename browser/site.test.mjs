// The demo site behind deckle: nothing breaks, nothing moves, nobody who reads is disturbed.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { BASE, behind, context, copy, firstArticle, launch, watch } from "./chrome.mjs";

let browser;
before(async () => {
  mkdirSync("shots", { recursive: true });
  browser = await launch();
});
after(() => browser.close());

const pages = async () => ["/", "/archive/", "/city/", await firstArticle("en"), await firstArticle("ar"), await firstArticle("ja")];

for (const [name, options] of [
  ["desktop", {}],
  ["phone", { viewport: { width: 390, height: 844 } }],
  ["dark", { colorScheme: "dark" }],
])
  test(`every kind of page on ${name}: no error, no shift, no sideways scroll, all 200`, async () => {
    const made = await context(browser, options);
    for (const [index, path] of (await pages()).entries()) {
      const page = await made.newPage();
      const problems = watch(page);
      const statuses = new Set();
      page.on("response", (r) => statuses.add(r.status()));
      await page.addInitScript(() => {
        window.__shift = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.__shift += entry.value;
        }).observe({ type: "layout-shift", buffered: true });
      });
      await page.goto(BASE + path, { waitUntil: "networkidle" });
      assert.deepEqual(problems, [], path);
      assert.deepEqual([...statuses].filter((s) => s !== 200 && s !== 304), [], path);
      const [shift, width, room] = await page.evaluate(() => [window.__shift, document.documentElement.scrollWidth, innerWidth]);
      assert.ok(shift < 0.02, `${path}: shift ${shift}`);
      assert.ok(width <= room, `${path}: ${width} > ${room}`);
      await page.screenshot({ path: `shots/${name}-${index}.png` });
      await page.close();
    }
    await made.close();
  });

test("guard and notice are there, and the same without scripts", async () => {
  const made = await context(browser, { javaScriptEnabled: false });
  const page = await made.newPage();
  await page.goto(BASE + (await firstArticle("en")));
  assert.equal(await page.locator('script[data-deckle="guard"]').count(), 1);
  const notice = page.locator('[data-deckle="notice"]');
  assert.ok(await notice.isVisible());
  assert.match(await notice.innerText(), /\u00a9 \d{4} The Harbour Ledger/);
  assert.ok((await page.locator(".body p").first().innerText()).length > 80);
  await made.close();
});

test("the notice is printed with the page", async () => {
  const made = await context(browser);
  const page = await made.newPage();
  await page.goto(BASE + (await firstArticle("en")));
  await page.emulateMedia({ media: "print" });
  assert.ok(await page.locator('[data-deckle="notice"]').isVisible());
  await made.close();
});

test("a page in XHTML stays one, and is guarded", async (t) => {
  const words = Array.from({ length: 60 }, (_, n) => `word${n + 1}`).join(" ");
  const html = `<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><title>T</title></head><body><p id="p">${words}<br/></p></body></html>`;
  const site = await behind(`[page]\nxhtml = true\n[rights]\nholder = "A & B"\n`, () => ({ head: { "content-type": "application/xhtml+xml" }, html }));
  t.after(() => site.stop());
  const made = await context(browser, {}, site.base);
  const page = await made.newPage();
  await page.goto(`${site.base}/a`);
  assert.equal(await page.evaluate(() => document.contentType), "application/xhtml+xml");
  assert.equal(await page.locator("parsererror").count(), 0);
  assert.match(await page.locator('[data-deckle="notice"]').innerText(), /A & B/);
  const got = await copy(page, () => getSelection().selectAllChildren(document.getElementById("p")));
  assert.match(got["text/plain"], /word60[^]*\u2014 T[^]*\/a/);
  await made.close();
});

test("a marked article looks, reads and is found the same as an unmarked one", async () => {
  const made = await context(browser);
  const page = await made.newPage();
  await page.goto(BASE + (await firstArticle("en")));
  const seals = await page.locator("span[inert]").count();
  assert.ok(seals > 3, `${seals} seals`);
  const marked = await page.locator("article").screenshot();
  const [text, height] = await page.evaluate(() => [document.querySelector("article").innerText, document.body.scrollHeight]);
  await page.evaluate(() => document.querySelectorAll("span[inert]").forEach((s) => s.remove()));
  const plain = await page.locator("article").screenshot();
  const [textAfter, heightAfter] = await page.evaluate(() => [document.querySelector("article").innerText, document.body.scrollHeight]);
  assert.ok(marked.equals(plain), "pixels");
  assert.equal(height, heightAfter);
  assert.equal(text.replace(/[\ufe06-\ufe0d]/gu, ""), textAfter);
  await made.close();
});

test("twelve articles and twenty-five tabs are a reader", async () => {
  const made = await context(browser);
  const api = await (await fetch(`${BASE}/api/articles.json`)).json();
  const statuses = [];
  made.on("response", (r) => statuses.push(r.status()));
  const page = await made.newPage();
  for (const article of api.articles.slice(0, 12)) await page.goto(BASE + article.path, { waitUntil: "load" });
  const tabs = Array.from({ length: 25 }, async (_, i) => {
    const tab = await made.newPage();
    await tab.goto(BASE + api.articles[i % api.articles.length].path, { waitUntil: "load" });
  });
  await Promise.all(tabs);
  assert.deepEqual(statuses.filter((s) => s !== 200 && s !== 304), []);
  assert.ok(statuses.length > 37);
  await made.close();
});
