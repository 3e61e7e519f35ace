/**
 * The open conversation: loads its messages, sends questions, follows replies
 * and takes in what other tabs and clients add.
 */
import * as api from "./api.js";
import { byId, h, pause } from "./dom.js";
import { describeEnd, messageElement, Question, ReplyView } from "./message.js";
import { Scroll } from "./scroll.js";
import { loadOutgoing, randomKey, saveOutgoing } from "./storage.js";

/**
 * @typedef {import("./types").Item} Item
 * @typedef {import("./types").Conversation} Info
 * @typedef {import("./types").StreamEvent} StreamEvent
 * @typedef {import("./storage.js").Outgoing} Outgoing
 */

/**
 * What the conversation asks of the page.
 * @typedef {object} Host
 * @property {(info: Info) => void} created a first question made it
 * @property {() => void} changed something the list shows has changed
 * @property {() => void} busy whether a reply runs has changed
 * @property {(text: string) => void} edit puts a text into the message box
 * @property {(info: Info | null) => void} opened its details are known
 * @property {() => string | null} model the model to ask
 */

const ENDED = new Set(["response.completed", "response.incomplete", "response.failed", "response.cancelled"]);

export class Conversation {
  /** @param {Host} host */
  constructor(host) {
    this.host = host;
    this.thread = byId("thread");
    this.empty = byId("empty");
    this.older = byId("older");
    this.status = byId("status");
    this.scroll = new Scroll(byId("scroller"), this.thread, byId("spacer"), byId("to-end"));
    /** @type {string | null} */
    this.id = null;
    /** @type {Info["head"]} */
    this.head = null;
    /** @type {string | null} the oldest item on the page, while there are older ones */
    this.before = null;
    /** @type {Set<string>} */
    this.known = new Set();
    /** @type {Question | null} */
    this.question = null;
    /** @type {ReplyView | null} the reply that is followed */
    this.reply = null;
    /** @type {string | null} */
    this.settled = null;
    this.loadingOlder = false;
    this.syncing = false;
    /** Ends what belongs to the conversation that was open. */
    this.stop = new AbortController();
    /** Ends only the stream of the reply. */
    this.line = new AbortController();
    new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) void this.loadOlder();
      },
      { root: byId("scroller"), rootMargin: "800px 0px 0px 0px" },
    ).observe(this.older);
  }

  /** True while a question is on its way or a reply is written. */
  get busy() {
    return this.reply !== null || (this.question !== null && this.question.element.classList.contains("sending"));
  }

  /** Clears the thread for another conversation. @param {string | null} id */
  clear(id) {
    this.stop.abort();
    if (this.reply) this.line.abort();
    this.stop = new AbortController();
    this.id = id;
    this.head = null;
    this.before = null;
    this.known.clear();
    this.question = null;
    this.reply = null;
    this.settled = null;
    this.loadingOlder = false;
    this.syncing = false;
    this.thread.replaceChildren();
    this.older.replaceChildren();
    this.empty.hidden = id !== null;
    this.host.busy();
  }

  /** Opens a conversation, or the place for a new one. @param {string | null} id */
  async open(id) {
    this.clear(id);
    const { signal } = this.stop;
    if (id === null) {
      this.host.opened(null);
      this.restoreOutgoing([]);
      this.scroll.reset();
      return;
    }
    const loading = setTimeout(() => this.older.replaceChildren("Loading…"), 200);
    try {
      const [info, page] = await Promise.all([api.getConversation(id, signal), api.listItems(id, null, signal)]);
      if (signal.aborted) return;
      clearTimeout(loading);
      this.older.replaceChildren();
      this.head = info.head;
      this.host.opened(info);
      const items = page.data.slice().reverse();
      this.thread.append(...this.elements(items, info.running_response_id));
      this.before = page.has_more ? page.last_id : null;
      this.restoreOutgoing(items);
      this.empty.hidden = this.thread.childElementCount > 0 || info.running_response_id !== null;
      if (info.running_response_id) this.follow(info.running_response_id);
      this.scroll.reset();
      this.explainEnds(items, info.running_response_id);
      if (this.before) void this.loadOlder(true);
    } catch (problem) {
      clearTimeout(loading);
      if (signal.aborted || !(problem instanceof api.Problem)) return;
      this.empty.hidden = true;
      if (problem.status === 404) {
        this.older.replaceChildren("This conversation does not exist, or it was deleted.");
      } else {
        this.offerRetry(`The conversation could not be loaded. ${problem.message}`, () => void this.open(id));
      }
    }
  }

  /**
   * Elements for items that are shown; what the running reply has stored so
   * far is left out, since its stream tells it from the beginning.
   * @param {Item[]} items
   * @param {string | null} running
   */
  elements(items, running) {
    const shown = items.filter((item) => {
      if (item.type !== "message") return false;
      return !(running && item.role === "assistant" && item.response_id === running);
    });
    for (const item of shown) this.known.add(item.id);
    return shown.map(messageElement);
  }

  /**
   * @param {string} text
   * @param {() => void} retry
   */
  offerRetry(text, retry) {
    const button = h("button", { type: "button" }, "Retry");
    button.addEventListener("click", () => {
      this.older.replaceChildren();
      retry();
    });
    this.older.replaceChildren(text + " ", button);
  }

  /** Loads older messages above what is shown. @param {boolean} [onlyIfShort] only when the view is not full */
  async loadOlder(onlyIfShort = false) {
    const { id, before } = this;
    if (!id || !before || this.loadingOlder) return;
    const { scroller } = this.scroll;
    if (onlyIfShort && scroller.scrollTop > 800) return;
    this.loadingOlder = true;
    const { signal } = this.stop;
    try {
      const page = await api.listItems(id, before, signal);
      if (signal.aborted) return;
      const items = page.data.slice().reverse();
      this.scroll.keep(() => this.thread.prepend(...this.elements(items, null)));
      this.before = page.has_more ? page.last_id : null;
      this.explainEnds(items, null);
      this.loadingOlder = false;
      if (this.before) void this.loadOlder(true);
    } catch (problem) {
      if (signal.aborted) return;
      this.offerRetry("Older messages could not be loaded.", () => {
        this.loadingOlder = false;
        void this.loadOlder();
      });
      if (!(problem instanceof api.Problem)) throw problem;
    }
  }

  /**
   * Says why stored replies ended early: a message alone does not tell, its
   * response does. A question whose reply failed before its first word has no
   * message after it at all.
   * @param {Item[]} items
   * @param {string | null} running
   */
  explainEnds(items, running) {
    for (const item of items) {
      if (item.role === "assistant" && item.status === "incomplete" && item.response_id) {
        const end = this.thread.querySelector(`[data-id="${CSS.escape(item.id)}"] .end`);
        void this.reason(item.response_id, true).then((why) => {
          if (why && end) end.textContent = why;
        });
      }
    }
    const last = items[items.length - 1];
    if (!last || last.role !== "user" || !last.response_id || running || this.question || this.reply) return;
    const { response_id: responseId } = last;
    void this.reason(responseId, false).then((why) => {
      const element = this.thread.lastElementChild;
      if (!why || !(element instanceof HTMLElement) || element.dataset.id !== last.id) return;
      const view = new ReplyView(responseId);
      view.showEnd(why, true);
      this.thread.append(view.element);
    });
  }

  /**
   * @param {string} responseId
   * @param {boolean} hasText
   * @returns {Promise<string | null>}
   */
  async reason(responseId, hasText) {
    try {
      return describeEnd(await api.getResponse(responseId, this.stop.signal), hasText);
    } catch {
      return null;
    }
  }

  // Sending

  /** Sends a question. @param {string} text */
  send(text) {
    if (this.busy) return;
    this.dropQuestion();
    void this.ask({ text, key: randomKey(), model: this.host.model() });
  }

  /**
   * A question that was under way when the page was left: if the server does
   * not have it, it stands there as not sent.
   * @param {Item[]} items
   */
  restoreOutgoing(items) {
    const outgoing = loadOutgoing(this.id);
    if (!outgoing) return;
    const asked = items.slice(-4).some((item) => item.role === "user" && sameText(item, outgoing.text));
    if (asked) {
      saveOutgoing(this.id, null);
      return;
    }
    this.empty.hidden = true;
    this.showQuestion(outgoing).failed("The page was left before the server confirmed it.");
    this.host.busy();
  }

  /** @param {Outgoing} outgoing @returns {Question} */
  showQuestion(outgoing) {
    const question = new Question(outgoing.text, {
      retry: () => void this.ask(outgoing),
      edit: () => {
        this.dropQuestion();
        this.host.edit(outgoing.text);
      },
    });
    this.question = question;
    this.thread.append(question.element);
    return question;
  }

  /** Takes away a question that was not sent. */
  dropQuestion() {
    if (!this.question) return;
    this.question.element.remove();
    this.question = null;
    saveOutgoing(this.id, null);
    this.empty.hidden = this.id !== null || this.thread.childElementCount > 0;
    this.host.busy();
  }

  /**
   * Brings a question to the server. When the person goes to another
   * conversation meanwhile, the question is still sent.
   * @param {Outgoing} outgoing
   */
  async ask(outgoing) {
    const { signal } = this.stop;
    const question = this.question ?? this.showQuestion(outgoing);
    question.sending();
    this.empty.hidden = true;
    saveOutgoing(this.id, outgoing);
    this.scroll.putAtTop(question.element);
    this.host.busy();
    const line = new AbortController();
    try {
      let { id } = this;
      if (id === null) {
        const info = await api.createConversation();
        id = info.id;
        saveOutgoing(null, null);
        saveOutgoing(id, outgoing);
        if (!signal.aborted) {
          this.id = id;
          this.head = info.head;
          this.host.created(info);
        }
      }
      const input = { input: outgoing.text, conversation: id, model: outgoing.model };
      const events = await api.createResponse(input, outgoing.key, line.signal);
      const first = await firstEvent(events);
      saveOutgoing(id, null);
      if (signal.aborted) {
        line.abort();
      } else {
        question.sent();
        this.question = null;
        this.line = line;
        this.follow(first.reply.id, { events, first: first.event });
      }
      this.host.changed();
    } catch (problem) {
      if (signal.aborted || this.question !== question) return;
      question.failed(problem instanceof api.Problem ? problem.message : "The connection was lost.");
      this.host.busy();
    }
  }

  // Following a reply

  /**
   * Shows a reply from its beginning and goes on until its end.
   * @param {string} responseId
   * @param {{events: AsyncGenerator<StreamEvent, void, void>, first: StreamEvent}} [started]
   */
  follow(responseId, started) {
    if (this.reply?.responseId === responseId || this.settled === responseId) return;
    const view = new ReplyView(responseId);
    this.reply = view;
    this.thread.append(view.element);
    view.waiting("Waiting for the model…");
    this.status.textContent = "The advisor is writing.";
    this.host.busy();
    void this.readReply(view, responseId, started);
  }

  /** Stops the reply that is being written; its reader sees the end. */
  async stopReply() {
    const view = this.reply;
    if (!view?.responseId) return;
    try {
      await api.cancelResponse(view.responseId);
    } catch {
      view.showNotice("The reply could not be stopped. Try again.");
    }
  }

  /**
   * @param {ReplyView} view
   * @param {string} responseId
   * @param {{events: AsyncGenerator<StreamEvent, void, void>, first: StreamEvent}} [started]
   */
  async readReply(view, responseId, started) {
    const { signal } = this.stop;
    let after = -1;
    let wait = 500;
    /** @param {StreamEvent} event @returns {boolean} whether it is the last */
    const take = (event) => {
      if (event.type === "error") throw new Error("the stream reported an error");
      if (typeof event.sequence_number === "number") {
        if (event.sequence_number <= after) return false;
        after = event.sequence_number;
      }
      wait = 500;
      view.showNotice(null);
      view.apply(event);
      if (!ENDED.has(event.type) || !event.response) return false;
      this.ended(view, event.response);
      return true;
    };
    if (started) take(started.first);
    for (let stream = started?.events; !signal.aborted; stream = undefined) {
      try {
        // A hidden page holds no connection; it goes on when it is seen again.
        if (document.hidden && !stream) await shown(signal);
        if (!stream) {
          this.line = new AbortController();
          stream = await api.followResponse(responseId, after, this.line.signal);
        }
        for await (const event of stream) {
          if (signal.aborted || take(event)) return;
        }
      } catch (problem) {
        if (signal.aborted) return;
        if (problem instanceof api.Problem && problem.status === 404) {
          this.ended(view, { id: responseId, status: "failed", error: { message: "The server no longer has it." }, incomplete_details: null });
          return;
        }
        if (problem instanceof api.Problem && problem.status === 401) return;
      }
      if (document.hidden) continue;
      // A first break is usually mended at once, and then nobody needs to know.
      if (wait > 500) {
        view.showNotice("Connection lost. The reply goes on at the server; trying again…");
        this.host.changed(); // The poll finds out whether the server is there at all.
      }
      await pause(wait, signal);
      wait = Math.min(wait * 2, 10_000);
    }
  }

  /**
   * @param {ReplyView} view
   * @param {import("./types").Response} response
   */
  ended(view, response) {
    view.finish(response);
    this.settled = response.id;
    if (this.reply === view) this.reply = null;
    this.status.textContent = "Reply finished: " + view.text();
    this.host.busy();
    this.host.changed();
  }

  /** The page was hidden: a stream is a connection other tabs may need. */
  hide() {
    if (this.reply) this.line.abort();
  }

  // Other tabs and clients

  /** It was deleted elsewhere; what is on the page stays readable. @param {string} id */
  gone(id) {
    if (id !== this.id || this.question) return;
    if (this.older.childElementCount === 0) this.older.replaceChildren("This conversation does not exist, or it was deleted.");
  }

  /**
   * Takes in what changed at the server.
   * @param {Info} info
   */
  async sync(info) {
    if (info.id !== this.id || this.busy || this.syncing) return;
    const running = info.running_response_id;
    if (info.head === this.head && (!running || running === this.settled)) return;
    this.syncing = true;
    const { signal } = this.stop;
    try {
      const page = await api.listItems(info.id, null, signal);
      if (signal.aborted || this.busy) return;
      const items = page.data.slice().reverse();
      const seen = this.known.size === 0 || items.some((item) => this.known.has(item.id)) || this.adopts(items);
      if (!seen && (page.has_more || this.known.size > 0)) {
        // Too much is new, or another branch is active.
        await this.open(info.id);
        return;
      }
      this.take(items, running);
      this.head = info.head;
      if (running) this.follow(running);
      else this.explainEnds(items, null);
    } catch (problem) {
      if (!(problem instanceof api.Problem)) throw problem;
    } finally {
      if (!signal.aborted) this.syncing = false;
    }
  }

  /** True when one of the items is on the page without its name. @param {Item[]} items */
  adopts(items) {
    return items.some((item) => this.nameless(item) !== null);
  }

  /**
   * The element of an item that this page wrote itself and whose name it did
   * not know yet.
   * @param {Item} item
   * @returns {HTMLElement | null}
   */
  nameless(item) {
    const elements = /** @type {HTMLElement[]} */ ([...this.thread.children]);
    for (const el of elements.reverse()) {
      if (item.role === "assistant") {
        if (item.response_id && el.dataset.response === item.response_id) return el;
      } else if (!el.dataset.id && el.classList.contains("user") && sameText(item, el.querySelector(".plain")?.textContent ?? "")) {
        return el;
      }
    }
    return null;
  }

  /**
   * Adds items that are not on the page yet.
   * @param {Item[]} items
   * @param {string | null} running
   */
  take(items, running) {
    for (const item of items) {
      if (this.known.has(item.id)) continue;
      const own = this.nameless(item);
      if (own) {
        this.known.add(item.id);
        own.dataset.id = item.id;
        if (own === this.question?.element) {
          this.question.sent();
          this.question = null;
          saveOutgoing(this.id, null);
        }
        continue;
      }
      this.thread.append(...this.elements([item], running));
    }
    this.empty.hidden = this.thread.childElementCount > 0;
    // A question that was not sent stays last.
    if (this.question) this.thread.append(this.question.element);
  }
}

/** @param {Item} item @param {string} text */
function sameText(item, text) {
  return (item.content ?? []).map((part) => part.text ?? "").join("\n\n") === text;
}

/**
 * Reads a new stream up to the event that names the reply. From there on the
 * question is on record, and what happens to this stream does not matter.
 * @param {AsyncGenerator<StreamEvent, void, void>} events
 * @returns {Promise<{event: StreamEvent, reply: import("./types").Response}>}
 */
async function firstEvent(events) {
  for (;;) {
    const { value: event, done } = await events.next();
    if (done) throw new api.Problem(0, "The connection was lost.");
    if (event.type === "error") {
      throw new api.Problem(0, event.message ?? event.error?.message ?? "The server reported an error.");
    }
    if (event.response) return { event, reply: event.response };
  }
}

/** Waits until the page is seen. @param {AbortSignal} signal @returns {Promise<void>} */
function shown(signal) {
  return new Promise((resolve) => {
    const end = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    document.addEventListener("visibilitychange", end);
    signal.addEventListener("abort", end);
    end();
  });
}
