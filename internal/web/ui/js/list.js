/** The list of conversations at the side. */
import * as api from "./api.js";
import { byId, h, icon } from "./dom.js";

/** @typedef {import("./types").Conversation} Info */

/**
 * What the list asks of the page.
 * @typedef {object} Host
 * @property {(id: string) => void} open
 * @property {(id: string) => void} deleted
 * @property {(info: Info) => void} renamed
 */

/** @param {Info} info */
export const titleOf = (info) => info.title || "New conversation";

export class List {
  /** @param {Host} host */
  constructor(host) {
    this.host = host;
    this.list = byId("list");
    this.end = byId("list-end");
    /** @type {Info[]} newest activity first */
    this.rows = [];
    /** @type {Map<string, HTMLLIElement>} */
    this.elements = new Map();
    /** @type {string | null} */
    this.current = null;
    /** @type {string | null} where a reply is being written */
    this.writing = null;
    this.more = false;
    this.loading = false;
    this.loaded = false;
    /** @type {string | null} */
    this.renaming = null;
    new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) void this.loadMore();
      },
      { root: byId("list-scroller"), rootMargin: "0px 0px 400px 0px" },
    ).observe(this.end);
  }

  /** @param {string | null} id */
  find(id) {
    return this.rows.find((row) => row.id === id) ?? null;
  }

  /** Reads the first page anew and puts it before what was loaded beyond it. */
  async refresh() {
    const page = await api.listConversations(null);
    const last = page.data[page.data.length - 1];
    const fresh = new Set(page.data.map((row) => row.id));
    const beyond = page.has_more && last ? this.rows.filter((row) => !fresh.has(row.id) && row.updated_at <= last.updated_at) : [];
    this.rows = [...page.data, ...beyond];
    // With rows beyond, their own loading has told whether there are more.
    if (beyond.length === 0) this.more = page.has_more;
    this.loaded = true;
    this.render();
  }

  async loadMore() {
    if (!this.more || this.loading) return;
    this.loading = true;
    try {
      const page = await api.listConversations(this.rows[this.rows.length - 1]?.id ?? null);
      const known = new Set(this.rows.map((row) => row.id));
      this.rows.push(...page.data.filter((row) => !known.has(row.id)));
      this.more = page.has_more;
      this.render();
      this.end.replaceChildren();
      this.loading = false;
      // The mark may still be in view, and then nothing would ask again.
      const box = this.end.getBoundingClientRect();
      if (this.more && box.top < window.innerHeight + 400 && box.height + box.top > 0) setTimeout(() => void this.loadMore(), 0);
    } catch {
      const retry = h("button", { type: "button" }, "Retry");
      retry.addEventListener("click", () => {
        this.loading = false;
        this.end.replaceChildren();
        void this.loadMore();
      });
      this.end.replaceChildren("More could not be loaded. ", retry);
    }
  }

  /** Adds or updates one row; what is new goes first. @param {Info} info */
  put(info) {
    const at = this.rows.findIndex((row) => row.id === info.id);
    if (at < 0) this.rows.unshift(info);
    else this.rows[at] = info;
    this.render();
  }

  /** @param {string | null} id */
  mark(id) {
    this.current = id;
    this.render();
  }

  /** @param {string | null} id */
  setWriting(id) {
    if (id === this.writing) return;
    this.writing = id;
    this.render();
  }

  render() {
    const wanted = new Set(this.rows.map((row) => row.id));
    for (const [id, element] of this.elements) {
      if (wanted.has(id)) continue;
      element.remove();
      this.elements.delete(id);
    }
    let place = this.list.firstElementChild;
    for (const info of this.rows) {
      let element = this.elements.get(info.id);
      if (!element) {
        element = this.row(info);
        this.elements.set(info.id, element);
      }
      this.updateRow(element, info);
      if (element === place) place = place.nextElementSibling;
      else this.list.insertBefore(element, place);
    }
    byId("list-none").hidden = !this.loaded || this.rows.length > 0;
  }

  /** @param {Info} info */
  row(info) {
    const link = h("a", { href: "/c/" + info.id }, h("span", { class: "name" }), h("span", { class: "running", hidden: true }, "writing"));
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.host.open(info.id);
    });
    link.addEventListener("keydown", (event) => {
      if (event.key === "F2") this.rename(info.id);
      else if (event.key === "Delete") void this.remove(info.id);
      else return;
      event.preventDefault();
    });
    const rename = h("button", { type: "button", class: "quiet", title: "Rename", onclick: () => this.rename(info.id) }, icon("rename"));
    const remove = h("button", { type: "button", class: "quiet", title: "Delete", onclick: () => void this.remove(info.id) }, icon("delete"));
    return h("li", {}, link, rename, remove);
  }

  /** @param {HTMLLIElement} element @param {Info} info */
  updateRow(element, info) {
    const link = /** @type {HTMLElement} */ (element.querySelector("a"));
    const title = titleOf(info);
    const name = /** @type {HTMLElement} */ (link.querySelector(".name"));
    if (name.textContent !== title) {
      name.textContent = title;
      link.title = title;
      const [rename, remove] = element.querySelectorAll("button.quiet");
      rename.setAttribute("aria-label", "Rename " + title);
      remove.setAttribute("aria-label", "Delete " + title);
    }
    /** @type {HTMLElement} */ (link.querySelector(".running")).hidden = info.running_response_id === null && info.id !== this.writing;
    if (info.id === this.current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  /** Edits a title in place: Enter keeps it, Escape does not. @param {string} id */
  rename(id) {
    const element = this.elements.get(id);
    const info = this.find(id);
    if (!element || !info || this.renaming) return;
    this.renaming = id;
    const link = /** @type {HTMLElement} */ (element.querySelector("a"));
    const input = h("input", { type: "text", "aria-label": "Title", maxlength: "200", autocomplete: "off" });
    input.value = titleOf(info);
    element.classList.add("renaming");
    element.prepend(input);
    input.focus();
    input.select();

    let saving = false;

    /** @param {boolean} keep @param {boolean} [focus] */
    const end = async (keep, focus = false) => {
      if (this.renaming !== id || saving) return;
      const title = input.value.replace(/\s+/g, " ").trim();
      if (keep && title !== "" && title !== titleOf(info)) {
        saving = true;
        try {
          const renamed = await api.renameConversation(id, title);
          this.put({ ...info, ...renamed });
          this.host.renamed(renamed);
        } catch (problem) {
          input.setAttribute("aria-invalid", "true");
          input.title = problem instanceof Error ? problem.message : "";
          input.setCustomValidity("Not renamed. " + input.title);
          input.reportValidity();
          return;
        } finally {
          saving = false;
        }
      }
      this.renaming = null;
      element.classList.remove("renaming");
      input.remove();
      if (focus) link.focus();
    };
    input.addEventListener("input", () => input.setCustomValidity(""));
    input.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter") void end(true, true);
      else if (event.key === "Escape") void end(false, true);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    input.addEventListener("blur", () => void end(true));
  }

  /** Asks, then deletes. @param {string} id */
  async remove(id) {
    const info = this.find(id);
    if (!info || !(await confirmDelete(titleOf(info)))) {
      this.elements.get(id)?.querySelector("a")?.focus();
      return;
    }
    try {
      await api.deleteConversation(id);
    } catch (problem) {
      if (!(problem instanceof api.Problem) || problem.status !== 404) {
        await tell(`“${titleOf(info)}” was not deleted.`, problem instanceof Error ? problem.message : "");
        return;
      }
    }
    const at = this.rows.findIndex((row) => row.id === id);
    if (at >= 0) this.rows.splice(at, 1);
    this.render();
    this.host.deleted(id);
    const next = this.rows[at] ?? this.rows[at - 1];
    const focus = next ? this.elements.get(next.id)?.querySelector("a") : byId("new");
    focus?.focus();
  }
}

/** @param {string} title @returns {Promise<boolean>} */
function confirmDelete(title) {
  return ask("Delete this conversation?", `“${title}” and all its messages will be erased.`, "Delete");
}

/** @param {string} heading @param {string} text */
const tell = (heading, text) => ask(heading, text, null);

/**
 * A question in a dialog.
 * @param {string} heading
 * @param {string} text
 * @param {string | null} yes the button that does it; null only tells
 * @returns {Promise<boolean>}
 */
function ask(heading, text, yes) {
  return new Promise((resolve) => {
    const no = h("button", { type: "button" }, yes ? "Cancel" : "Close");
    const go = yes ? h("button", { type: "button", class: "danger" }, yes) : null;
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-heading" },
      h("h2", { id: "dialog-heading" }, heading),
      h("p", {}, text),
      h("div", { class: "buttons" }, no, go),
    );
    let answer = false;
    no.addEventListener("click", () => dialog.close());
    go?.addEventListener("click", () => {
      answer = true;
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    (go ?? no).focus();
  });
}
