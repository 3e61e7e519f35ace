/** The messages of a thread as elements. */
import { copyButton, h, isTouch, plural, timeElement } from "./dom.js";
import { attachedElement, attachedTo } from "./files.js";
import { Markdown } from "./markdown.js";

/**
 * @typedef {import("./types").Item} Item
 * @typedef {import("./types").Response} Reply
 * @typedef {import("./types").StreamEvent} StreamEvent
 */

/** @type {Record<string, string>} */
export const NAMES = { user: "You", assistant: "Advisor", system: "Instruction", developer: "Instruction", tool: "Tool" };

/** Of a token, in most languages and models. */
const CHARACTERS = 4;

/**
 * The text of an item.
 * @param {Item} item
 * @returns {string}
 */
export function itemText(item) {
  return (item.content ?? []).map((part) => part.text ?? part.refusal ?? "").filter((text) => text !== "").join("\n\n");
}

/**
 * @param {string} role
 * @param {...(Node | null)} children
 */
function article(role, ...children) {
  return h("article", { class: "message " + role, "aria-label": NAMES[role] ?? role }, ...children);
}

/**
 * A button that the conversation carries out.
 * @param {string} name
 * @param {string} what
 */
const action = (name, what) => h("button", { type: "button", class: "copy", "data-do": what }, name);

/**
 * The way to the other versions of a message; nothing where there is one only.
 * @param {HTMLElement} slot
 * @param {Item["branch"]} branch
 */
function showVersions(slot, branch) {
  slot.hidden = !branch || branch.count < 2;
  if (!branch || slot.hidden) return;
  /** @param {string} sign @param {string} name @param {number} at */
  const step = (sign, name, at) => {
    const button = h("button", { type: "button", class: "copy", "aria-label": name, disabled: !branch.ids[at], "data-do": "walk", "data-to": branch.ids[at] }, sign);
    return button;
  };
  slot.replaceChildren(step("‹", "Previous version", branch.index - 1), `${branch.index + 1}/${branch.count}`, step("›", "Next version", branch.index + 1));
}

const versions = () => h("span", { class: "versions", role: "group", "aria-label": "Versions", hidden: true });

/**
 * A stored message that is no reply.
 * @param {Item} item
 * @returns {HTMLElement}
 */
export function messageElement(item) {
  const el = article(item.role, h("div", { class: "plain", dir: "auto" }, itemText(item)), attachedElement(attachedTo(item)), h("footer", { class: "meta" }));
  nameMessage(el, item);
  return el;
}

/** A call of a tool, or what it gave, folded. @param {Item} item */
const stepElement = (item) =>
  h(
    "details",
    { class: "step", "data-item": item.id },
    h("summary", {}, ...(item.type === "function_call" ? ["Calls ", h("code", {}, item.name ?? "")] : ["Result"])),
    h("pre", { tabindex: "0" }, item.arguments ?? item.output ?? ""),
  );

/** The stored result of a call. @param {Item} item */
export function resultElement(item) {
  const el = article("tool", stepElement(item));
  el.dataset.id = item.id;
  el.dataset.last = item.id;
  return el;
}

/** Whether an item is part of a reply. @param {Item} item */
export const isReply = (item) => item.role === "assistant" || item.type === "reasoning" || item.type === "function_call";

/** Gives a message on the page what the server knows of it. @param {HTMLElement} el @param {Item} item */
export function nameMessage(el, item) {
  const shown = `${item.id} ${item.branch?.index}/${item.branch?.count}`;
  if (el.dataset.shown === shown) return;
  el.dataset.shown = shown;
  el.dataset.id = item.id;
  el.dataset.last = item.id;
  const slot = versions();
  showVersions(slot, item.branch);
  if (!slot.hidden) el.dataset.fork = item.id;
  el.querySelector(".meta")?.replaceChildren(...(item.role === "user" ? [copyButton("Copy question", () => itemText(item)), action("Edit", "edit")] : []), slot, timeElement(item.created_at));
}

/**
 * Edits a question in its place.
 * @param {HTMLElement} el
 * @param {(text: string) => void} send
 */
export function editMessage(el, send) {
  if (el.classList.contains("editing")) return;
  const plain = /** @type {HTMLElement} */ (el.querySelector(".plain"));
  const box = h("textarea", { "aria-label": "Edit message", rows: "1", dir: "auto" });
  box.value = plain.textContent ?? "";
  const end = () => {
    form.remove();
    el.classList.remove("editing");
    /** @type {HTMLElement | null} */ (el.querySelector("[data-do=edit]"))?.focus({ preventScroll: true });
  };
  const submit = () => {
    if (box.value.trim() === "") return;
    end();
    send(box.value.replace(/\s+$/, ""));
  };
  const form = h(
    "div",
    { class: "edit" },
    box,
    h("div", { class: "buttons" }, h("button", { type: "button", "data-cancel": true, onclick: end }, "Cancel"), h("button", { type: "button", class: "primary", onclick: submit }, "Send again")),
  );
  const grow = () => {
    box.style.height = "0";
    box.style.height = box.scrollHeight + 2 + "px";
  };
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") end();
    else if (event.key === "Enter" && !event.shiftKey && !event.altKey && (!isTouch() || event.ctrlKey)) submit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  el.classList.add("editing");
  plain.after(form);
  grow();
  box.focus({ preventScroll: true });
}

/** A question on its way to the server. */
export class Question {
  /**
   * @param {string} text
   * @param {import("./types").ContentPart[]} files
   * @param {{retry: () => void, edit: () => void}} actions
   */
  constructor(text, files, actions) {
    this.text = text;
    this.actions = actions;
    this.state = h("footer", { class: "meta state", role: "status" });
    this.element = article("user", h("div", { class: "plain", dir: "auto" }, text), attachedElement(files), this.state);
    this.sending();
  }

  sending() {
    this.element.classList.remove("failed");
    this.element.classList.add("sending");
    this.state.replaceChildren("Sending…");
  }

  sent() {
    this.element.classList.remove("sending", "failed");
    this.state.className = "meta";
    this.state.removeAttribute("role");
    this.state.replaceChildren(timeElement(Date.now() / 1000));
  }

  /** @param {string} why */
  failed(why) {
    this.element.classList.remove("sending");
    this.element.classList.add("failed");
    this.state.replaceChildren(
      h("span", { class: "failure" }, "Not sent"),
      h("button", { type: "button", onclick: this.actions.retry }, "Retry"),
      h("button", { type: "button", onclick: this.actions.edit }, "Edit"),
      h("span", { class: "why" }, why),
    );
  }
}

/** What stands for a reply until something is known of it. */
export const WAITING = "Waiting for the model…";

/** A reply: what is there of it, what it waits for and how it ended. */
export class ReplyView {
  /** @param {string | null} responseId */
  constructor(responseId) {
    this.responseId = responseId;
    /** @type {Map<string, Markdown>} */
    this.parts = new Map();
    this.body = h("div", { class: "body" });
    this.wait = h("p", { class: "wait", hidden: true });
    this.end = h("p", { class: "end", hidden: true });
    this.notice = h("p", { class: "notice", hidden: true });
    this.copy = copyButton("Copy reply", () => this.text());
    // Which of the two is there is a matter of the model: see the style sheet.
    this.goOn = [action("Continue", "continue"), action("Ask to go on", "go-on")];
    this.versions = versions();
    this.facts = h("span", { class: "facts" });
    this.footer = h("footer", { class: "meta", hidden: true }, this.copy, action("Regenerate", "regenerate"), ...this.goOn, this.versions, this.facts);
    this.thoughts = document.createTextNode("");
    this.reasoning = h("details", { class: "reasoning", hidden: true }, h("summary", {}, "Reasoning"), h("div", { class: "thoughts", dir: "auto" }, this.thoughts));
    this.pace = h("p", { class: "meta pace", hidden: true });
    this.element = article("assistant", this.reasoning, this.body, this.wait, this.notice, this.end, this.footer, this.pace);
    if (responseId) this.element.dataset.response = responseId;
    this.timer = 0;
  }

  /** What the model thinks before it answers. @param {string} text */
  think(text) {
    this.reasoning.hidden = false;
    this.thoughts.appendData(text);
  }

  /** @param {boolean} unfinished @param {Node[]} facts */
  showFooter(unfinished, ...facts) {
    this.footer.hidden = false;
    this.copy.hidden = this.text() === "";
    for (const button of this.goOn) button.hidden = !unfinished || this.copy.hidden;
    this.facts.replaceChildren(...facts);
  }

  /** Takes the names and versions of an item that is shown. @param {Item} item */
  name(item) {
    if (item.type === "message") this.element.dataset.id = item.id;
    this.element.dataset.last = item.id;
    if (!item.branch || item.branch.count < 2) return;
    showVersions(this.versions, item.branch);
    this.element.dataset.fork = item.id;
  }

  /** What the reply's own object tells beyond its items. @param {Reply} reply */
  describe(reply) {
    const why = describeEnd(reply, this.text() !== "" || this.body.querySelector(".step") !== null);
    if (why) this.showEnd(why, reply.status === "failed");
    const facts = [timeElement(reply.completed_at ?? Date.now() / 1000), h("span", { class: "model" }, reply.model ?? "")];
    if (reply.usage?.output_tokens) facts.push(h("span", {}, plural(reply.usage.output_tokens, "token")));
    if (reply.completed_at && reply.created_at) facts.push(h("span", {}, `${Math.max(1, reply.completed_at - reply.created_at)} s`));
    this.showFooter(why !== null, ...facts);
  }

  /** All text, as Markdown. */
  text() {
    return [...this.parts.values()].map((part) => part.text).join("\n\n");
  }

  /** Shows a stored item of the reply, below those before it. @param {Item} item */
  showItem(item) {
    this.name(item);
    const texts = (item.content ?? []).map((part) => part.text ?? part.refusal ?? "");
    if (item.type === "reasoning") {
      this.think([...(item.summary ?? []).map((part) => part.text ?? ""), ...texts].join("\n\n"));
      return;
    }
    if (item.type === "function_call") this.step(item);
    texts.forEach((text, i) => this.part(item.id + i, item.id).finish(text));
    const unfinished = item.status === "incomplete";
    if (unfinished) this.showEnd("This reply is not complete.", false);
    this.showFooter(unfinished, timeElement(item.created_at), ...(item.model ? [h("span", { class: "model" }, item.model)] : []));
  }

  /** Shows that the model calls a tool, once. @param {Item} item */
  step(item) {
    if (!this.body.querySelector(`[data-item="${CSS.escape(item.id)}"]`)) this.body.append(stepElement(item));
  }

  /** @param {string} key @param {string} item its id */
  part(key, item) {
    let part = this.parts.get(key);
    if (!part) {
      part = new Markdown();
      part.element.dataset.item = item;
      this.parts.set(key, part);
      this.body.append(part.element);
    }
    return part;
  }

  /**
   * Shows that a reply is coming before there is any of it.
   * @param {string} what
   * @param {number} [since] how many seconds that has lasted
   */
  waiting(what, since = 0) {
    clearInterval(this.timer);
    const begun = performance.now() - since * 1000;
    const seconds = h("span", {}, since > 0 ? ` ${since} s` : "");
    this.wait.replaceChildren(what, seconds);
    this.wait.hidden = false;
    this.pace.hidden = true;
    this.timer = window.setInterval(() => {
      if (!this.element.isConnected) clearInterval(this.timer);
      seconds.textContent = ` ${Math.round((performance.now() - begun) / 1000)} s`;
    }, 1000);
  }

  /** Shows what the model's server is at. @param {StreamEvent} event */
  phase({ phase, seconds, percent }) {
    if (phase === "loading") this.waiting("Loading model", seconds);
    else if (phase === "waiting") this.waiting(WAITING);
    else if (phase === "reading") {
      clearInterval(this.timer);
      this.wait.replaceChildren(`Reading ${percent} %`);
      this.wait.hidden = false;
      this.pace.hidden = true;
    }
  }

  stopWaiting() {
    clearInterval(this.timer);
    this.wait.hidden = true;
  }

  /** Shows how fast the text comes, by the last seconds; how many tokens it is only the end tells. */
  showPace() {
    /** @type {number[]} */
    const lengths = [];
    this.timer = window.setInterval(() => {
      if (!this.element.isConnected) clearInterval(this.timer);
      lengths.push(this.text().length);
      if (lengths.length > 6) lengths.shift();
      const rate = (lengths[lengths.length - 1] - lengths[0]) / CHARACTERS / (lengths.length - 1);
      this.pace.hidden = !(rate > 0);
      this.pace.textContent = `about ${rate < 10 ? rate.toFixed(1) : Math.round(rate)} tokens/s`;
    }, 1000);
  }

  /** Says in passing that the line is broken; null takes it back. @param {string | null} text */
  showNotice(text) {
    this.notice.hidden = text === null;
    if (this.notice.textContent !== text) this.notice.textContent = text;
  }

  /** @param {string} text @param {boolean} bad */
  showEnd(text, bad) {
    this.end.hidden = false;
    this.end.classList.toggle("bad", bad);
    this.end.textContent = text;
  }

  /**
   * Shows an event of the stream.
   * @param {StreamEvent} event
   */
  apply(event) {
    const key = `${event.output_index ?? 0}:${event.content_index ?? 0}`;
    const part = () => this.part(key, event.item_id ?? "");
    switch (event.type) {
      case "response.output_item.added":
        if (event.item?.type === "message") this.element.dataset.id = event.item.id;
        else if (event.item?.type === "function_call") this.waiting(`Calling ${event.item.name}…`);
        break;
      case "response.output_item.done":
        if (event.item?.type !== "function_call") break;
        this.step(event.item);
        this.stopWaiting();
        break;
      case "hwlab.wait":
        this.phase(event);
        break;
      case "response.reasoning_summary_text.delta":
        if (this.thoughts.data === "") this.waiting("Thinking…");
        this.think(event.delta ?? "");
        break;
      case "response.output_text.delta":
      case "response.refusal.delta":
        this.element.classList.add("writing");
        part().append(event.delta ?? "");
        if (!this.wait.hidden && this.text() !== "") {
          // In one step, so that the room for it does not close and open.
          part().render();
          this.stopWaiting();
          this.showPace();
        }
        break;
      case "response.output_text.done":
      case "response.refusal.done":
        part().finish(event.text ?? event.refusal);
        break;
    }
  }

  /**
   * The reply is over.
   * @param {Reply} reply
   */
  finish(reply) {
    this.stopWaiting();
    this.pace.hidden = true;
    this.showNotice(null);
    this.element.classList.remove("writing");
    for (const part of this.parts.values()) part.finish();
    this.describe(reply);
  }
}

/**
 * Why a reply ended before its end, in plain words; null if it is complete.
 * @param {Reply} reply
 * @param {boolean} hasText
 * @returns {string | null}
 */
export function describeEnd(reply, hasText) {
  const kept = hasText ? " What had arrived is kept." : "";
  const message = reply.error?.message;
  switch (reply.status) {
    case "failed":
      return `The reply failed${message ? ": " + sentence(message) : "."}${kept}`;
    case "cancelled":
      return "The reply was stopped." + kept;
    case "incomplete":
      break;
    default:
      return hasText || reply.status !== "completed" ? null : "The model sent an empty reply.";
  }
  switch (reply.incomplete_details?.reason) {
    case "max_output_tokens":
      return "The reply stopped because it reached the longest length allowed.";
    case "content_filter":
      return "The model server's content filter stopped the reply.";
    case "cancelled":
      return "The reply was stopped." + kept;
    default:
      return `The reply was interrupted before it was finished${message ? ": " + sentence(message) : "."}${kept}`;
  }
}

/** @param {string} text */
function sentence(text) {
  const trimmed = text.trim();
  return /[.!?…]$/.test(trimmed) ? trimmed : trimmed + ".";
}

