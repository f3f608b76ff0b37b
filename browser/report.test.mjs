// What people look at: the report that `deckle review --html` writes, and the dashboard. Both show what strangers have sent,
// so that a name made of markup must stay a name.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { launch, watch } from "./chrome.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const VIEWS = [
  ["light", { colorScheme: "light", viewport: { width: 1280, height: 900 } }],
  ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 900 } }],
  ["phone", { colorScheme: "light", viewport: { width: 360, height: 740 } }],
  ["phone-dark", { colorScheme: "dark", viewport: { width: 360, height: 740 } }],
];
// Each would leave a trace if anything of it ran.
const HOSTILE = [
  "<script>window.ran=1</script>",
  '"><img src=x onerror="window.ran=2;alert(2)">',
  "'></td></tr></table><svg onload=window.ran=3>",
  "</style></title></textarea><script>window.ran=4;alert(4)</script>",
  "javascript:window.ran=5//<a href=javascript:alert(5)>a</a>",
  "<iframe srcdoc='<script>parent.ran=6</script>'></iframe>",
  "&lt;script&gt;window.ran=7&lt;/script&gt; &#60;b&#62;",
  "{{7*7}}{% include 'x' %}${7*7}",
  "\u202Egnp.exe\u202C \u0007\u001B[31mred",
  `Bot/1.0 (${"w".repeat(480)})`,
];

let browser, dir;
before(async () => {
  mkdirSync("shots", { recursive: true });
  dir = await mkdtemp(join(tmpdir(), "deckle-"));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  if (dir) await rm(dir, { recursive: true });
});

// A line as nginx writes it: quotes, backslashes and controls are escaped.
const quoted = (text) =>
  [...Buffer.from(text)].map((byte) => (byte < 32 || byte > 126 || byte === 34 || byte === 92 ? `\\x${byte.toString(16).padStart(2, "0")}` : String.fromCharCode(byte))).join("");
const line = (second, address, path, status, referer, agent) => {
  const time = new Date(Date.UTC(2026, 10, 20, 6, 0, second)).toISOString();
  return `${address} - - [20/Nov/2026:${time.slice(11, 19)} +0000] "GET ${quoted(path)} HTTP/1.1" ${status} 20000 "${quoted(referer)}" "${quoted(agent)}"\n`;
};

// Everybody takes 30 articles at once, and asks for what is not there: each name is one of a suspect.
const hostileLog = () => {
  const lines = [];
  HOSTILE.forEach((text, who) => {
    const address = `203.0.113.${who + 1}`;
    for (let n = 0; n < 30; n++) {
      const path = `/news/${n < 5 ? text.replaceAll(" ", "+") : "a-story-of-today"}-and-more-${n}`;
      lines.push([who * 60 + n, address, path, 200, `https://${text.replaceAll(" ", "")}/`, text]);
    }
    for (const path of ["/.env", "/wp-login.php", `/${text.replaceAll(" ", "+")}.php`, "/.git/config", "/xmlrpc.php"]) lines.push([who * 60 + 31, address, path, 404, "-", text]);
  });
  for (let n = 0; n < 9; n++) lines.push([700 + n, "203.0.113.99", `/news/a-story-of-today-${n}`, 200, "-", `${HOSTILE[n]} ${n}`]);
  return lines.sort((a, b) => a[0] - b[0]).map((fields) => line(...fields)).join("");
};

// A page in a browser that tells of everything that must not happen on it.
const open = async (t, options) => {
  const made = await browser.newContext(options);
  t.after(() => made.close());
  const page = await made.newPage();
  const problems = watch(page);
  page.on("dialog", async (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("popup", () => problems.push("a window was opened"));
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  return { page, problems, asked };
};

const isQuiet = async (page, problems) => {
  assert.deepEqual(problems, []);
  assert.equal(await page.evaluate(() => window.ran), undefined, "something ran");
};

// What is wider than the page, by name: a number alone does not help.
const overflow = (page) =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const wide = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > clientWidth + 1);
    return [`${scrollWidth} > ${clientWidth}`, ...wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 120))];
  });

const violations = async (page) => {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => axe.run(document));
  return found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${rule.help} [${node.target.flat().join(" >>> ")}] ${node.html.slice(0, 160)}`));
};

test("a report about hostile names", async (t) => {
  const log = join(dir, "access.log");
  const report = join(dir, "report.html");
  await writeFile(log, hostileLog());
  const run = spawnSync(process.env.DECKLE, ["review", log, "--html", report], { encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  const url = pathToFileURL(report).href;
  const wrong = [];
  for (const [view, options] of VIEWS) {
    const { page, problems, asked } = await open(t, options);
    await page.goto(url);
    assert.ok(await page.getByText("<script>window.ran=1</script>").count(), "the name is there, as text");
    const inside = await page.evaluate(() => ({
      scripts: document.scripts.length,
      frames: frames.length,
      handlers: [...document.querySelectorAll("*")].flatMap((element) => [...element.attributes]).filter((attribute) => /^on/i.test(attribute.name)).length,
      links: [...document.links].map((link) => link.getAttribute("href")).filter((href) => !href.startsWith("#")),
    }));
    assert.deepEqual(inside, { scripts: 0, frames: 0, handlers: 0, links: [] });
    const shut = await overflow(page);
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
    wrong.push(...[...shut, ...(await overflow(page))].map((what) => `${view}: wider than the page: ${what}`));
    wrong.push(...(await violations(page)).map((what) => `${view}: ${what}`));
    await page.screenshot({ path: `shots/report-${view}.png` });
    await isQuiet(page, problems);
    assert.deepEqual(asked.filter((asked) => asked !== url && !asked.startsWith("data:")), [], "nothing is loaded");
  }
  assert.deepEqual(wrong, []);
});

// Out of what breaks out of texts, attributes and tags, in a random order.
const PIECES = [...HOSTILE.slice(0, 9), '"', "'", "<", ">", "</", "/>", "-->", "<!--", "]]>", "&", "&quot;", "&#x3c;", "=", "`", "\\", "\u0000", "\u2028", "\u0085", "\u{1F600}", " style=x:expression(window.ran=8)", " onmouseover=window.ran=9 "];
const madeUp = (seed) => {
  let state = seed;
  const next = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return () => Array.from({ length: 1 + next(5) }, () => PIECES[next(PIECES.length)]).join("");
};

test("a report about two thousand made-up values", async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const value = madeUp(seed);
  const lines = [];
  for (let who = 0; who < 160; who++) {
    const [agent, referer] = [value(), value()];
    for (let n = 0; n < 10; n++) {
      const path = `/news/${value().replaceAll(/[ \0]/g, "+")}-and-more-${n}`;
      lines.push([who * 20 + n, `203.0.113.${who + 1}`, path, n < 7 ? 200 : 404, `https://${referer.replaceAll(" ", "")}/`, agent]);
    }
  }
  const log = join(dir, "made-up.log");
  const report = join(dir, "made-up.html");
  await writeFile(log, lines.map((fields) => line(...fields)).join(""));
  const run = spawnSync(process.env.DECKLE, ["review", log, "--html", report, "--format", "combined"], { encoding: "utf8" });
  assert.equal(run.status, 0, `seed ${seed}: ${run.stderr}`);
  const { page, problems, asked } = await open(t, VIEWS[0][1]);
  const url = pathToFileURL(report).href;
  await page.goto(url);
  const inside = await page.evaluate(() => ({
    scripts: document.scripts.length,
    frames: frames.length,
    images: document.images.length,
    handlers: [...document.querySelectorAll("*")].flatMap((element) => [...element.attributes]).filter((attribute) => /^on/i.test(attribute.name)).length,
    links: [...document.links].map((link) => link.getAttribute("href")).filter((href) => !href.startsWith("#")),
  }));
  assert.deepEqual(inside, { scripts: 0, frames: 0, images: 0, handlers: 0, links: [] }, `seed ${seed}`);
  // Everything that can be pointed at is pointed at.
  await page.evaluate(() => {
    document.querySelectorAll("details").forEach((details) => (details.open = true));
    document.querySelectorAll("body *").forEach((element) => element.dispatchEvent(new MouseEvent("mouseover", { bubbles: true })));
  });
  await isQuiet(page, problems);
  assert.deepEqual(asked.filter((asked) => asked !== url && !asked.startsWith("data:")), [], `seed ${seed}: nothing is loaded`);
});

test("a report about nothing much", async (t) => {
  const log = join(dir, "small.log");
  const report = join(dir, "small.html");
  await writeFile(log, line(1, "203.0.113.1", "/", 200, "-", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"));
  assert.equal(spawnSync(process.env.DECKLE, ["review", log, "--html", report]).status, 0);
  for (const [view, options] of VIEWS) {
    const { page, problems } = await open(t, options);
    await page.goto(pathToFileURL(report).href);
    assert.deepEqual([await violations(page), await overflow(page)], [[], []], view);
    await isQuiet(page, problems);
  }
});

// The demo site, and the address of its dashboard, which is said on standard error.
const running = async (t) => {
  const env = { ...process.env, DECKLE_VISITOR__RANGES__REFRESH: "0s" };
  for (const name of ["RUST_LOG", "DECKLE_ADMIN_TOKEN", "DECKLE_PROXY__ADMIN"]) delete env[name];
  const child = spawn(process.env.DECKLE, ["proxy", "--listen", "127.0.0.1:0", "--log-dir", join(dir, "log")], { env, stdio: ["ignore", "pipe", "pipe"] });
  t.after(async () => {
    child.removeAllListeners("exit");
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await ended;
  });
  const says = (stream, pattern) =>
    new Promise((done, fail) => {
      child.once("exit", (code) => fail(new Error(`deckle ended with ${code}`)));
      createInterface(stream).on("line", (line) => pattern.test(line) && done(pattern.exec(line)[1]));
    });
  const [site, admin] = await Promise.all([says(child.stdout, /listening on (\S+)/), says(child.stderr, /dashboard is at (\S+)/)]);
  return { site, admin };
};

// Whoever asks for what scanners ask for is a suspect from its next request on, under a name that no table knows.
const ask = async (site, n) => {
  for (const path of ["/.env", "/"]) {
    const answer = await fetch(site + path, { headers: { "user-agent": HOSTILE[n] } });
    await answer.arrayBuffer();
  }
};

test("the dashboard", async (t) => {
  const { site, admin } = await running(t);
  await ask(site, 0);
  // Figures come from the writer of the log: without a script they are there at the next look.
  const plain = await open(t, { javaScriptEnabled: false });
  const shown = async () => {
    await plain.page.goto(admin);
    return plain.page.locator("#requests").textContent();
  };
  for (let looks = 0; (await shown()) !== "2"; looks++) assert.ok(looks < 200, "the page never counts the requests");
  assert.match(await plain.page.locator("#suspects").textContent(), /<script>window\.ran=1<\/script>/);
  assert.deepEqual(plain.problems, []);

  const wrong = [];
  // Of how many hostile names there were requests.
  let asked = 1;
  for (const [view, options] of VIEWS) {
    const { page, problems, asked: loaded } = await open(t, options);
    await page.goto(admin);
    await page.getByText("New figures come by themselves.").waitFor();
    await page.waitForFunction((n) => document.getElementById("requests").textContent === n, `${2 * asked}`);
    // Two requests more: the page fills in what is new without being loaded again.
    await page.evaluate(() => (window.same = true));
    await ask(site, asked);
    asked += 1;
    await page.waitForFunction((n) => document.getElementById("requests").textContent === n, `${2 * asked}`);
    await page.waitForFunction((n) => document.getElementById("suspects").rows.length === n, asked);
    assert.equal(await page.evaluate(() => window.same), true, "it was loaded again");
    const agents = await page.locator("#suspects .name").allTextContents();
    assert.ok(agents.includes(HOSTILE[asked - 1]), agents.join("\n"));
    wrong.push(...(await overflow(page)).map((what) => `${view}: wider than the page: ${what}`));
    wrong.push(...(await violations(page)).map((what) => `${view}: ${what}`));
    await page.screenshot({ path: `shots/dashboard-${view}.png` });
    await isQuiet(page, problems);
    assert.deepEqual(loaded.filter((url) => !url.startsWith(admin) && !url.startsWith("data:")), [], "nothing comes from elsewhere");
  }
  assert.deepEqual(wrong, []);
});
