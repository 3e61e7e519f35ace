/** Searching all conversations, in a dialog over the page. */
import { Problem, search } from "./api.js";
import { byId, h, pause, timeElement } from "./dom.js";
import { NAMES } from "./message.js";

/** @typedef {import("./types").Hit} Hit */

/** How long typing must rest before it is searched for, in milliseconds. */
const REST = 120;
/** How often a search that has found nothing yet goes on by itself. */
const FURTHER = 5;

/** What a hit in something else than a message is, by the kind of its id. @type {Record<string, string>} */
const KINDS = { fc: "Call", fco: "Result" };

const date = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

/** A hit's own name among the hits. @param {Hit} hit */
const nameOf = (hit) => hit.item_id ?? hit.conversation_id;

/** @param {Hit} hit */
const addressOf = (hit) => "/c/" + hit.conversation_id + (hit.item_id ? "#" + hit.item_id : "");

/**
 * A text with its marks, which count characters and not UTF-16 units.
 * @param {string} text
 * @param {Hit["marks"]} marks
 * @returns {(string | HTMLElement)[]}
 */
export function marked(text, marks) {
  const characters = [...text];
  /** @param {number} from @param {number} [to] */
  const cut = (from, to) => characters.slice(from, to).join("");
  /** @type {(string | HTMLElement)[]} */
  const parts = [];
  let at = 0;
  for (const { start_index, end_index } of marks) {
    parts.push(cut(at, start_index), h("mark", {}, cut(start_index, end_index)));
    at = end_index;
  }
  return [...parts, cut(at)].filter((part) => part !== "");
}

export class Search {
  /** @param {(path: string) => void} go */
  constructor(go) {
    this.go = go;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("search"));
    this.box = /** @type {HTMLInputElement} */ (byId("search-box"));
    this.filters = /** @type {HTMLSelectElement[]} */ ([byId("search-role"), byId("search-archived"), byId("search-order")]);
    this.results = byId("search-results");
    this.list = byId("search-hits");
    this.note = byId("search-note");
    this.further = /** @type {HTMLButtonElement} */ (byId("search-further"));
    this.help = byId("search-help");
    this.status = byId("search-status");
    /** @type {HTMLElement | null} the hit that Enter opens */
    this.active = null;
    /** @type {string | null} where the next page begins */
    this.cursor = null;
    /** Ends the search for what was there before. */
    this.query = new AbortController();
    /** The page that is being loaded. @type {Promise<void> | null} */
    this.loading = null;
    /** What the hits that are shown were found by; null while others are looked for. @type {string | null} */
    this.found = null;
    this.before = "";
    /** The first of the hits in their order. @type {string | null} */
    this.foremost = null;
    this.timer = 0;
    this.box.addEventListener("input", () => {
      this.found = null;
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => void this.start(), REST);
    });
    for (const filter of this.filters) filter.addEventListener("change", () => void this.start());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("close", () => {
      clearTimeout(this.timer);
      this.query.abort();
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.close();
    });
    this.list.addEventListener("click", (event) => {
      const hit = event.target instanceof Element ? event.target.closest("a") : null;
      if (!hit || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.jump(hit);
    });
    // The box keeps the focus, so that typing and arrows go on.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.further.addEventListener("click", () => void this.more());
    this.results.addEventListener(
      "scroll",
      () => {
        const { scrollTop, scrollHeight, clientHeight } = this.results;
        if (scrollTop + clientHeight > scrollHeight - 200) void this.more();
      },
      { passive: true },
    );
    for (const id of ["search-open", "search-top"]) byId(id).addEventListener("click", () => this.open());
    byId("search-close").addEventListener("click", () => this.close());
  }

  /** Opens with what was searched for last, marked, so that typing replaces it. */
  open() {
    if (this.dialog.open) {
      this.close();
      return;
    }
    this.dialog.showModal();
    this.box.focus();
    this.box.select();
    void this.start();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  /** Searches anew. */
  async start() {
    clearTimeout(this.timer);
    this.query.abort();
    this.query = new AbortController();
    this.found = null;
    this.cursor = null;
    this.loading = null;
    if (this.box.value.trim() === "") {
      this.list.replaceChildren();
      this.activate(null);
      this.show("", "");
      return;
    }
    await this.load(true);
  }

  /** Goes on where the last page ended; done when that is there. */
  async more() {
    await (this.loading ?? (this.cursor && this.load(false)));
  }

  /** The hits that are shown. */
  get rows() {
    return /** @type {HTMLElement[]} */ ([...this.list.querySelectorAll("[role=option]")]);
  }

  /** @param {boolean} first whether the page takes the place of what is shown */
  load(first) {
    const page = this.loadPage(first).finally(() => {
      if (this.loading === page) this.loading = null;
    });
    this.loading = page;
    return page;
  }

  /** Loads a page; where the server does not answer, until it does. @param {boolean} first */
  async loadPage(first) {
    const { signal } = this.query;
    const [role, archived, order] = this.filters.map((filter) => filter.value);
    const q = this.box.value;
    // Who looks again for the same finds the place again.
    const shown = q === this.before ? this.active?.dataset.name : null;
    let since = null;
    for (let round = 0; ; ) {
      let page;
      try {
        page = await search({ q, role, archived, order, cursor: this.cursor }, signal);
      } catch (problem) {
        if (signal.aborted) return;
        if (!(problem instanceof Problem)) throw problem;
        const lost = problem.status === 0 || problem.status >= 500;
        this.show("", problem.status === 0 ? "The server cannot be reached. Trying again." : problem.message + (lost ? " Trying again." : ""), true);
        if (lost && (await pause(1000, signal))) continue;
        return;
      }
      if (signal.aborted) return;
      if (first) {
        this.list.replaceChildren();
        this.active = null;
        this.foremost = page.data[0] ? nameOf(page.data[0]) : null;
        this.results.scrollTop = 0;
        first = false;
      }
      this.add(page.data);
      this.cursor = page.next_cursor;
      since = page.searched_since;
      // The work of a request is bounded, so a page can be empty and have more after it.
      if (this.list.firstChild || !this.cursor || ++round === FURTHER) break;
    }
    this.found = this.before = q;
    this.tell(since === null ? null : date.format(since * 1000), order === "best");
    const named = (/** @type {string | null | undefined} */ name) => this.rows.find((row) => row.dataset.name === name);
    if (!this.active) this.activate(named(shown) ?? named(this.foremost) ?? this.rows[0] ?? null);
  }

  /** Says what there is. @param {string | null} since @param {boolean} best */
  tell(since, best) {
    const count = this.rows.length;
    const many = count === 1 ? "1 hit" : `${count} hits`;
    if (count === 0 && this.cursor) this.show("", `Nothing${since ? ` since ${since}` : ""} so far.`);
    else if (count === 0) this.show("", "Nothing was found. " + this.advice());
    else if (this.cursor) this.show(`${many}, and there are more.`, "");
    else if (since && best) this.show(`${many}, the best of the newest 2,000, which begin ${since}.`, "");
    else this.show(many + ".", "");
  }

  /** What may find something after all. */
  advice() {
    const words = this.box.value.trim().split(/\s+/);
    if (this.filters[0].value || this.filters[1].value) return "The choices below the box leave some out: try without them.";
    if (words.some((word) => [...word].length < 3)) return "One or two characters must begin a word; from three on they are found inside words, too.";
    if (words.length > 1) return "All words must be in one message: try fewer of them.";
    return "Try a shorter piece of it.";
  }

  /**
   * @param {string} status below the hits, and for screen readers
   * @param {string} note in their place
   * @param {boolean} [bad]
   */
  show(status, note, bad = false) {
    const none = this.list.firstChild === null;
    this.note.textContent = note;
    this.note.hidden = note === "";
    this.note.classList.toggle("bad", bad);
    this.help.hidden = !none || note !== "";
    this.list.hidden = none;
    this.further.hidden = !this.cursor || bad;
    this.status.textContent = status || note;
    this.status.classList.toggle("offscreen", status === "");
  }

  /**
   * Adds a page of hits. Those of a conversation stand together, where the
   * first of them belongs, below its title; the next page goes on with the
   * last conversation at most, so that what is shown stays where it is.
   * @param {Hit[]} hits
   */
  add(hits) {
    /** @type {Map<string | undefined, HTMLElement>} */
    const groups = new Map();
    const last = /** @type {HTMLElement | null} */ (this.list.lastElementChild);
    if (last) groups.set(last.dataset.conversation, last);
    for (const hit of hits) {
      let group = groups.get(hit.conversation_id);
      if (!group) {
        const title = hit.title || "New conversation";
        group = h("div", { role: "group", "aria-label": title, "data-conversation": hit.conversation_id }, h("div", { class: "hit-title", dir: "auto", "aria-hidden": "true" }, title));
        groups.set(hit.conversation_id, group);
        this.list.append(group);
      }
      if (hit.item_id) group.append(this.row(hit));
      else group.firstElementChild?.replaceWith(this.row(hit));
    }
  }

  /** A hit; that of a title takes the title's place. @param {Hit} hit */
  row(hit) {
    const name = nameOf(hit);
    const what = hit.item_id ? (KINDS[hit.item_id.split("_")[0]] ?? NAMES[hit.role ?? ""] ?? hit.role) : "Title";
    return h(
      "a",
      { href: addressOf(hit), role: "option", id: "hit-" + name, "data-name": name, tabindex: "-1", "aria-selected": "false" },
      h("span", { class: hit.item_id ? "hit-text" : "hit-title", dir: "auto" }, ...marked(hit.item_id ? hit.snippet : hit.title || "New conversation", hit.marks)),
      h("span", { class: "hit-meta" }, what, " · ", timeElement(hit.created_at)),
    );
  }

  /** @param {HTMLElement | null} row */
  activate(row) {
    this.active?.setAttribute("aria-selected", "false");
    this.active = row;
    row?.setAttribute("aria-selected", "true");
    row?.scrollIntoView({ block: "nearest" });
    for (const element of [this.box, this.list]) {
      if (row) element.setAttribute("aria-activedescendant", row.id);
      else element.removeAttribute("aria-activedescendant");
    }
  }

  /** Makes a hit the active one; past the last there may be more. @param {number} to */
  async step(to) {
    const { query } = this;
    if (to >= this.rows.length) await this.more();
    if (query !== this.query) return;
    const { rows } = this;
    this.activate(rows[Math.min(to, rows.length - 1)] ?? null);
  }

  /** @param {HTMLElement} row */
  jump(row) {
    const path = row.getAttribute("href") ?? "/";
    this.close();
    this.go(path);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.isComposing || event.keyCode === 229) return;
    const ctrl = event.ctrlKey || event.metaKey;
    const at = this.active ? this.rows.indexOf(this.active) : -1;
    const plain = (event.target === this.box || event.target === this.list) && !event.altKey && !event.shiftKey && !ctrl;
    if (event.key === "Escape" || (ctrl && event.key.toLowerCase() === "k")) this.close();
    else if (plain && event.key === "ArrowDown") void this.step(at + 1);
    else if (plain && event.key === "ArrowUp") void this.step(Math.max(0, at - 1));
    else if (plain && event.key === "PageDown") void this.step(at + 5);
    else if (plain && event.key === "PageUp") void this.step(Math.max(0, at - 5));
    else if (plain && event.key === "Enter") {
      // What was typed is looked for at once; nothing is opened that was found by something else.
      if (this.found === null) void (this.loading ?? this.start());
      else if (this.active) this.jump(this.active);
      else void this.more();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
