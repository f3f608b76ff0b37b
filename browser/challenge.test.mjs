// The challenge in a real browser: whoever waits gets through, with scripts or without, and nobody meets it twice.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { runInNewContext } from "node:vm";
import { behind, context, launch, watch } from "./chrome.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
// An automated browser that says so has the score of a challenge here; each test asks from an address of its own.
const CONFIG = `mode = "enforce"
[visitor]
trusted_proxies = ["preset:loopback"]
[suspicion.score.signals]
claim_headless = 75
[suspicion.score.caps]
claim = 75
[action]
contact = "mailto:desk@example.org"
`;
const STATUS = 'role="status"';

let browser, site, agent;
before(async () => {
  mkdirSync("shots", { recursive: true });
  browser = await launch();
  const version = browser.version().split(".")[0];
  agent = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/${version}.0.0.0 Safari/537.36`;
  const html = '<!doctype html><html lang="en"><head><title>A</title></head><body><h1 id="article">News</h1></body></html>';
  site = await behind(CONFIG, () => ({ html }));
  // Nothing is challenged in the first minute after a start.
  for (let n = 1; n <= 75; n++) {
    if ((await ask(`198.18.${n}.1`, "/news/start")).body.includes(STATUS)) return;
    await delay(1_000);
  }
  throw new Error("there is no challenge");
});
after(async () => {
  await site?.stop();
  await browser?.close();
});

let last = 0;
const address = () => `198.51.100.${++last}`;

// A request without a browser behind it.
const ask = (from, path, more = {}) =>
  new Promise((done, fail) => {
    const headers = { "user-agent": agent, accept: "text/html", "x-forwarded-for": from, ...more };
    get(site.base + path, { headers }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => done({ status: response.statusCode, headers: response.headers, body: `${Buffer.concat(parts)}` }));
    }).on("error", fail);
  });

// A browser that is challenged, and what it has asked for.
const visitor = async (options = {}, script) => {
  const made = await context(browser, { userAgent: agent, extraHTTPHeaders: { "x-forwarded-for": address() }, ...options }, site.base);
  if (script) await made.addInitScript(script);
  const seen = [];
  made.on("response", (response) => {
    const path = new URL(response.url()).pathname;
    if (/^\/(news|\.deckle)\//.test(path)) seen.push(`${response.status()} ${path.replace(/^.*\/c\//, "")}`);
  });
  const page = await made.newPage();
  return { made, page, seen, problems: watch(page) };
};
// The work may be done before the page has loaded.
const open = (page, path) => page.goto(site.base + path, { waitUntil: "commit" });
const arrived = async (page, path, timeout = 15_000) => {
  await page.locator("#article").waitFor({ timeout });
  assert.equal(page.url(), site.base + path);
};
const cookies = async (made) => (await made.cookies()).filter((cookie) => /dk$/.test(cookie.name));
const challenges = (seen) => seen.filter((line) => line.startsWith("429")).length;

test("the script finds the number of the known answer", async () => {
  const { body } = await ask(address(), "/news/vector");
  const script = /<script[^>]*>([^]*)<\/script>/.exec(body)[1];
  const told = { token: "deckle-test-vector-1", bits: "16", url: "/p?t=x", wait: "60", opening: "Here it is." };
  const status = {};
  // Without workers: `Worker` is not defined here.
  const run = (data) =>
    new Promise((done) => {
      const document = { currentScript: { dataset: data }, querySelector: () => status };
      runInNewContext(script, { document, performance, setTimeout, location: { replace: done } });
      setTimeout(done, data.bits === "16" ? 20_000 : 200);
    });
  assert.equal(await run(told), "/p?t=x&n=12268");
  assert.equal(status.textContent, "Here it is.");
  for (const bits of ["21", "0", "-1", "", "x"]) assert.equal(await run({ ...told, bits }), undefined, bits);
});

test("with scripts the work opens the page before the wait is over", async () => {
  const { made, page, seen, problems } = await visitor();
  const from = Date.now();
  const first = await open(page, "/news/work?a=1&b=%22%3E%3Cx");
  assert.equal(first.status(), 429);
  assert.equal(first.headers()["retry-after"], "5");
  assert.equal(first.headers()["cache-control"], "no-store");
  await arrived(page, "/news/work?a=1&b=%22%3E%3Cx");
  assert.ok(Date.now() - from < 3_500, `${Date.now() - from} ms`);
  assert.ok(seen.includes("303 p") && !seen.includes("303 w"), `${seen}`);
  const [pass, ...more] = await cookies(made);
  assert.deepEqual(more, []);
  assert.ok(pass.httpOnly && pass.sameSite === "Lax" && pass.path === "/");
  // Back leads to nothing that asks again.
  await page.goto(`${site.base}/news/next`);
  await page.goBack();
  await arrived(page, "/news/work?a=1&b=%22%3E%3Cx");
  assert.equal(challenges(seen), 1);
  // That the first status was no 200 is told by the browser itself.
  assert.deepEqual(problems.filter((line) => !/status of 429/.test(line)), []);
  await made.close();
});

test("without scripts the refresh opens it after the wait", async () => {
  const { made, page, seen } = await visitor({ javaScriptEnabled: false });
  const from = Date.now();
  assert.equal((await open(page, "/news/wait")).status(), 429);
  await arrived(page, "/news/wait");
  assert.ok(Date.now() - from > 4_000, `${Date.now() - from} ms`);
  assert.ok(seen.includes("303 w"), `${seen}`);
  assert.equal((await cookies(made)).length, 1);
  // Behind it in the history stands the same address, and that is the page by now.
  await page.goBack();
  await arrived(page, "/news/wait");
  assert.equal(challenges(seen), 1);
  await made.close();
});

test("who follows the link too soon is told how long, and gets through", async () => {
  const { made, page, seen } = await visitor({ javaScriptEnabled: false });
  await open(page, "/news/early");
  await page.locator("a").first().click();
  await page.getByRole("status").filter({ hasText: /\d s/ }).waitFor();
  assert.deepEqual(seen, ["429 /news/early", "429 w"]);
  await page.screenshot({ path: "shots/challenge-early.png" });
  await arrived(page, "/news/early");
  assert.equal(challenges(seen), 2);
  await made.close();
});

// What blocks workers, in which way.
const WITHOUT_WORKERS = [
  ["are unknown", () => delete window.Worker],
  ["throw", () => (window.Worker = class { constructor() { throw new Error("blocked"); } })],
  ["say nothing", () => (window.Worker = class { postMessage() {} terminate() {} })],
];
for (const [name, script] of WITHOUT_WORKERS)
  test(`the work is done where workers ${name}`, async () => {
    const { made, page, seen } = await visitor({}, script);
    await open(page, "/news/alone");
    await arrived(page, "/news/alone");
    assert.ok(seen.includes("303 p"), `${seen}`);
    assert.equal(challenges(seen), 1);
    await made.close();
  });

test("the work is done where a policy forbids workers", async () => {
  const { made, page, seen, problems } = await visitor();
  await page.route("**/news/policy", async (route) => {
    const response = await route.fetch();
    const headers = response.headers();
    const policy = headers["content-security-policy"];
    if (policy) headers["content-security-policy"] = policy.replace("worker-src blob:", "worker-src 'none'");
    await route.fulfill({ response, headers });
  });
  await open(page, "/news/policy");
  await arrived(page, "/news/policy");
  assert.ok(problems.some((line) => /worker/i.test(line)), "the policy did not forbid it");
  assert.ok(seen.includes("303 p"), `${seen}`);
  await made.close();
});

test("a script that fails leaves the wait as it was", async () => {
  const { made, page, seen } = await visitor({}, () => {
    delete window.Worker;
    delete window.DataView;
  });
  await open(page, "/news/broken");
  await arrived(page, "/news/broken");
  assert.ok(seen.includes("303 w") && !seen.includes("303 p"), `${seen}`);
  assert.equal(challenges(seen), 1);
  await made.close();
});

// A page that nobody sees, until the test shows it.
const hidden = () => {
  let isHidden = true;
  Object.defineProperty(Document.prototype, "hidden", { get: () => isHidden });
  window.show = () => {
    isHidden = false;
    document.dispatchEvent(new Event("visibilitychange"));
  };
};

test("nothing is worked out for a page that nobody sees", async () => {
  const { made, page, seen } = await visitor({}, hidden);
  await open(page, "/news/hidden");
  await delay(1_200);
  assert.deepEqual(seen, ["429 /news/hidden"]);
  await page.evaluate(() => window.show());
  await arrived(page, "/news/hidden", 2_500);
  assert.ok(seen.includes("303 p"), `${seen}`);
  await made.close();
});

test("eight tabs at once all arrive, with one cookie", async () => {
  const { made, seen } = await visitor();
  const paths = Array.from({ length: 8 }, (_, n) => `/news/tab-${n}`);
  await Promise.all(
    paths.map(async (path) => {
      const page = await made.newPage();
      await open(page, path);
      await arrived(page, path, 30_000);
    }),
  );
  assert.equal((await cookies(made)).length, 1);
  for (const path of paths) assert.ok(seen.filter((line) => line === `429 ${path}`).length <= 1, `${seen}`);
  assert.ok(challenges(seen) <= 8, `${seen}`);
  // And that was all.
  const page = await made.newPage();
  assert.equal((await open(page, "/news/after")).status(), 200);
  await made.close();
});

for (const lang of ["en", "de", "fr", "es", "it", "pt", "nl", "pl"])
  test(`the page in ${lang}`, async () => {
    const path = "/news/2026/11/24/what-the-harbour-says-about-the-ferry-that-would-not-retire?from=front";
    const { status, headers, body } = await ask(address(), path, { "accept-language": `xx, ${lang}-ZZ;q=0.9, *;q=0.1` });
    assert.equal(status, 429);
    assert.match(headers["content-security-policy"], /default-src 'none'/);
    assert.match(body, new RegExp(`<html lang="${lang}" dir="ltr">`));
    assert.ok(Buffer.byteLength(body) <= 6_144, `${Buffer.byteLength(body)} bytes`);
    const markup = body.replace(/>[^<]*<\/style>|>[^]*<\/script>/g, ">");
    assert.doesNotMatch(markup, /noindex|[{}]|\son[a-z]+=|\sstyle=|https?:/i);
    const [, refresh] = /http-equiv="refresh" content="5; url=([^"]+)"/.exec(body);
    assert.ok(body.includes(`href="${refresh}"`));
  });

// All rules but one: that a page must not go on by itself. This one is nothing but the wait, holds nothing to read that
// would be lost, and has a link for whoever switches refreshing off.
const RULES = { rules: { "meta-refresh": { enabled: false } } };
for (const [view, options] of [
  ["light", {}],
  ["dark", { colorScheme: "dark" }],
  ["phone", { viewport: { width: 390, height: 844 } }],
  ["small", { viewport: { width: 320, height: 256 }, locale: "pl-PL" }],
])
  test(`the page is accessible, ${view}`, async (t) => {
    const { made, page } = await visitor({ reducedMotion: "reduce", ...options }, hidden);
    await open(page, "/news/seen");
    await page.waitForLoadState();
    await page.screenshot({ path: `shots/challenge-${view}.png` });
    await page.evaluate(AXE);
    const found = await page.evaluate((rules) => axe.run(document, rules), RULES);
    const lines = (list) => list.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.target} ${node.any[0]?.message || ""}`));
    for (const line of lines(found.incomplete)) t.diagnostic(`to be looked at by a person: ${line}`);
    assert.deepEqual(lines(found.violations), []);
    assert.ok(found.passes.some((rule) => rule.id === "color-contrast"));
    const [width, room, animations] = await page.evaluate(() => [
      document.documentElement.scrollWidth, innerWidth, document.getAnimations().length,
    ]);
    assert.ok(width <= room, `${width} > ${room}`);
    assert.equal(animations, 0);
    await made.close();
  });
