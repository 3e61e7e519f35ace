/**
 * Colours for code. highlight.js is loaded when the first block needs it, and
 * blocks are done one by one when the browser is idle.
 */

import { h } from "./dom.js";

/** Beyond this, colouring costs more than it helps. */
const LIMIT = 60_000;

/** @typedef {{code: HTMLElement, language: string}} Job */

/** @type {Promise<(text: string, language: string) => DocumentFragment | null> | null} */
let engine = null;

async function loadEngine() {
  const [{ default: hljs }, apache, dockerfile, nginx, pgsql] = await Promise.all([
    import("../lib/highlight/highlight.js"),
    import("../lib/highlight/apache.js"),
    import("../lib/highlight/dockerfile.js"),
    import("../lib/highlight/nginx.js"),
    import("../lib/highlight/pgsql.js"),
  ]);
  hljs.registerLanguage("apache", apache.default);
  hljs.registerLanguage("dockerfile", dockerfile.default);
  hljs.registerLanguage("nginx", nginx.default);
  hljs.registerLanguage("pgsql", pgsql.default);
  hljs.registerAliases(["systemd", "service", "unit", "timer", "conf", "cfg", "env", "desktop"], {
    languageName: "ini",
  });
  hljs.registerAliases(["compose", "docker-compose", "ansible", "netplan"], { languageName: "yaml" });
  hljs.registerAliases(["ash", "dash", "ksh"], { languageName: "bash" });
  hljs.registerAliases(["caddy", "caddyfile"], { languageName: "nginx" });

  /**
   * @param {string} text
   * @param {string} language
   */
  return (text, language) => {
    if (!hljs.getLanguage(language)) return null;
    return spans(hljs.highlight(text, { language, ignoreIllegals: true }).value);
  };
}

/** @type {Record<string, string>} */
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };

/**
 * What highlight.js writes is spans with classes around text, and no more can
 * come of it here: its HTML is never parsed as HTML.
 * @param {string} html
 */
function spans(html) {
  const root = document.createDocumentFragment();
  /** @type {ParentNode} */
  let at = root;
  for (const [, scope, end, text] of html.matchAll(/<span class="([^"]*)">|(<\/span>)|([^<]+)/g)) {
    if (scope !== undefined) at = at.appendChild(h("span", { class: scope }));
    else if (end) at = at.parentNode ?? root;
    else at.append(text.replace(/&(amp|lt|gt|quot|#x27);/g, (_, name) => ENTITIES[name]));
  }
  return root;
}

/** @type {Job[]} */
const queue = [];
let running = false;

/**
 * Colours a code element; its text stays the same to the character.
 * @param {HTMLElement} code
 * @param {string} language
 */
export function highlight(code, language) {
  if (!language || language === "text" || language === "plaintext") return;
  queue.push({ code, language });
  if (!running) {
    running = true;
    void work();
  }
}

async function work() {
  try {
    engine ??= loadEngine();
    const colour = await engine;
    for (let job = queue.shift(); job; job = queue.shift()) {
      await idle();
      const { code, language } = job;
      const text = code.textContent ?? "";
      if (!code.isConnected || text.length > LIMIT) continue;
      if (holdsSelection(code)) {
        document.addEventListener("selectionchange", () => highlight(code, language), { once: true });
        continue;
      }
      const fragment = colour(text, language);
      // What is shown is what is copied: colours that lose a character are not used.
      if (fragment && fragment.textContent === text) code.replaceChildren(fragment);
    }
  } catch {
    engine = null; // Not loaded: code stays plain and the next block tries again.
    queue.length = 0;
  } finally {
    running = false;
  }
}

/** @param {Node} el */
export function holdsSelection(el) {
  const selection = document.getSelection();
  return !!selection && !selection.isCollapsed && selection.containsNode(el, true);
}

/** @returns {Promise<void>} */
function idle() {
  return new Promise((resolve) => {
    if ("requestIdleCallback" in window) window.requestIdleCallback(() => resolve(), { timeout: 200 });
    else setTimeout(resolve, 0);
  });
}
