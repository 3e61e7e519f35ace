/** The list of conversations at the side. */
import * as api from "./api.js";
import { byId, h, icon } from "./dom.js";

/** @typedef {import("./types").Conversation} Info */

/**
 * What the list asks of the page.
 * @typedef {object} Host
 * @property {(id: string) => void} open
 * @property {(id: string) => void} hidden it was deleted, and may still come back
 * @property {(id: string) => void} erased
 * @property {(info: Info) => void} renamed
 */

/** How long a deletion can be undone. */
const UNDO = 10_000;

/** @param {Info} info */
export const titleOf = (info) => info.title || "New conversation";

const month = new Intl.DateTimeFormat("en", { month: "long" });

/**
 * The group of a conversation by its last activity.
 * @param {number} unix seconds
 * @param {Date} now
 */
export function groupOf(unix, now) {
  const then = new Date(unix * 1000);
  /** @param {Date} date */
  const day = (date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000;
  const ago = day(now) - day(then);
  if (ago < 1) return "Today";
  if (ago < 2) return "Yesterday";
  if (ago < 8) return "Last week";
  return month.format(then) + (then.getFullYear() === now.getFullYear() ? "" : " " + then.getFullYear());
}

export class List {
  /** @param {Host} host */
  constructor(host) {
    this.host = host;
    this.list = byId("list");
    this.end = byId("list-end");
    /** @type {Info[]} newest activity first */
    this.rows = [];
    /** @type {Info[]} */
    this.pinned = [];
    /** @type {Map<string, HTMLLIElement>} */
    this.elements = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.groups = new Map();
    /** @type {string | null} */
    this.current = null;
    /** @type {string | null} where a reply is being written */
    this.writing = null;
    this.archived = false;
    this.more = false;
    this.loading = false;
    this.loaded = false;
    /** @type {string | null} */
    this.renaming = null;
    /** @type {Set<string>} what was deleted here; a list that was on its way still has it */
    this.deleted = new Set();
    this.menu = byId("row-menu");
    this.switch = byId("archived");
    this.switch.addEventListener("click", () => void this.showArchived(!this.archived));
    this.menu.addEventListener("keydown", (event) => this.menuKey(event));
    byId("list-scroller").addEventListener("scroll", () => this.menu.hidePopover(), { passive: true });
    this.observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) void this.loadMore();
      },
      { root: byId("list-scroller"), rootMargin: "0px 0px 400px 0px" },
    );
    this.observer.observe(this.end);
  }

  /** @param {string | null} id */
  find(id) {
    return this.rows.find((row) => row.id === id) ?? this.pinned.find((row) => row.id === id) ?? null;
  }

  /** Reads the first page anew and puts it before what was loaded beyond it. */
  async refresh() {
    const { archived } = this;
    const [page, pinned] = await Promise.all([api.listConversations(null, { archived }), archived ? null : api.listConversations(null, { pinned: true })]);
    if (archived !== this.archived) return;
    const last = page.data[page.data.length - 1];
    const fresh = new Set(page.data.map((row) => row.id));
    const beyond = page.has_more && last ? this.rows.filter((row) => !fresh.has(row.id) && row.updated_at <= last.updated_at) : [];
    this.rows = [...page.data, ...beyond];
    this.pinned = pinned?.data ?? [];
    // With rows beyond, their own loading has told whether there are more.
    if (beyond.length === 0) this.more = page.has_more;
    this.loaded = true;
    this.render();
  }

  /** @param {boolean} archived */
  async showArchived(archived) {
    this.archived = archived;
    this.rows = [];
    this.pinned = [];
    this.more = false;
    this.loaded = false;
    this.switch.textContent = archived ? "Back to conversations" : "Archived";
    byId("list-none").textContent = archived ? "Nothing is archived." : "None yet. What you ask appears here.";
    this.render();
    try {
      await this.refresh();
    } catch (problem) {
      if (!(problem instanceof api.Problem)) throw problem; // the poll tries again, and says so
    }
  }

  async loadMore() {
    if (!this.more || this.loading) return;
    this.loading = true;
    const { archived } = this;
    try {
      const page = await api.listConversations(this.rows[this.rows.length - 1]?.id ?? null, { archived });
      this.loading = false;
      if (archived !== this.archived) return;
      const known = new Set(this.rows.map((row) => row.id));
      this.rows.push(...page.data.filter((row) => !known.has(row.id)));
      this.more = page.has_more;
      this.render();
      this.end.replaceChildren();
      // The mark may still be in view, and then nothing would ask again.
      this.observer.unobserve(this.end);
      this.observer.observe(this.end);
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
    for (const [rows, belongs] of /** @type {[Info[], boolean][]} */ ([
      [this.rows, info.archived === this.archived],
      [this.pinned, info.pinned && !info.archived && !this.archived],
    ])) {
      const at = rows.findIndex((row) => row.id === info.id);
      if (!belongs && at >= 0) rows.splice(at, 1);
      else if (belongs && at >= 0) rows[at] = info;
      else if (belongs) rows.splice(rows.filter((row) => row.updated_at > info.updated_at).length, 0, info);
    }
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

  /** The rows as they are shown, by group. @returns {Map<string, Info[]>} */
  grouped() {
    const now = new Date();
    /** @type {Map<string, Info[]>} */
    const groups = new Map();
    /** @param {string} name @param {Info} info */
    const add = (name, info) => {
      const rows = groups.get(name);
      if (rows) rows.push(info);
      else groups.set(name, [info]);
    };
    const pinned = new Set(this.pinned.map((row) => row.id));
    for (const info of this.pinned) if (!this.deleted.has(info.id)) add("Pinned", info);
    for (const info of this.rows) {
      if (!pinned.has(info.id) && !this.deleted.has(info.id)) add(groupOf(info.updated_at, now), info);
    }
    return groups;
  }

  render() {
    const groups = this.grouped();
    const wanted = new Set([...groups.values()].flat().map((row) => row.id));
    for (const [id, element] of this.elements) {
      if (wanted.has(id)) continue;
      element.remove();
      this.elements.delete(id);
    }
    for (const [name, section] of this.groups) {
      if (groups.has(name)) continue;
      section.remove();
      this.groups.delete(name);
    }
    let below = this.list.firstElementChild;
    for (const [name, rows] of groups) {
      let section = this.groups.get(name);
      if (!section) {
        const id = "group-" + name.replace(" ", "-").toLowerCase();
        section = h("section", { "aria-labelledby": id }, h("h2", { id }, name), h("ul"));
        this.groups.set(name, section);
      }
      if (section === below) below = below.nextElementSibling;
      else this.list.insertBefore(section, below);
      const list = /** @type {HTMLElement} */ (section.lastElementChild);
      let place = list.firstElementChild;
      for (const info of rows) {
        let element = this.elements.get(info.id);
        if (!element) {
          element = this.row(info.id);
          this.elements.set(info.id, element);
        }
        this.updateRow(element, info);
        if (element === place) place = place.nextElementSibling;
        else move(list, element, place);
      }
    }
    byId("list-none").hidden = !this.loaded || wanted.size > 0;
  }

  /** @param {string} id */
  row(id) {
    const link = h("a", { href: "/c/" + id }, h("span", { class: "name" }), h("span", { class: "running", hidden: true }, "writing"));
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.host.open(id);
    });
    link.addEventListener("keydown", (event) => {
      if (event.key === "F2") this.rename(id);
      else if (event.key === "Delete") this.remove(id);
      else return;
      event.preventDefault();
    });
    const more = h("button", { type: "button", class: "quiet", "aria-haspopup": "menu" }, icon("more"));
    more.addEventListener("click", () => this.openMenu(id, more));
    return h("li", {}, link, more);
  }

  /** @param {HTMLLIElement} element @param {Info} info */
  updateRow(element, info) {
    const link = /** @type {HTMLElement} */ (element.querySelector("a"));
    const title = titleOf(info);
    const name = /** @type {HTMLElement} */ (link.querySelector(".name"));
    if (name.textContent !== title) {
      name.textContent = title;
      name.dir = "auto";
      link.title = title;
      element.querySelector("button")?.setAttribute("aria-label", "More about " + title);
    }
    /** @type {HTMLElement} */ (link.querySelector(".running")).hidden = info.running_response_id === null && info.id !== this.writing;
    if (info.id === this.current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  /** What can be done with a row. @param {string} id @param {HTMLElement} button */
  openMenu(id, button) {
    const info = this.find(id);
    if (!info) return;
    /** @param {string} name @param {() => void} action */
    const item = (name, action) => {
      const entry = h("button", { type: "button", role: "menuitem", class: "quiet" }, name);
      entry.addEventListener("click", () => {
        button.focus(); // where the focus goes back to, unless the action moves it
        this.menu.hidePopover();
        action();
      });
      return entry;
    };
    this.menu.replaceChildren(
      info.archived ? "" : item(info.pinned ? "Unpin" : "Pin", () => void this.change(info, { pinned: !info.pinned })),
      item("Rename", () => this.rename(id)),
      item(info.archived ? "Unarchive" : "Archive", () => void this.change(info, { archived: !info.archived })),
      item("Delete", () => this.remove(id)),
    );
    this.menu.setAttribute("aria-label", titleOf(info));
    this.menu.showPopover();
    const box = button.getBoundingClientRect();
    const { offsetWidth, offsetHeight, style } = this.menu;
    style.left = Math.max(8, Math.min(box.left, window.innerWidth - offsetWidth - 8)) + "px";
    style.top = (box.bottom + offsetHeight + 12 > window.innerHeight ? box.top - offsetHeight - 4 : box.bottom + 4) + "px";
    this.menu.querySelector("button")?.focus();
  }

  /** @param {KeyboardEvent} event */
  menuKey(event) {
    const entries = [...this.menu.querySelectorAll("button")];
    const at = entries.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (!(event.key in to)) return;
    event.preventDefault();
    entries.at(to[event.key] % entries.length)?.focus();
  }

  /** Pins, archives, and back. @param {Info} info @param {{pinned?: boolean, archived?: boolean}} change */
  async change(info, change) {
    const next = "archived" in change ? this.neighbour(info.id) : info.id;
    try {
      this.put({ ...info, ...(await api.updateConversation(info.id, change)) });
    } catch (problem) {
      await tell(`“${titleOf(info)}” was not changed.`, problem instanceof Error ? problem.message : "");
      return;
    }
    this.focus(next);
  }

  /** The row that takes the focus when this one goes. @param {string} id */
  neighbour(id) {
    const shown = [...this.list.querySelectorAll("li a")];
    const at = shown.findIndex((link) => link.getAttribute("href") === "/c/" + id);
    return (shown[at + 1] ?? shown[at - 1])?.getAttribute("href")?.slice(3) ?? null;
  }

  /** @param {string | null} id */
  focus(id) {
    (this.elements.get(id ?? "")?.querySelector("a") ?? byId("new")).focus();
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
          const renamed = await api.updateConversation(id, { title });
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

  /**
   * Deletes a conversation. The server holds it for as long as Undo is shown,
   * and erases it then, whether or not this page is still there.
   * @param {string} id
   */
  remove(id) {
    const info = this.find(id);
    if (!info || this.deleted.has(id)) return;
    const next = this.neighbour(id);
    const open = id === this.current;
    this.deleted.add(id);
    this.render();
    this.host.hidden(id);
    this.focus(next);
    const undo = h("button", { type: "button" }, "Undo");
    const toast = h("p", { class: "toast" }, h("span", {}, `Deleted “${titleOf(info)}”`), undo);
    byId("toasts").append(toast);
    const erased = () => {
      end();
      this.host.erased(id);
    };
    const timer = setTimeout(erased, UNDO);
    addEventListener("pagehide", erased);
    const end = () => {
      clearTimeout(timer);
      removeEventListener("pagehide", erased);
      toast.remove();
    };
    const back = () => {
      end();
      this.deleted.delete(id);
      this.put(info);
    };
    const deleting = api.deleteConversation(id, UNDO / 1000 + 2).catch((problem) => { // an undo at the last moment is in time
      back();
      void tell(`“${titleOf(info)}” was not deleted.`, problem instanceof Error ? problem.message : "");
      return problem;
    });
    undo.addEventListener("click", async () => {
      end();
      if (await deleting instanceof Error) return; // it is back
      try {
        Object.assign(info, await api.restoreConversation(id));
      } catch (problem) {
        this.host.erased(id);
        await tell(`“${titleOf(info)}” did not come back.`, problem instanceof Error ? problem.message : "");
        return;
      }
      back();
      if (open) this.host.open(id);
      this.focus(id);
    });
  }
}

/**
 * Puts a row before another, with its focus.
 * @param {Element} list
 * @param {HTMLElement} row
 * @param {Element | null} before
 */
function move(list, row, before) {
  const focused = row.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
  list.insertBefore(row, before);
  focused?.focus();
}

/**
 * Says something in a dialog.
 * @param {string} heading
 * @param {string} text
 * @returns {Promise<void>}
 */
function tell(heading, text) {
  return new Promise((resolve) => {
    const close = h("button", { type: "button" }, "Close");
    const dialog = h("dialog", { "aria-labelledby": "dialog-heading" }, h("h2", { id: "dialog-heading" }, heading), h("p", {}, text), h("div", { class: "buttons" }, close));
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
