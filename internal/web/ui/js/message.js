/** The messages of a thread as elements. */
import { copyButton, h, timeElement } from "./dom.js";
import { Markdown } from "./markdown.js";

/**
 * @typedef {import("./types").Item} Item
 * @typedef {import("./types").Response} Reply
 * @typedef {import("./types").StreamEvent} StreamEvent
 */

/** @type {Record<string, string>} */
const NAMES = { user: "You", assistant: "Advisor", system: "Instruction", developer: "Instruction" };

/**
 * The text of an item.
 * @param {Item} item
 * @returns {string}
 */
export function itemText(item) {
  return (item.content ?? []).map((part) => part.text ?? part.refusal ?? "").join("\n\n");
}

/**
 * @param {string} role
 * @param {...(Node | null)} children
 */
function article(role, ...children) {
  return h("article", { class: "message " + role, "aria-label": NAMES[role] ?? role }, ...children);
}

/**
 * A stored message.
 * @param {Item} item
 * @returns {HTMLElement}
 */
export function messageElement(item) {
  if (item.role === "assistant") {
    const view = new ReplyView(item.response_id);
    view.showItem(item);
    return view.element;
  }
  const el = article(
    item.role,
    h("div", { class: "plain" }, itemText(item)),
    h("footer", { class: "meta" }, timeElement(item.created_at)),
  );
  el.dataset.id = item.id;
  return el;
}

/** A question on its way to the server. */
export class Question {
  /**
   * @param {string} text
   * @param {{retry: () => void, edit: () => void}} actions
   */
  constructor(text, actions) {
    this.text = text;
    this.actions = actions;
    this.state = h("footer", { class: "meta state", role: "status" });
    this.element = article("user", h("div", { class: "plain" }, text), this.state);
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
    this.footer = h("footer", { class: "meta" });
    this.element = article("assistant", this.body, this.wait, this.notice, this.end, this.footer);
    if (responseId) this.element.dataset.response = responseId;
    this.timer = 0;
  }

  /** All text, as Markdown. */
  text() {
    return [...this.parts.values()].map((part) => part.text).join("\n\n");
  }

  /** @param {Item} item */
  showItem(item) {
    this.element.dataset.id = item.id;
    this.body.replaceChildren();
    this.parts.clear();
    (item.content ?? []).forEach((part, i) => this.part(`0:${i}`).finish(part.text ?? part.refusal ?? ""));
    if (item.status === "incomplete") this.showEnd("This reply is not complete.", false);
    this.footer.replaceChildren(this.copyButton(), timeElement(item.created_at));
  }

  copyButton() {
    return copyButton("Copy reply", () => this.text());
  }

  /** @param {string} key */
  part(key) {
    let part = this.parts.get(key);
    if (!part) {
      part = new Markdown();
      this.parts.set(key, part);
      this.body.append(part.element);
    }
    return part;
  }

  /** Shows that a reply is coming before there is any of it. @param {string} what */
  waiting(what) {
    clearInterval(this.timer);
    const begun = performance.now();
    const seconds = h("span", {}, "");
    this.wait.replaceChildren(what, seconds);
    this.wait.hidden = false;
    this.timer = window.setInterval(() => {
      if (!this.element.isConnected) clearInterval(this.timer);
      seconds.textContent = ` ${Math.round((performance.now() - begun) / 1000)} s`;
    }, 1000);
  }

  stopWaiting() {
    clearInterval(this.timer);
    this.wait.hidden = true;
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
    switch (event.type) {
      case "response.output_item.added":
        if (event.item?.type === "message") this.element.dataset.id = event.item.id;
        break;
      case "response.output_text.delta":
      case "response.refusal.delta":
        this.element.classList.add("writing");
        this.part(key).append(event.delta ?? "");
        if (!this.wait.hidden && this.text() !== "") {
          // In one step, so that the room for it does not close and open.
          this.part(key).render();
          this.stopWaiting();
        }
        break;
      case "response.output_text.done":
      case "response.refusal.done":
        this.part(key).finish(event.text ?? event.refusal);
        break;
    }
  }

  /**
   * The reply is over.
   * @param {Reply} reply
   */
  finish(reply) {
    this.stopWaiting();
    this.showNotice(null);
    this.element.classList.remove("writing");
    for (const part of this.parts.values()) part.finish();
    const why = describeEnd(reply, this.text() !== "");
    if (why) this.showEnd(why, reply.status === "failed");
    const meta = this.text() === "" ? [] : [this.copyButton()];
    this.footer.replaceChildren(...meta, timeElement(reply.completed_at ?? Date.now() / 1000));
    if (reply.model) this.footer.append(h("span", { class: "model" }, reply.model));
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

