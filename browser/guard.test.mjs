// The copy guard in a real browser: what is on the clipboard afterwards.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BASE, context, copy, firstArticle, launch, watch } from "./chrome.mjs";

let browser, made, page, problems, path;
before(async () => {
  browser = await launch();
  made = await context(browser);
  page = await made.newPage();
  problems = watch(page);
  path = await firstArticle("en");
  await page.goto(BASE + path);
  await page.waitForFunction(() => window.__deckle === 1);
});
after(async () => {
  assert.deepEqual(problems, []);
  await browser.close();
});

// Puts elements of our own into the article.
const put = (html) =>
  page.evaluate((markup) => {
    document.querySelector("#fixture")?.remove();
    const box = document.createElement("div");
    box.id = "fixture";
    box.innerHTML = markup;
    document.querySelector(".body").prepend(box);
  }, html);
const selectAll = (selector) => getSelection().selectAllChildren(document.querySelector(selector));
const words = (n) => Array.from({ length: n }, (_, i) => `word${i + 1}`).join(" ");

test("a long passage carries its source, as text and as HTML", async () => {
  const got = await copy(page, selectAll, ".body p:nth-of-type(1)");
  const title = await page.evaluate(() => document.querySelector('meta[property="og:title"]').content);
  const author = await page.evaluate(() => document.querySelector('meta[name="author"]').content);
  const [passage, credit] = got["text/plain"].split("\n\n");
  assert.ok(passage.split(/\s+/).length > 30);
  assert.equal(credit, `\u2014 ${title} \u00b7 ${author} \u00b7 The Harbour Ledger\n${BASE}${path}\n`);
  assert.match(got["text/html"], /<blockquote cite="/);
  assert.ok(got["text/html"].includes(`<a href="${BASE}${path}">`));
});

test("marks do not reach a reader's clipboard", async () => {
  const got = await copy(page, selectAll, ".body");
  assert.ok(got["text/plain"].includes("\u2014 "));
  assert.doesNotMatch(got["text/plain"] + got["text/html"], /[\ufe06-\ufe0d]/u);
});

test("a short copy is the browser's own", async () => {
  await put(`<p>${words(30)}</p>`);
  const got = await copy(page, selectAll, "#fixture p");
  assert.equal(got["text/plain"], words(30));
});

test("one word more carries the source", async () => {
  await put(`<p>${words(31)} <b>bold</b> <a href="/rel" onclick="x()" class="c" style="color:red">link</a></p>`);
  const got = await copy(page, selectAll, "#fixture p");
  assert.ok(got["text/plain"].startsWith(`${words(31)} bold link\n\n\u2014 `));
  assert.ok(got["text/html"].includes(`<b>bold</b> <a href="${BASE}/rel">link</a>`));
  assert.doesNotMatch(got["text/html"], /onclick|class=|style=/);
});

test("fields, code, editable text and marked elements stay native", async () => {
  await put(`<textarea>${words(50)}</textarea>`);
  let got = await copy(page, () => { const t = document.querySelector("#fixture textarea"); t.focus(); t.select(); });
  assert.equal(got["text/plain"], words(50));
  for (const markup of [`<pre>${words(50)}</pre>`, `<div contenteditable="true">${words(50)}</div>`, `<p data-deckle="off">${words(50)}</p>`]) {
    await put(markup);
    got = await copy(page, selectAll, "#fixture > *");
    assert.equal(got["text/plain"].trim(), words(50), markup);
  }
});

test("what a reader typed is never lost", async () => {
  await put(`<p>${words(20)} <input value="typed by a reader"> ${words(20)}</p>`);
  const got = await copy(page, selectAll, "#fixture p");
  assert.doesNotMatch(got["text/plain"], /\u2014/);
  assert.match(got["text/plain"], /typed by a reader/);
});

test("the site's own handler wins", async () => {
  await put(`<p>${words(40)}</p>`);
  const own = await page.evaluateHandle(() => {
    const handler = (e) => { e.clipboardData.setData("text/plain", "SITE"); e.preventDefault(); };
    document.addEventListener("copy", handler);
    return handler;
  });
  const got = await copy(page, selectAll, "#fixture p");
  await page.evaluate((handler) => document.removeEventListener("copy", handler), own);
  assert.equal(got["text/plain"], "SITE");
});

test("Japanese is counted in words, not in spaces", async () => {
  const japanese = await made.newPage();
  await japanese.goto(BASE + (await firstArticle("ja")));
  await japanese.waitForFunction(() => window.__deckle === 1);
  const got = await copy(japanese, selectAll, ".body p:nth-of-type(1)");
  assert.match(got["text/plain"], /\n\n\u2014 /);
  await japanese.close();
});

test("selection and page are the same afterwards", async () => {
  await put(`<figure>x <img alt="a cat" src="/img/logo.svg"> ${words(40)}</figure>`);
  const before = await page.evaluate(() => document.body.outerHTML);
  await copy(page, selectAll, "#fixture");
  const [afterwards, text] = await page.evaluate(() => [document.body.outerHTML, getSelection().toString()]);
  assert.equal(afterwards, before);
  assert.ok(text.includes("word40"));
});
