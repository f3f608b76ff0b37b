// deckle's copy guard: a copy of more than a few words carries its source.
//
// It stops nobody and is not meant to: a scraper takes the page before any script runs, and a reader can switch scripts
// off. It never touches the selection or the page, stores nothing, and sends nothing unless the site has switched on the
// copy beacon. Whatever goes wrong, the browser's own copy goes through.
//
// scripts/guard makes three files of this one, by the value of KIND: "core" for mode "attribute"; "quote" for mode "quote",
// and for "attribute" with the beacon; "block" for mode "block". In the latter two the text MESSAGES is replaced for each
// language when deckle starts.
(() => {
  const D = document;
  const script = D.currentScript;
  const data = script?.dataset;
  const mode = data?.deckle === "guard" && data.mode;
  if ((KIND === "block" ? mode !== "block" : mode !== "attribute" && (KIND === "core" || mode !== "quote")) || window.__deckle)
    return;
  Object.defineProperty(window, "__deckle", { value: 1 });

  const number = (text, fallback) => ((text = parseInt(text)) >= 0 ? text : fallback);
  const MIN = number(data.min, 30);
  const MAX = mode === "quote" && number(data.max, 60);
  const CAP = number(data.cap, 2e5);
  const CREDIT = data.credit?.includes("u") ? data.credit : "tasul";
  // Whatever can be edited is :read-write, in design mode the whole page.
  const EXEMPT = "input,textarea,select,pre,code,kbd,samp,math,:read-write,[role=textbox],[data-deckle=off]";

  const listen = (type, action) =>
    addEventListener(type, (event) => {
      try {
        action(event);
      } catch {
        // The browser's own behaviour.
      }
    });
  const matches = (element, selector) => {
    try {
      return element.matches(selector);
    } catch {
      // Not an element, or a selector of the site's that this browser does not know.
    }
  };
  const isExempt = (elements) => elements.some((e) => matches(e, EXEMPT) || matches(e, data.except));
  const path = (event) => event.composedPath();

  // What is selected on the page; nothing for a caret or a field.
  const selected = (event) => {
    const selection = getSelection();
    if (!event.defaultPrevented && !isExempt(path(event)) && !selection.isCollapsed)
      return selection;
  };
  // Looks at the shown elements of a selection, until `visit` is content.
  const some = (selection, selector, visit) =>
    [...selection.anchorNode.getRootNode().querySelectorAll(selector)].some(
      (e) =>
        selection.containsNode(e, true) &&
        // An element without a box may show what is in its shadow tree.
        (e.checkVisibility?.({ visibilityProperty: true }) !== false || e.shadowRoot) &&
        visit(e),
    );
  // What an image leaves in a plain copy.
  const says = (image) => image.getAttribute("alt") ?? image.title;

  // What the browser would copy and we could not: then its own copy goes through.
  const losesSomething = (selection) =>
    some(selection, "*", (e) => {
      const name = e.localName;
      return (
        (/^(input|textarea|select)$/.test(name) && e.value && !/button|submit|reset|checkbox|radio|image/.test(e.type)) ||
        ((KIND === "core" || e !== host) && e.shadowRoot?.textContent.trim()) ||
        (name === "img" && says(e) && [selection.anchorNode, selection.focusNode].includes(e.parentNode))
      );
    });

  const segments = (text) => {
    for (const lang of [D.documentElement.lang, []])
      try {
        return new Intl.Segmenter(lang, { granularity: "word" }).segment(text);
      } catch {
        // Not a language, or a browser without segmenter.
      }
    // By white space; of scripts without any two characters count as a word.
    return text.matchAll(/[\u2e80-\uffff]{2}|\S+/g);
  };
  // Where the nth word ends; 0 if there are fewer.
  const wordEnd = (text, n) => {
    for (const s of segments(text)) if ((s.isWordLike ?? 1) && !--n) return s.index + (s.segment || s[0]).length;
    return 0;
  };

  // toString() leaves out what images say and applies text-transform; the native copy does neither.
  const plainText = (selection) => {
    const added = [];
    const sheets = D.adoptedStyleSheets && [...D.adoptedStyleSheets];
    try {
      some(selection, "img", (image) => {
        // An empty node would move the end of the selection.
        if (!says(image)) return;
        image.after(says(image));
        added.push(image.nextSibling);
      });
      if (sheets) D.adoptedStyleSheets = [...sheets, sheet("*{text-transform:none!important}")];
      return `${selection}`.replace(/\xa0/g, " ");
    } finally {
      for (const text of added) text.remove();
      if (sheets) D.adoptedStyleSheets = sheets;
    }
  };
  const sheet = (css) => {
    const made = new CSSStyleSheet();
    made.replaceSync(css);
    return made;
  };

  // Copies are made in a document of their own, in which nothing is fetched.
  const blank = /*#__PURE__*/ D.implementation.createHTMLDocument("");
  const make = (name) => blank.createElement(name);
  const copyOf = (node, range, into) => {
    if (!range.intersectsNode(node)) return;
    const name = node.localName;
    if (node.nodeType === 3)
      into.append(
        node.data.slice(
          node === range.startContainer ? range.startOffset : 0,
          node === range.endContainer ? range.endOffset : 1 / 0,
        ),
      );
    // Text in the last ones would be markup elsewhere.
    if (/^(script|style|template|iframe|object|embed|link|meta|no(script|embed|frames)|xmp)$/.test(name)) return;
    if (name && (node !== range.commonAncestorContainer || !/^(div|section|article|main|body|html)$/.test(name))) {
      const { display, visibility, userSelect } = getComputedStyle(node);
      if (/none|hidden/.test([display, visibility, userSelect]) || node.inert) return;
      const copy = make(name.includes("-") ? "span" : name);
      for (const { name, value } of node.attributes)
        if (/^(alt|title|lang|dir|colspan|rowspan|cite|datetime|start)$/.test(name)) copy.setAttribute(name, value);
        // The property is the address in full.
        else if (/^(href|src)$/.test(name) && /^(?!\W|javascript|vbscript|blob|data(?!:image.{0,2037}$))/.test(node[name]))
          copy.setAttribute(name, node[name]);
      into.append(copy);
      into = copy;
    }
    for (const child of node.childNodes) copyOf(child, range, into);
  };

  const meta = (selector) => D.head.querySelector(`meta[${selector} i]`)?.content;
  const short = (text) => {
    const line = (text || "").replace(/\s+/g, " ").trim().match(/.{0,200}/u)[0];
    // Isolated, or its direction would turn what stands beside it.
    return /[\u0590-\u08ff]/.test(line) ? `\u2068${line}\u2069` : line;
  };
  const address = () => {
    let url = new URL(location);
    url.search = url.search.replace(/[?&](utm_[^=&]*|fbclid|gclid)=[^&]*/g, "").replace(/^&/, "?");
    try {
      const canonical = new URL(D.querySelector("link[rel~=canonical i]").href);
      if (/^http/.test(canonical)) url = canonical;
    } catch {
      // None, or none that holds.
    }
    url.hash = "";
    return url.href;
  };
  const creditLines = (url) => {
    const t = short(meta('property="og:title"') || D.title);
    const s = short(data.site || meta('property="og:site_name"'));
    const parts = { t, a: short(meta("name=author")), s: s === t ? "" : s };
    const names = [...CREDIT].map((part) => parts[part]).filter(Boolean).join(" \xb7 ");
    // Names share the line of the first of them.
    const line = (part) => ({ u: url, l: data.license })[part] || (/[tas]/.test(part) && names && `\u2014 ${names}`);
    return [...new Set([...CREDIT].map(line))].filter(Boolean);
  };

  // Puts text and credit on the clipboard, or on what is dragged.
  const credit = (event, transfer) => {
    const selection = selected(event);
    if (!selection || `${selection}`.length > CAP || losesSomething(selection) || !wordEnd(`${selection}`, MIN + 1)) return;
    let text = plainText(selection);
    const url = address();
    const lines = creditLines(url);
    const quote = make("blockquote");
    quote.cite = url;
    const words = text;
    const isShortened = KIND === "quote" && MAX && wordEnd(text, MAX + 1);
    if (isShortened) {
      text = `${text.slice(0, wordEnd(text, MAX)).trim()} [\u2026]`;
      quote.append(text);
    } else
      // More than one range in Firefox: cells of a table.
      for (let i = 0; i < selection.rangeCount; i++) {
        const range = selection.getRangeAt(i);
        const root = range.commonAncestorContainer;
        // Rows are nothing without their table.
        copyOf((matches(root, "tbody,thead,tfoot,tr") && root.closest("table")) || root, range, quote);
      }
    const source = make("p");
    const link = make("a");
    link.href = url;
    link.append(url);
    lines.forEach((line, i) => source.append(i ? make("br") : "", line === url ? link : line));
    transfer.setData("text/plain", `${text}\n\n${lines.join("\n")}\n`);
    transfer.setData("text/html", quote.outerHTML + source.outerHTML);
    if (event.type === "copy") {
      event.preventDefault();
      if (KIND === "quote") tell(isShortened ? "quote" : "credit", isShortened, words);
    }
  };

  // Language, and what is said when a copy was shortened or refused.
  const [LANG, MESSAGE] = KIND !== "core" ? "MESSAGES".split("\n") : [];
  let host, line, timer;
  let sent = 0;
  const tell = (kind, isSaid, words) => {
    if (isSaid && data.toast !== "0") toast();
    // To a path of the site's own.
    if (/^\/[^/\\]/.test(data.beacon) && sent++ < 5 && !navigator.globalPrivacyControl && navigator.doNotTrack !== "1") {
      // How long in four steps, never what.
      const length = [30, 100, 500].filter((n) => wordEnd(words, n + 1)).length;
      navigator.sendBeacon(`${data.beacon}?v=1&k=${kind}&b=${length}&p=${encodeURIComponent(location.pathname)}`);
    }
  };
  const toast = () => {
    if (!D.body) return;
    if (!host) {
      host = D.createElement("div");
      line = D.createElement("p");
      for (const [name, value] of [
        ["role", "status"],
        ["aria-live", "polite"],
        ["aria-atomic", "true"],
        ["lang", LANG],
        ["dir", /^(ar|fa|he|ur)/.test(LANG) ? "rtl" : "ltr"],
      ])
        line.setAttribute(name, value);
      const root = host.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [
        sheet(
          ":host{display:contents!important}" +
            "p{position:fixed;inset:auto 0 1rem;z-index:99999999;pointer-events:none;margin:auto;padding:1rem;" +
            "width:fit-content;max-width:min(32rem,90%);border-radius:8px;" +
            "font:1rem system-ui;color:#fff;background:#222}" +
            "p:empty{opacity:0}" +
            "@media(prefers-color-scheme:dark){p{color:#111;background:#eee}}" +
            "@media print{p{display:none}}",
        ),
      ];
      root.append(line);
      listen("keydown", (event) => event.key === "Escape" && (line.textContent = ""));
    }
    // Behind a modal dialog the page is inert.
    const dialogs = D.querySelectorAll("dialog:modal");
    const parent = dialogs[dialogs.length - 1] || D.body;
    if (host.parentNode !== parent) parent.append(host);
    clearTimeout(timer);
    // The empty region comes first, or screen readers miss what fills it.
    if (!line.textContent) setTimeout(() => (line.textContent = MESSAGE), 100);
    timer = setTimeout(() => (line.textContent = ""), number(data.ms, 6000));
  };

  if (KIND === "block") {
    // Without constructed sheets nothing is blocked: half of it would be worse.
    if (!D.adoptedStyleSheets || !window.CSSStyleSheet) return;
    const shown = `:is(${EXEMPT})`;
    D.adoptedStyleSheets = [
      ...D.adoptedStyleSheets,
      sheet(
        "html{user-select:none;-webkit-user-select:none;-webkit-touch-callout:none}" +
          [shown, data.except && `:is(${data.except})`]
            .filter(Boolean)
            .map((s) => `${s},${s} *{user-select:text;-webkit-user-select:text;-webkit-touch-callout:default}`)
            .join("") +
          (data.print === "hide" ? "@media print{body{display:none!important}}" : ""),
      ),
    ];
    const isPicture = (event) => path(event).some((e) => matches(e, "img,picture,svg,canvas,video"));
    const isLink = (event) => path(event).some((e) => matches(e, "a[href],area[href]"));
    listen("copy", (event) => {
      const selection = selected(event);
      if (!selection) return;
      // Nothing is put in its place: the clipboard keeps what it had.
      event.preventDefault();
      tell("block", 1, `${selection}`);
    });
    if (data.menu !== "0")
      listen("contextmenu", (event) => {
        // A menu that the keyboard opens is one that somebody needs: it comes with another button.
        const isPointer = event.button === 2 || event.pointerType === "touch";
        if (isPointer && !event.shiftKey && !isExempt(path(event)) && !isLink(event) && (data.img === "1" || !isPicture(event)))
          event.preventDefault();
      });
    if (data.drag !== "0")
      listen("dragstart", (event) => {
        const isOwn = isPicture(event) || isLink(event) || path(event).some((e) => matches(e, "[draggable=true]"));
        const isText = !isOwn && selected(event)?.containsNode(event.target, true);
        if (isText || (data.img === "1" && isPicture(event) && !isExempt(path(event)))) event.preventDefault();
      });
    if (data.keys)
      listen("keydown", (event) => {
        const anchor = getSelection().anchorNode;
        const around = [];
        for (let e = anchor; e; e = e.parentNode) around.push(e);
        if ((event.ctrlKey || event.metaKey) && !event.altKey && data.keys.includes(event.key.toLowerCase()) && !isExempt([...path(event), ...around]))
          event.preventDefault();
      });
    return;
  }

  listen("copy", (event) => credit(event, event.clipboardData));
  if (data.drag !== "0")
    listen("dragstart", (event) => {
      const node = event.target;
      if (!node.closest?.("a,img,[draggable=true]") || getSelection().containsNode(node, true))
        credit(event, event.dataTransfer);
    });
})();
