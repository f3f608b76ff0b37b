// One Chromium for a test file, and the clipboard as a person uses it.
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

export const context = async (browser, options = {}) => {
  const made = await browser.newContext({ userAgent: reader(browser), viewport: { width: 1280, height: 900 }, ...options });
  await made.grantPermissions(["clipboard-read", "clipboard-write"], { origin: BASE });
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
