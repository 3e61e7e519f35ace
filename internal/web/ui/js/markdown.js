/**
 * Markdown that grows. Tokens from marked become DOM nodes directly, never an
 * HTML string, so raw HTML in a text is only text. What is finished is never
 * touched again: only the last block is read anew, and in it only what differs
 * is changed. A fence takes its new text at its end, a list its items, a table
 * its rows.
 */
import { Lexer, Marked } from "../lib/marked.js";
import { copyButton, h } from "./dom.js";
import { highlight, holdsSelection } from "./highlight.js";
import { closeInline, heldLength } from "./hold.js";

/** @typedef {import("../lib/marked.js").Token} Token */
/** @typedef {import("../lib/marked.js").Cell} Cell */

/**
 * A token that is on the page.
 * @typedef {object} Shown
 * @property {string} kind
 * @property {string} raw
 * @property {boolean} open whether more text may still come
 * @property {Node} node
 * @property {Shown[]} inner
 * @property {Shown[][]} rows of a table, the first its head
 * @property {number} before how many rows stand between the head and the next
 */

/** Formulas are shown as they were written: Markdown would take their marks away. */
const formulas = {
  extensions: [
    {
      name: "formula",
      level: "block",
      start: (/** @type {string} */ src) => mark(src, /\n {0,3}(?:\$\$|\\\[)[ \t]*\n/),
      tokenizer: (/** @type {string} */ src) => formula(src, /^ {0,3}\$\$[ \t]*\n(?:(?! {0,3}(?:\$\$|```|~~~))[^\n]*\S[^\n]*(?:\n|$))*(?: {0,3}\$\$[ \t]*(?:\n|$))?|^ {0,3}\\\[[ \t]*\n(?:(?! {0,3}(?:\\\]|```|~~~))[^\n]*\S[^\n]*(?:\n|$))*(?: {0,3}\\\][ \t]*(?:\n|$))?/),
    },
    {
      name: "formula",
      level: "inline",
      start: (/** @type {string} */ src) => mark(src, /\$|\\[([]/),
      tokenizer: (/** @type {string} */ src) => formula(src, /^\$\$[^$]+\$\$|^\$(?=[^$\n]*[\\^_{*])(?! )[^$\n]*[^$\s]\$(?!\w)|^\\\([^]*?\\\)|^\\\[[^]*?\\\]/),
    },
  ],
};

/** @param {string} src @param {RegExp} form */
function mark(src, form) {
  const at = src.search(form);
  return at < 0 ? undefined : at;
}

/** @param {string} src @param {RegExp} form */
function formula(src, form) {
  const raw = form.exec(src)?.[0];
  return raw ? { type: "formula", raw, text: raw.trimEnd() } : undefined;
}

const never = () => undefined;
const marked = new Marked({
  gfm: true,
  tokenizer: {
    html: never,
    tag: never,
    // A line of dashes under a text is a rule or a list in the making.
    lheading: never,
    // Without a bar in front, a row of cells reads as a sentence until the line below it comes.
    table: (src) => (/^ *\|/.test(src) ? false : undefined),
    // "~5 GB, ~6 GB" is not struck out; two tildes are.
    del: (src) => (src.startsWith("~~") ? false : undefined),
  },
});
marked.use(formulas);

/** A growing Markdown text in an element of its own. */
export class Markdown {
  constructor() {
    this.element = h("div", { class: "md" });
    /** All that has arrived. */
    this.text = "";
    /** Where the text that is read anew begins. */
    this.from = 0;
    /** The first lines of the table that is written, of which only the last row is read anew. */
    this.head = "";
    /** @type {Record<string, unknown>} what the link definitions before that name */
    this.links = {};
    /** @type {Shown[]} blocks from there on */
    this.shown = [];
    this.done = false;
    this.frame = 0;
  }

  /** Adds text; it is shown with the next frame. @param {string} text */
  append(text) {
    if (this.done || text === "") return;
    this.text += text;
    if (this.text.includes("\r", this.text.length - text.length - 1)) {
      this.text = this.text.replace(/\r\n/g, "\n").replace(/\r(?!$)/g, "\n");
    }
    if (!this.frame) this.frame = requestAnimationFrame(() => this.render());
  }

  /** Shows everything; nothing more will come. @param {string} [text] the whole text, if known */
  finish(text) {
    if (this.done) return;
    if (text !== undefined && text.replace(/\r\n?/g, "\n") !== this.text) {
      // Not what was streamed: the record is right.
      this.text = text.replace(/\r\n?/g, "\n");
      this.from = 0;
      this.head = "";
      this.links = {};
      this.shown = [];
      this.element.replaceChildren();
    }
    this.done = true;
    this.render();
  }

  render() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    let text = this.head + this.text.slice(this.from);
    if (!this.done) {
      const held = heldLength(text);
      if (held > 0) text = text.slice(0, -held);
    }
    const lexer = new Lexer(marked.defaults);
    Object.assign(lexer.tokens.links, this.links);
    const tokens = lexer.lex(text);
    const blocks = tokens.filter(isBlock);
    this.shown = reconcile(this.element, this.shown, blocks, !this.done);
    if (!this.done) this.settle(text, tokens, lexer.tokens.links);
  }

  /**
   * Lets go of all blocks but the last: they will not be read again.
   * @param {string} text
   * @param {Token[]} tokens
   * @param {Record<string, unknown>} links
   */
  settle(text, tokens, links) {
    const last = tokens.findLastIndex(isBlock);
    if (last > 0) {
      const raw = tokens.slice(0, last).map((token) => token.raw).join("");
      if (!text.startsWith(raw)) return;
      this.from += raw.length - this.head.length;
      this.head = "";
      this.links = links;
      this.shown = this.shown.slice(-1);
    }
    const [block] = this.shown;
    if (block?.kind === "table" && text.startsWith(tokens[last].raw, text.length - tokens[last].raw.length)) this.settleRows(block, tokens[last].raw);
  }

  /**
   * Lets go of the rows of a table but the last.
   * @param {Shown} table
   * @param {string} raw
   */
  settleRows(table, raw) {
    const lines = raw.trimEnd().split("\n");
    const rows = lines.slice(2, -1);
    if (rows.length === 0 || table.rows.length !== lines.length - 1) return;
    const head = `${lines[0]}\n${lines[1]}\n`;
    this.from += head.length - this.head.length + rows.join("\n").length + 1;
    this.head = head;
    table.before += rows.length;
    table.rows = [table.rows[0], table.rows[table.rows.length - 1]];
  }
}

/** @param {Token} token */
function isBlock(token) {
  return token.type !== "space" && token.type !== "def";
}

/**
 * Makes the end of `parent` show the tokens, changing only what differs.
 * @param {Node} parent
 * @param {Shown[]} shown what it shows of them now: its last children
 * @param {Token[]} tokens
 * @param {boolean} open whether the last of them may grow
 * @returns {Shown[]}
 */
function reconcile(parent, shown, tokens, open) {
  const next = tokens.map((token, i) => {
    const grows = open && i === tokens.length - 1;
    const old = shown[i];
    if (old && old.kind === kindOf(token)) {
      if (old.raw !== token.raw || old.open !== grows) {
        const change = () => update(old, token, grows);
        if (LINES.has(old.kind)) unlessSelected(old.node, change);
        else change();
        old.raw = token.raw;
        old.open = grows;
      }
      return old;
    }
    const made = make(token);
    // Each block runs the way its first letter does, and all in it with it.
    if (parent instanceof Element && parent.matches(".md")) /** @type {HTMLElement} */ (made.node).dir = "auto";
    update(made, token, grows);
    made.raw = token.raw;
    made.open = grows;
    if (old) parent.replaceChild(made.node, old.node);
    else parent.appendChild(made.node);
    return made;
  });
  for (const old of shown.slice(tokens.length)) parent.removeChild(old.node);
  return next;
}

/**
 * What decides the element: tokens of one kind can turn into each other
 * without a new element.
 * @param {Token} token
 */
function kindOf(token) {
  switch (token.type) {
    case "heading":
      return "h" + token.depth;
    case "list":
      return token.ordered ? "ol" : "ul";
    case "text":
      // In a list an item's text is a paragraph as soon as the list has gaps.
      return token.tokens ? "paragraph" : "text";
    case "escape":
      return "text";
    case "link":
      return safeUrl(token.href) ? "link" : "label";
    case "image":
      return safeUrl(token.href) ? "image" : "label";
    default:
      return token.type;
  }
}

/**
 * An empty node for a token.
 * @param {Token} token
 * @returns {Shown}
 */
function make(token) {
  const kind = kindOf(token);
  return { kind, raw: "", open: false, node: emptyNode(kind, token), inner: [], rows: [], before: 0 };
}

/**
 * @param {string} kind
 * @param {Token} token
 * @returns {Node}
 */
function emptyNode(kind, token) {
  switch (kind) {
    case "paragraph":
      return h("p");
    case "h1":
      return h("h2");
    case "h2":
      return h("h3");
    case "h3":
      return h("h4");
    case "h4":
      return h("h5");
    case "h5":
    case "h6":
      return h("h6");
    case "ul":
      return h("ul");
    case "ol":
      return h("ol", { start: token.start !== 1 && token.start !== "" && token.start });
    case "list_item":
      return h("li");
    case "blockquote":
      return h("blockquote");
    case "hr":
      return h("hr");
    case "code":
      return codeBlock();
    case "table":
      return h("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, h("table", {}, h("thead"), h("tbody")));
    case "strong":
      return h("strong");
    case "em":
      return h("em");
    case "del":
      return h("del");
    case "codespan":
      return h("code");
    case "formula":
      return h("span", { class: "formula" });
    case "br":
      return h("br");
    case "checkbox":
      return h("input", { type: "checkbox", disabled: true, "aria-label": token.checked ? "Done" : "Not done" });
    case "link":
      return h("a", { target: "_blank", rel: "noopener noreferrer" });
    case "image":
      return h("a", { target: "_blank", rel: "noopener noreferrer", class: "image" });
    case "label":
      return h("span");
    default:
      return document.createTextNode("");
  }
}

/**
 * Makes a node show a token.
 * @param {Shown} shown
 * @param {Token} token
 * @param {boolean} open
 */
function update(shown, token, open) {
  const { node, kind } = shown;
  switch (kind) {
    case "hr":
    case "br":
      return;
    case "checkbox":
      /** @type {HTMLInputElement} */ (node).checked = token.checked === true;
      return;
    case "code":
      updateCode(/** @type {HTMLElement} */ (node), token, open);
      return;
    case "codespan":
    case "formula":
      setText(textIn(node), token.text ?? "");
      return;
    case "table":
      updateTable(shown, token, open);
      return;
    case "ul":
    case "ol":
      /** @type {HTMLElement} */ (node).classList.toggle("loose", token.loose === true);
      shown.inner = reconcile(node, shown.inner, token.items ?? [], open);
      return;
    case "list_item":
      shown.inner = reconcile(node, shown.inner, wholeParagraphs((token.tokens ?? []).filter(isBlock)), open);
      /** @type {HTMLElement} */ (node).classList.toggle("task", shown.inner[0]?.inner[0]?.kind === "checkbox");
      return;
    case "blockquote":
      shown.inner = reconcile(node, shown.inner, (token.tokens ?? []).filter(isBlock), open);
      return;
    case "link":
    case "image":
    case "label":
      updateLink(shown, token);
      return;
    case "strong":
    case "em":
    case "del":
      shown.inner = reconcile(node, shown.inner, token.tokens ?? [], false);
      return;
    case "text":
      setText(/** @type {Text} */ (node), token.type === "escape" ? (token.text ?? "") : decode(token.text ?? token.raw));
      return;
    default:
      if (!(node instanceof HTMLElement)) {
        setText(/** @type {Text} */ (node), token.raw);
        return;
      }
      node.classList.toggle("tip", open);
      shown.inner = reconcile(node, shown.inner, open ? openTokens(token) : (token.tokens ?? []), false);
  }
}

/**
 * The tokens of a line that is being written, with what is open closed.
 * @param {Token} token
 * @returns {Token[]}
 */
function openTokens(token) {
  const tokens = token.tokens ?? [];
  const box = tokens[0]?.type === "checkbox" ? tokens[0] : null;
  let text = token.text ?? "";
  if (box && text.startsWith(box.raw)) text = text.slice(box.raw.length);
  const closed = closeInline(text);
  if (closed === text) return tokens;
  const inline = new Lexer(marked.defaults).inlineTokens(closed);
  return box ? [box, ...inline] : inline;
}

/**
 * In a list without gaps a task's box stands before its text; here it goes
 * into the same paragraph, as it does in a list with gaps.
 * @param {Token[]} tokens
 * @returns {Token[]}
 */
function wholeParagraphs(tokens) {
  const [box, text, ...rest] = tokens;
  if (box?.type !== "checkbox") return tokens;
  if (text?.type !== "text") return [{ type: "text", raw: box.raw, text: "", tokens: [box] }, ...tokens.slice(1)];
  return [{ ...text, raw: box.raw + text.raw, tokens: [box, ...(text.tokens ?? [])] }, ...rest];
}

/** Kinds that hold a line of text; what is selected in one stays selected. */
const LINES = new Set(["paragraph", "h1", "h2", "h3", "h4", "h5", "h6"]);

/** @type {Map<Node, () => void>} the last change to each element that waits for its selection to go */
const waiting = new Map();

/**
 * Changes what an element shows, once nothing in it is selected.
 * @param {Node} node
 * @param {() => void} change
 */
function unlessSelected(node, change) {
  if (holdsSelection(node)) {
    if (waiting.size === 0) document.addEventListener("selectionchange", release);
    waiting.set(node, change);
  } else {
    waiting.delete(node);
    change();
  }
}

function release() {
  for (const [node, change] of waiting) unlessSelected(node, change);
  if (waiting.size === 0) document.removeEventListener("selectionchange", release);
}

/**
 * Changes a text node at its end only, where that is enough.
 * @param {Text} node
 * @param {string} text
 */
function setText(node, text) {
  if (node.data === text) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

/**
 * The one text node in an element.
 * @param {Node} parent
 * @returns {Text}
 */
function textIn(parent) {
  if (parent.childNodes.length === 1 && parent.firstChild instanceof Text) return parent.firstChild;
  parent.textContent = "";
  return parent.appendChild(document.createTextNode(""));
}

/** Code with more lines is folded. */
const FOLD = 30;

/** @param {HTMLElement} node @param {number} lines */
function fold(node, lines) {
  node.classList.add("folded");
  const button = h("button", { type: "button", class: "unfold", "aria-expanded": "false" }, `Show all ${lines} lines`);
  button.addEventListener("click", () => {
    const folded = node.classList.toggle("folded");
    button.setAttribute("aria-expanded", String(!folded));
    button.textContent = folded ? `Show all ${lines} lines` : "Show less";
  });
  node.append(button);
}

function codeBlock() {
  const code = h("code");
  const language = h("span", { class: "language" });
  const copy = copyButton("Copy code", () => code.textContent ?? "");
  return h("div", { class: "code" }, h("div", { class: "code-bar" }, language, copy), h("pre", { tabindex: "0" }, code));
}

/**
 * @param {HTMLElement} node
 * @param {Token} token
 * @param {boolean} open
 */
function updateCode(node, token, open) {
  const code = /** @type {HTMLElement} */ (node.querySelector("pre > code"));
  const name = (token.lang ?? "").trim().split(/\s+/)[0];
  const language = /** @type {HTMLElement} */ (node.querySelector(".language"));
  if (language.textContent !== name) language.textContent = name;
  if (node.dataset.closed) return;
  setText(textIn(code), token.text ?? "");
  const grows = open && !closesFence(token.raw);
  code.classList.toggle("tip", grows);
  if (grows) {
    node.dataset.grew = "yes";
    return;
  }
  node.dataset.closed = "yes";
  const lines = code.textContent?.split("\n").length ?? 0;
  if (lines > FOLD && !node.dataset.grew) fold(node, lines); // what was read while it grew stays open
  highlight(code, name.toLowerCase());
}

/**
 * True when the block's own last line closes it.
 * @param {string} raw
 */
function closesFence(raw) {
  const open = /^ {0,3}(`{3,}|~{3,})/.exec(raw);
  if (!open) return false;
  const lines = raw.trimEnd().split("\n");
  const last = lines[lines.length - 1].trim();
  return lines.length > 1 && last.startsWith(open[1]) && last === open[1][0].repeat(last.length);
}

/**
 * @param {Shown} shown
 * @param {Token} token
 * @param {boolean} open
 */
function updateTable(shown, token, open) {
  const table = /** @type {HTMLTableElement} */ (/** @type {HTMLElement} */ (shown.node).firstChild);
  const rows = [token.header ?? [], ...(token.rows ?? [])];
  rows.forEach((cells, i) => {
    const section = /** @type {HTMLElement} */ (i === 0 ? table.tHead : table.tBodies[0]);
    let row = /** @type {HTMLElement | undefined} */ (section.children[i === 0 ? 0 : shown.before + i - 1]);
    row ??= section.appendChild(h("tr"));
    shown.rows[i] ??= [];
    cells.forEach((cell, j) => {
      const known = shown.rows[i][j];
      if (known?.raw === cell.text) return;
      const align = token.align?.[j];
      const made = known ?? {
        kind: "cell",
        raw: "",
        open: false,
        node: row.appendChild(h(i === 0 ? "th" : "td", { class: align && "align-" + align })),
        inner: [],
        rows: [],
        before: 0,
      };
      unlessSelected(made.node, () => (made.inner = reconcile(made.node, made.inner, cell.tokens, false)));
      made.raw = cell.text;
      shown.rows[i][j] = made;
    });
  });
  while (shown.rows.length > rows.length) {
    shown.rows.pop();
    table.tBodies[0].lastElementChild?.remove();
  }
  const last = open ? shown.rows[shown.rows.length - 1].findLast((cell) => cell.raw !== "") : undefined;
  for (const cell of shown.rows.flat()) /** @type {HTMLElement} */ (cell.node).classList.toggle("tip", cell === last);
}

/**
 * @param {Shown} shown
 * @param {Token} token
 */
function updateLink(shown, token) {
  const node = /** @type {HTMLElement} */ (shown.node);
  const url = safeUrl(token.href);
  if (url && node.getAttribute("href") !== url) node.setAttribute("href", url);
  if (url) showTarget(node, token, url);
  if (token.type === "image") {
    // Remote images are not loaded: asking for one would tell its host.
    setText(textIn(node), "Image: " + decode(token.text || token.href || ""));
  } else {
    shown.inner = reconcile(node, shown.inner, token.tokens ?? [], false);
  }
}

/**
 * Shows where a link goes: its address, and behind it the host where its words do not name it.
 * @param {HTMLElement} node
 * @param {Token} token
 * @param {string} url
 */
function showTarget(node, token, url) {
  node.title = token.title ? `${decode(token.title)}\n${url}` : url;
  const host = url.startsWith("mailto:") ? url.slice(7).replace(/\?.*/, "") : new URL(url).host;
  const words = bare(decode(token.text ?? ""));
  if (words === host || words === bare(url) || words.startsWith(host + "/")) delete node.dataset.host;
  else node.dataset.host = host;
}

/** An address as people write it. @param {string} url */
const bare = (url) => url.replace(/^(?:https?:\/\/|mailto:)/, "").replace(/\/$/, "");

/**
 * The address if it leads to the web or to a mail; nothing else becomes a link.
 * @param {string | undefined} href
 * @returns {string | null}
 */
function safeUrl(href) {
  if (!href) return null;
  try {
    const url = new URL(decode(href));
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * Resolves entities such as &nbsp; one by one; each is far from being a tag.
 * @param {string} text
 */
function decode(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,31});/gi, (entity) => {
    const body = new DOMParser().parseFromString("x" + entity, "text/html").body;
    return (body.textContent ?? "").slice(1) || entity;
  });
}
