// One Chromium for a test file, and the clipboard as a person uses it.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const BASE = process.env.BASE;

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });

// A reader: without this the browser says that it is driven by a program, and is treated as what it says.
const reader = (browser) =>
  `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${browser.version().split(".")[0]}.0.0.0 Safari/537.36`;

export const context = async (browser, options = {}, origin = BASE) => {
  const made = await browser.newContext({ userAgent: reader(browser), viewport: { width: 1280, height: 900 }, ...options });
  await made.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
  return made;
};

// Collects what must not happen on a page.
export const watch = (page) => {
  const problems = [];
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  return problems;
};

// Selects by script, copies with the keyboard, and reads both flavours back.
export const copy = async (page, select, argument) => {
  await page.evaluate(() => navigator.clipboard.writeText("SENTINEL"));
  await page.evaluate(select, argument);
  await page.keyboard.press("Control+c");
  return page.evaluate(async () => {
    const read = async () => {
      const out = {};
      for (const item of await navigator.clipboard.read())
        for (const type of item.types) out[type] = await (await item.getType(type)).text();
      return out;
    };
    // The copy is done in another process: ask until it has arrived.
    for (let i = 0; i < 200; i++) {
      const now = await read();
      if (now["text/plain"] !== "SENTINEL") return now;
      await new Promise((done) => requestAnimationFrame(done));
    }
    return read();
  });
};

export const firstArticle = async (language) => {
  const api = await (await fetch(`${BASE}/api/articles.json`)).json();
  return api.articles.find((a) => a.lang === language).path;
};

export const freePort = async () => {
  const taken = createServer();
  await new Promise((done) => taken.listen(0, "127.0.0.1", done));
  const { port } = taken.address();
  await new Promise((done) => taken.close(done));
  return port;
};

// A site of the test's own behind deckle: `answer(path, headers)` gives { head, html } and a status, if it is none of the usual
// ones; without it, the demo. `config` is text, or makes it of the address that deckle will have.
export const behind = async (config, answer) => {
  const site = createServer((request, response) => {
    const { head = {}, html, status = html === undefined ? 404 : 200 } = answer(request.url, request.headers) || {};
    response.writeHead(status, { "content-type": "text/html; charset=utf-8", ...head });
    response.end(html);
  });
  await new Promise((done) => site.listen(0, "127.0.0.1", done));
  const dir = await mkdtemp(join(tmpdir(), "deckle-"));
  const port = await freePort();
  await writeFile(join(dir, "deckle.toml"), typeof config === "string" ? config : config(`http://127.0.0.1:${port}`));
  const child = spawn(process.env.DECKLE, [
    "proxy", "--listen", `127.0.0.1:${port}`, "--log-dir", join(dir, "log"), "--config", join(dir, "deckle.toml"),
    ...(answer ? ["--upstream", `http://127.0.0.1:${site.address().port}`] : []),
  ], { stdio: ["ignore", "pipe", "inherit"] });
  const base = await new Promise((done, fail) => {
    child.once("exit", (code) => {
      site.close();
      fail(new Error(`deckle ended with ${code}`));
    });
    createInterface(child.stdout).on("line", (line) => {
      const found = /listening on (\S+)/.exec(line);
      if (found) done(found[1]);
    });
  });
  return {
    base,
    stop: async () => {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      await ended;
      site.closeAllConnections();
      await new Promise((done) => site.close(done));
      await rm(dir, { recursive: true });
    },
  };
};
