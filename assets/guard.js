// deckle's copy guard, mode "attribute": a copy of more than a few words carries its source.
//
// It stops nobody and is not meant to: a scraper takes the page before any script runs, and a reader can switch scripts
// off. It never shortens, never touches the selection, the keyboard, the context menu or the page, stores nothing and
// sends nothing. Whatever goes wrong, the browser's own copy goes through.
(() => {
  "use strict";
  const script = document.currentScript;
  if (!script || script.dataset.deckle !== "guard" || script.dataset.mode !== "attribute" || window.__deckle) return;
  Object.defineProperty(window, "__deckle", { value: 1 });

  const data = script.dataset;
  const number = (text, fallback) => (Number.isNaN(parseInt(text, 10)) ? fallback : parseInt(text, 10));
  const MIN = number(data.min, 30);
  const CAP = number(data.cap, 200000);
  const CREDIT = /^[tasul]*u[tasul]*$/.test(data.credit || "") ? data.credit : "tasul";
  const EXEMPT =
    'input,textarea,select,pre,code,kbd,samp,math,[contenteditable]:not([contenteditable="false" i]),[role=textbox],[data-deckle="off"]';

  const matches = (element, selector) => {
    try {
      return element.matches && element.matches(selector);
    } catch {
      return false; // a selector of the site's that this browser does not know
    }
  };
  const isExempt = (event) =>
    document.designMode === "on" ||
    event.composedPath().some((e) => matches(e, EXEMPT) || (data.except && matches(e, data.except)));

  const isShown = (element) => !element.checkVisibility || element.checkVisibility({ visibilityProperty: true });

  // What the browser would copy and we could not: then its own copy goes through.
  const losesSomething = (ranges, selection) => {
    for (const range of ranges) {
      const root = range.commonAncestorContainer;
      if (root.nodeType !== 1) continue;
      for (const e of root.querySelectorAll("*")) {
        if (!selection.containsNode(e, true) || !isShown(e)) continue;
        if (e.localName === "select") return true;
        if (/^(input|textarea)$/.test(e.localName) && e.value && !/^(hidden|button|submit|reset|checkbox|radio|image)$/.test(e.type)) return true;
        if (e.shadowRoot && e.shadowRoot.textContent.trim()) return true;
        if (e.localName === "img" && (e.alt || e.title) && (e.parentNode === range.startContainer || e.parentNode === range.endContainer)) return true;
      }
    }
    return false;
  };

  const isLong = (text) => {
    if (!window.Intl || !Intl.Segmenter) {
      const words = text.split(/\s+/).filter(Boolean).length;
      return (words === 1 && text.length > 120 ? Math.ceil(text.length / 2) : words) > MIN;
    }
    let segmenter;
    try {
      segmenter = new Intl.Segmenter(document.documentElement.lang || undefined, { granularity: "word" });
    } catch {
      segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
    }
    let words = 0;
    for (const segment of segmenter.segment(text)) if (segment.isWordLike && ++words > MIN) return true;
    return false;
  };

  // selection.toString() leaves out what images say and applies text-transform; the native copy does neither.
  const plainText = (ranges, selection) => {
    const added = [];
    let sheets;
    try {
      for (const range of ranges) {
        const root = range.commonAncestorContainer;
        if (root.nodeType !== 1) continue;
        for (const img of root.querySelectorAll("img")) {
          const says = img.hasAttribute("alt") ? img.alt : img.title;
          if (!says || !selection.containsNode(img, true) || !isShown(img)) continue;
          const text = document.createTextNode(says);
          img.after(text);
          added.push(text);
        }
      }
      if (document.adoptedStyleSheets) {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync("*{text-transform:none!important}");
        sheets = [...document.adoptedStyleSheets];
        document.adoptedStyleSheets = [...sheets, sheet];
      }
      return selection.toString().replace(/\u00a0/g, " ");
    } finally {
      for (const text of added) text.remove();
      if (sheets) document.adoptedStyleSheets = sheets;
    }
  };

  const DROP = /^(script|style|noscript|template|iframe|object|embed|link|meta)$/;
  const OPEN = /^(div|section|article|main|body|html)$/;
  const KEEP = ["href", "src", "alt", "title", "lang", "dir", "colspan", "rowspan", "cite", "datetime", "start"];

  const safeUrl = (value) => {
    const url = new URL(value, document.baseURI).href;
    if (/^(javascript|vbscript|blob):/i.test(url)) return "";
    if (/^data:/i.test(url)) return /^data:image\//i.test(url) && url.length <= 2048 ? url : "";
    return url;
  };

  // Copies are made in a document of their own, in which nothing is fetched.
  const blank = document.implementation.createHTMLDocument("");
  const copyOf = (node, range) => {
    if (node.nodeType === 3) {
      const from = node === range.startContainer ? range.startOffset : 0;
      const to = node === range.endContainer ? range.endOffset : node.data.length;
      return blank.createTextNode(node.data.slice(from, to));
    }
    if (node.nodeType !== 1 || DROP.test(node.localName)) return null;
    const style = getComputedStyle(node);
    if (style.display === "none" || style.visibility === "hidden" || style.userSelect === "none" || node.inert) return null;
    const copy = blank.createElement(node.localName.includes("-") ? "span" : node.localName);
    for (const name of KEEP) {
      if (!node.hasAttribute(name)) continue;
      let value = node.getAttribute(name);
      if (name === "href" || name === "src") {
        try {
          value = safeUrl(value);
        } catch {
          value = "";
        }
        if (!value) continue;
      }
      copy.setAttribute(name, value);
    }
    children(node, range, copy);
    return copy;
  };
  const children = (node, range, into) => {
    for (const child of node.childNodes) {
      if (!range.intersectsNode(child)) continue;
      const copy = copyOf(child, range);
      if (copy) into.append(copy);
    }
  };

  const richText = (ranges) => {
    const quote = blank.createElement("blockquote");
    for (const range of ranges) {
      const root = range.commonAncestorContainer;
      if (root.nodeType === 1 && OPEN.test(root.localName)) children(root, range, quote);
      else {
        const copy = copyOf(root, range);
        if (copy) quote.append(copy);
      }
    }
    return quote;
  };

  const meta = (selector) => {
    const element = document.head && document.head.querySelector(selector);
    return element ? element.content || "" : "";
  };
  const short = (text) => {
    const line = Array.from((text || "").replace(/\s+/g, " ").trim()).slice(0, 200).join("");
    return /[\u0590-\u08ff]/.test(line) ? "\u2068" + line + "\u2069" : line;
  };
  const address = () => {
    const link = document.querySelector('link[rel~="canonical" i]');
    let url;
    try {
      url = new URL(link.href);
      if (!/^https?:$/.test(url.protocol)) url = null;
    } catch {
      url = null;
    }
    if (!url) {
      url = new URL(location.href);
      for (const name of [...url.searchParams.keys()]) if (/^(utm_.*|fbclid|gclid)$/.test(name)) url.searchParams.delete(name);
    }
    url.hash = "";
    return url.href;
  };

  const credit = () => {
    const parts = {
      t: short(meta('meta[property="og:title"]') || document.title),
      a: short(meta('meta[name="author" i]')),
      s: short(data.site || meta('meta[property="og:site_name"]')),
    };
    if (parts.s === parts.t) parts.s = "";
    const url = address();
    const names = [...CREDIT].filter((c) => "tas".includes(c)).map((c) => parts[c]).filter(Boolean).join(" \u00b7 ");
    const lines = [];
    let named = false;
    for (const c of CREDIT) {
      if ("tas".includes(c)) {
        if (!named && names) lines.push("\u2014 " + names);
        named = true;
      } else if (c === "u") lines.push(url);
      else if (data.license) lines.push(data.license);
    }
    return { lines, url };
  };

  const handle = (event, transfer, cancel) => {
    if (event.defaultPrevented || !transfer || isExempt(event)) return;
    const selection = getSelection();
    if (!selection || !selection.rangeCount || selection.isCollapsed) return;
    const native = selection.toString();
    if (!native.trim() || native.length > CAP) return;
    const ranges = Array.from({ length: selection.rangeCount }, (_, i) => selection.getRangeAt(i));
    if (losesSomething(ranges, selection) || !isLong(native)) return;
    const { lines, url } = credit();
    const quote = richText(ranges);
    quote.cite = url;
    const source = blank.createElement("p");
    lines.forEach((line, i) => {
      if (i) source.append(blank.createElement("br"));
      if (line === url) {
        const link = blank.createElement("a");
        link.href = url;
        link.textContent = url;
        source.append(link);
      } else source.append(line);
    });
    transfer.setData("text/plain", plainText(ranges, selection) + "\n\n" + lines.join("\n") + "\n");
    transfer.setData("text/html", quote.outerHTML + source.outerHTML);
    if (cancel) event.preventDefault();
  };
  const quietly = (action) => (event) => {
    try {
      action(event);
    } catch {
      // The browser's own copy goes through.
    }
  };

  addEventListener("copy", quietly((event) => handle(event, event.clipboardData, true)));
  if (data.drag !== "0")
    addEventListener("dragstart", quietly((event) => {
      const node = event.target;
      if (node.nodeType === 1 && node.closest("a,img,[draggable=true]") && !getSelection().containsNode(node, true)) return;
      handle(event, event.dataTransfer, false);
    }));
})();
