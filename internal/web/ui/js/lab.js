/** What the advisor works with: the models, and the notes about the lab. */
import * as api from "./api.js";
import { byId, copyButton, h, plural } from "./dom.js";
import { load, save } from "./storage.js";

/** @typedef {import("./types").Lab} Lab */
/** @typedef {import("./types").Model} Model */

/** The advisor that answers when no model is connected. */
const OFFLINE = "offline";

export class LabView {
  /** @param {() => void} changed another model is chosen, or known */
  constructor(changed) {
    this.changed = changed;
    this.select = /** @type {HTMLSelectElement} */ (byId("model"));
    this.notes = byId("notes");
    this.popover = byId("notes-popover");
    this.card = byId("offline-card");
    this.banner = byId("offline-banner");
    /** @type {Model[]} */
    this.models = [];
    /** @type {string | null} the model to choose where it is there */
    this.preferred = null;
    /** @type {Lab | null} */
    this.lab = null;
    this.shown = "";
    this.select.addEventListener("change", () => {
      this.preferred = this.select.value;
      save("model", this.select.value);
      changed();
    });
    this.popover.addEventListener("beforetoggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") this.place();
    });
    window.addEventListener("resize", () => this.popover.hidePopover?.());
  }

  /** The model to ask, or null for the server's choice. */
  get model() {
    return this.select.hidden ? null : this.select.value || null;
  }

  /** True when no model is connected. */
  get offline() {
    return this.models.every((model) => model.id === OFFLINE);
  }

  /** Whether the chosen model goes on with a reply. */
  get continues() {
    return this.models.some((one) => one.id === this.select.value && one.continues === true);
  }

  /** What the chosen model does not take, in a sentence; "" for nothing that is known. */
  get limit() {
    if (this.models.length === 0) return "";
    if (this.offline) return "No model is connected: the offline advisor does not look at images.";
    const chosen = this.models.find((one) => one.id === this.select.value);
    return chosen?.vision === false ? `${chosen.id} does not take images.` : "";
  }

  async refresh() {
    const [models, lab] = await Promise.all([api.listModels(), api.getLab().catch(() => null)]);
    const now = JSON.stringify([models.data, lab]);
    if (now === this.shown) return;
    this.shown = now;
    this.models = models.data;
    this.lab = lab;
    this.renderModels();
    this.renderNotes();
    this.renderOffline();
    this.changed();
  }

  /** Prefers the model a conversation was held with. @param {string | null} model */
  prefer(model) {
    this.preferred = model;
    // That none was there once is no choice.
    const wanted = [model === OFFLINE ? null : model, load("model"), this.models.find((one) => one.default)?.id];
    const found = wanted.find((id) => id && this.models.some((one) => one.id === id));
    if (found) this.select.value = found;
    this.changed();
  }

  renderModels() {
    this.select.replaceChildren(
      ...this.models.map((model) => h("option", { value: model.id }, model.id === OFFLINE ? "offline (no model)" : model.id)),
    );
    this.select.hidden = this.models.length < 2;
    this.prefer(this.preferred);
  }

  renderNotes() {
    const { lab, notes } = this;
    notes.hidden = lab === null;
    if (!lab) return;
    const used = lab.notes.filter((note) => note.included);
    const left = lab.notes.filter((note) => !note.included);
    // On a narrow screen the line is shorter.
    if (lab.problem) notes.replaceChildren(h("span", { class: "left-out" }, "Lab notes cannot be read"));
    else if (lab.notes.length === 0) notes.replaceChildren("No lab notes");
    else notes.replaceChildren(h("span", { class: "more" }, "Lab "), "notes", h("span", { class: "more" }, " in use"), `: ${used.length}`);
    if (left.length > 0) {
      const [more, less] = [` · ${left.length} did not fit`, ` of ${lab.notes.length}`];
      notes.append(h("span", { class: "left-out" }, h("span", { class: "more" }, more), h("span", { class: "less" }, less)));
    }

    const parts = [];
    if (lab.problem) parts.push(h("h2", {}, "Lab notes cannot be read"), h("p", {}, lab.problem));
    else if (lab.notes.length === 0) {
      parts.push(
        h("h2", {}, "No lab notes"),
        lab.configured
          ? h("p", {}, "The notes folder has no Markdown files yet. What you write there about your lab, the advisor knows.")
          : h("p", {}, "Set ", h("code", {}, "HWLAB_LAB_DIR"), " to a folder of Markdown notes about your lab, and the advisor knows them."),
      );
    }
    if (used.length > 0) parts.push(h("h2", {}, "In use"), noteList(used));
    if (left.length > 0) {
      parts.push(h("h2", {}, "Did not fit"), noteList(left));
      parts.push(h("p", {}, `The model is given at most ${size(lab.budget)} of notes. Shorter notes, or fewer, all fit.`));
    }
    this.popover.replaceChildren(...parts);
  }

  renderOffline() {
    const { offline } = this;
    document.body.classList.toggle("offline", offline);
    this.banner.hidden = !offline;
    this.card.hidden = !offline;
    if (!offline) return;
    this.card.replaceChildren(h("h2", {}, "No model is connected"), ...this.advice());
    byId("offline-more").replaceChildren(...this.advice());
  }

  /** What was tried and what to set. */
  advice() {
    const tried = this.lab?.sources ?? [];
    return [
      h("p", {}, "Until one is, the offline advisor looks things up in your lab notes and in past conversations. It does not reason."),
      tried.length > 0 ? h("h3", {}, "What was tried") : "",
      tried.length > 0 ? h("ul", { class: "tried" }, ...tried.map(sourceRow)) : "",
      h("h3", {}, "What to do"),
      h(
        "ul",
        { class: "settings" },
        h("li", {}, "Ollama on this machine is found by itself, once it has a model:", command("ollama pull llama3.2")),
        h("li", {}, "With Ollama on another, start hwlab with its address:", command("OLLAMA_HOST=192.168.1.20:11434 hwlab serve")),
        h("li", {}, "With llama.cpp, vLLM or any server that speaks Chat Completions:", command("OPENAI_BASE_URL=http://192.168.1.20:8000/v1 hwlab serve")),
      ),
      h("p", {}, "A file ", h("code", {}, ".env"), " can hold these settings, and ", h("code", {}, "OPENAI_API_KEY"), " if a server wants one. This page notices by itself when a model is there."),
    ];
  }

  /** Puts the popover above its button. */
  place() {
    const box = this.notes.getBoundingClientRect();
    const { style } = this.popover;
    style.left = Math.max(12, Math.min(box.left, window.innerWidth - 372)) + "px";
    style.bottom = window.innerHeight - box.top + 8 + "px";
    style.maxHeight = box.top - 24 + "px";
  }
}

/** A command to copy. @param {string} text */
const command = (text) => h("div", { class: "command" }, h("code", {}, text), copyButton("Copy " + text, () => text));

/** @param {Lab["notes"]} notes */
function noteList(notes) {
  return h(
    "ul",
    { class: "note-list" },
    ...notes.map((note) =>
      h("li", {}, h("span", { class: "file" }, note.name), h("span", { class: "size" }, size(note.bytes)), note.reason ? h("span", { class: "reason" }, note.reason) : null),
    ),
  );
}

/** @param {Lab["sources"][number]} source */
function sourceRow(source) {
  const found = source.models === 0 ? "no models installed" : plural(source.models, "model");
  return h(
    "li",
    {},
    h("span", { class: "file" }, source.name),
    source.url ? h("span", { class: "url" }, source.url) : null,
    h("span", { class: source.error ? "reason bad" : "reason" }, source.error || found),
  );
}

/** @param {number} bytes */
function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(bytes < 10_000 ? 1 : 0)} kB`;
}
