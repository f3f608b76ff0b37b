// Content Security Policies in a real browser: the guard runs or is absent, and the page's own scripts do what they do
// without deckle.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { behind, context, launch } from "./chrome.mjs";

// Policy, and whether the guard runs when the site's origin is known, and when it is not.
const ROWS = [
  ["script-src 'self'", true, true],
  ["default-src 'self'", true, true],
  ["default-src 'self' 'unsafe-inline' https:", true, true],
  ["script-src *", true, true],
  ["script-src https://cdn.example", true, true],
  ["script-src 'unsafe-inline' https://cdn.example", true, false],
  ["script-src 'none'", true, true],
  ["script-src 'none'; img-src *", true, true],
  ["script-src", true, true],
  ["default-src 'none'", true, true],
  ["default-src 'none'; img-src 'self';", true, true],
  ["default-src https://cdn.example 'unsafe-inline'; style-src *", true, false],
  ["script-src 'nonce-abc'", true, true],
  ["script-src 'nonce-abc' 'strict-dynamic' https: 'unsafe-inline'", true, true],
  ["script-src 'nonce-abc' 'self'", true, true],
  ["script-src 'strict-dynamic' 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='", true, true],
  ["script-src 'self' 'strict-dynamic' 'nonce-abc'", true, true],
  ["script-src 'nonce-xyz', script-src 'nonce-abc' 'strict-dynamic'", true, true],
  ["script-src 'self'; script-src-elem https://cdn.example", true, true],
  ["script-src https://cdn.example; script-src-elem 'self'", true, true],
  ["script-src-elem 'nonce-abc'; script-src 'none'", true, true],
  ["script-src https://cdn.example; script-src 'self'", true, true],
  ["SCRIPT-SRC https://cdn.example", true, true],
  ["  script-src\thttps://cdn.example  ;  ", true, true],
  ["script-src 'self', script-src https://cdn.example", true, true],
  ["default-src 'self', default-src 'none'", true, true],
  ["script-src 'nonce-abc', script-src 'nonce-xyz'", true, true],
  ["script-src 'nonce-abc', default-src 'self'", true, true],
  ["img-src 'self'; frame-ancestors 'none'", true, true],
  ["sandbox allow-scripts", true, true],
  ["sandbox allow-scripts; script-src https://cdn.example", true, true],
  ["sandbox allow-forms", false, false],
  ["require-trusted-types-for 'script'; trusted-types 'none'; script-src 'self'", true, true],
  ["default-src https://cdn.example; report-uri /r", true, true],
  ["script-src 'unsafe-eval' 'wasm-unsafe-eval' 'report-sample' https://cdn.example", true, true],
  ["", true, true],
  ["script-src 'nonce-a\"b' https://cdn.example", true, true],
  ["script-src 'NONCE-abc'", true, true],
];
const OTHER_FIELDS = [
  { "integrity-policy": "blocked-destinations=(script)" },
  { "cross-origin-embedder-policy": "require-corp", "cross-origin-opener-policy": "same-origin" },
];

// The page's own scripts tell that they ran by classes: what runs must not depend on deckle.
const HTML = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title>
  <script>document.documentElement.classList.add("inline")</script>
  <script nonce="abc">document.documentElement.classList.add("nonced")</script>
  <script nonce="xyz">document.documentElement.classList.add("other")</script></head>
  <body><img src="/x" onerror="document.documentElement.classList.add('handler')"><p>text</p></body></html>`;

let now = {};
const answer = (url) => (url === "/page" ? { html: HTML, head: now } : undefined);
let browser, known, unknown;
before(async () => {
  browser = await launch();
  known = await behind((origin) => `[page]\norigin = "${origin}"\n`, answer);
  unknown = await behind("", answer);
});
after(async () => {
  await browser?.close();
  await known?.stop();
  await unknown?.stop();
});

const open = async (site, head) => {
  now = head;
  const made = await context(browser, {}, site.base);
  const tab = await made.newPage();
  await tab.goto(`${site.base}/page`);
  // By the browser itself: a sandboxed page runs no script of ours either.
  const session = await made.newCDPSession(tab);
  const { root } = await session.send("DOM.getDocument");
  const html = await session.send("DOM.querySelector", { nodeId: root.nodeId, selector: "html" });
  const { attributes } = await session.send("DOM.getAttributes", { nodeId: html.nodeId });
  const { node } = await session.send("DOM.describeNode", { nodeId: html.nodeId });
  const tag = await session.send("DOM.querySelector", { nodeId: root.nodeId, selector: "script[data-deckle]" });
  const runs = tag.nodeId !== 0 && (await tab.evaluate(() => window.__deckle === 1).catch(() => false));
  await made.close();
  assert.equal(node.nodeName, "HTML");
  return { classes: attributes.join(" "), tag: tag.nodeId !== 0, runs };
};

test("the guard runs wherever a policy can be amended, and the page's own scripts do what they did", async () => {
  for (const [policy, whenKnown, whenUnknown] of ROWS)
    for (const [site, runs] of [[known, whenKnown], [unknown, whenUnknown]]) {
      const head = policy ? { "content-security-policy": policy } : {};
      const off = await open(site, { ...head, "x-deckle-guard": "off" });
      const on = await open(site, head);
      assert.equal(on.classes, off.classes, policy);
      assert.equal(off.tag, false, policy);
      // No tag rather than one that is refused: no error on the console.
      assert.deepEqual([on.tag, on.runs], [runs, runs], policy);
    }
});

test("policies about integrity and isolation let the guard run", async () => {
  for (const head of OTHER_FIELDS) assert.equal((await open(unknown, head)).runs, true, JSON.stringify(head));
});
