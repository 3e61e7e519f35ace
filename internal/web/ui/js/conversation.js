/**
 * The open conversation: loads its messages, sends questions, follows replies
 * and takes in what other tabs and clients add.
 */
import * as api from "./api.js";
import { byId, h, pause } from "./dom.js";
import { attachedTo } from "./files.js";
import { editMessage, isReply, itemText, messageElement, nameMessage, Question, ReplyView, resultElement, WAITING } from "./message.js";
import { Scroll } from "./scroll.js";
import { loadOutgoing, randomKey, saveOutgoing } from "./storage.js";

/**
 * @typedef {import("./types").Item} Item
 * @typedef {import("./types").Conversation} Info
 * @typedef {import("./types").StreamEvent} StreamEvent
 * @typedef {import("./storage.js").Outgoing} Outgoing
 * @typedef {import("./types").ContentPart} Part
 */

/**
 * What the conversation asks of the page.
 * @typedef {object} Host
 * @property {(info: Info) => void} created a first question made it
 * @property {() => void} changed something the list shows has changed
 * @property {() => void} busy whether a reply runs has changed
 * @property {() => void} failed a reply has failed
 * @property {() => void} finished a reply is complete that nobody was looking at
 * @property {(text: string, files: Part[]) => void} edit puts a text into the message box
 * @property {(info: Info | null) => void} opened its details are known
 * @property {() => string | null} model the model to ask
 * @property {(reply: import("./types").Response | null) => void} used what the last reply took is known
 */

/** How often a hidden page looks whether its reply is over. */
const HIDDEN_POLL = 3000;
/** From here on to the top, in pixels, older messages are loaded. */
const NEAR = 800;
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
    /** @type {number | undefined} where the page has seen the conversation end, its own messages included */
    this.end = undefined;
    /** Whether the last reply came to a good end. */
    this.completed = false;
    /** @type {string | null} the oldest item on the page, while there are older ones */
    this.before = null;
    /** @type {Set<string>} */
    this.known = new Set();
    /** @type {Map<string, ReplyView>} the replies on the page */
    this.views = new Map();
    /** @type {string | null} an item that the branch on the page goes through; null for the active one */
    this.branch = null;
    this.asking = false;
    /** Whether the reply is to be stopped as soon as it has a name. */
    this.stopping = false;
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
    this.thread.addEventListener("click", (event) => this.clicked(/** @type {HTMLElement} */ (event.target)));
    /** Replies ask for their details once they are seen, one after the other. */
    this.details = Promise.resolve();
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          if (!isIntersecting) continue;
          this.seen.unobserve(target);
          const { signal } = this.stop;
          this.details = this.details.then(() => this.detail(/** @type {HTMLElement} */ (target).dataset.response ?? "", signal));
        }
      },
      { root: byId("scroller") },
    );
    // Whoever stays at the very top, by a key or by the bar, makes a scroll each time that what has come pushed it away.
    byId("scroller").addEventListener("scroll", () => void this.loadOlder(true), { passive: true });
  }

  /** True while a question is on its way or a reply is written. */
  get busy() {
    return this.asking || this.reply !== null || (this.question !== null && this.question.element.classList.contains("sending"));
  }

  /** The page has caught up with the server. @param {Info["head"]} head */
  saw(head) {
    this.head = head;
    if (typeof head === "number") this.end = head;
  }

  /** Clears the thread for another conversation. @param {string | null} id */
  clear(id) {
    this.stop.abort();
    if (this.reply) this.line.abort();
    this.stop = new AbortController();
    this.id = id;
    this.head = null;
    this.end = undefined;
    this.completed = false;
    this.before = null;
    this.known.clear();
    this.views.clear();
    this.seen.disconnect();
    this.branch = null;
    this.asking = false;
    this.stopping = false;
    this.question = null;
    this.reply = null;
    this.settled = null;
    this.loadingOlder = false;
    this.syncing = false;
    this.thread.replaceChildren();
    this.older.replaceChildren();
    this.empty.hidden = id !== null;
    this.host.used(null);
    this.host.busy();
  }

  /**
   * Opens a conversation, or the place for a new one.
   * @param {string | null} id
   * @param {string | null} [branch] an item to show it with
   * @returns {Promise<void>}
   */
  async open(id, branch = null) {
    this.clear(id);
    this.branch = branch;
    const { signal } = this.stop;
    if (id === null) {
      this.host.opened(null);
      await this.restoreOutgoing([]);
      if (!signal.aborted) this.scroll.reset();
      return;
    }
    const loading = setTimeout(() => this.older.replaceChildren("Loading…"), 200);
    this.syncing = true; // What it loads must not be taken in a second time by a poll that ends first.
    try {
      const [info, page] = await Promise.all([api.getConversation(id, signal), api.listItems(id, null, signal, branch)]);
      if (signal.aborted) return;
      clearTimeout(loading);
      this.older.replaceChildren();
      this.saw(info.head);
      this.host.opened(info);
      const items = page.data.slice().reverse();
      const running = this.running(info, items);
      // A question that was sent meanwhile, and its reply, stand there already.
      const others = items.filter((item) => this.nameless(item) === null);
      this.thread.prepend(...this.elements(others, running));
      this.before = page.has_more ? page.last_id : null;
      await this.restoreOutgoing(items);
      if (signal.aborted) return;
      this.empty.hidden = this.thread.childElementCount > 0 || running !== null;
      if (running) this.follow(running);
      this.scroll.reset();
      if (this.before) void this.loadOlder(true);
    } catch (problem) {
      clearTimeout(loading);
      if (signal.aborted || !(problem instanceof api.Problem)) return;
      if (branch && problem.status === 400) return this.open(id); // there is no such item any more
      this.empty.hidden = true;
      if (problem.status === 404) {
        this.older.replaceChildren("This conversation does not exist, or it was deleted.");
      } else {
        this.offerRetry(`The conversation could not be loaded. ${problem.message}`, () => void this.open(id));
      }
    } finally {
      if (!signal.aborted) this.syncing = false;
    }
  }

  /**
   * The reply that is written at the end of the items. On another branch than
   * the active one that is not the one that the conversation names.
   * @param {Info} info
   * @param {Item[]} items
   */
  running(info, items) {
    const last = items[items.length - 1];
    if (last?.status === "in_progress" && last.response_id) return last.response_id;
    const { running_response_id: named } = info;
    return this.branch && !items.some((item) => item.response_id === named) ? null : named;
  }

  /**
   * Elements for items that are shown; what the running reply has stored so
   * far is left out, since its stream tells it from the beginning.
   * @param {Item[]} items
   * @param {string | null} running
   * @param {boolean} [answered] whether a reply comes after them
   */
  elements(items, running, answered = false) {
    /** @type {HTMLElement[]} */
    const elements = [];
    for (const [i, item] of items.entries()) {
      const ours = isReply(item);
      if (running && ours && item.response_id === running) continue;
      this.known.add(item.id);
      if (!ours) {
        elements.push(item.type === "function_call_output" ? resultElement(item) : messageElement(item));
        const silent = silentAfter(item, items[i + 1], answered);
        if (!silent || silent === running || this.views.has(silent)) continue;
        // Why it said nothing its details tell.
        const view = new ReplyView(silent);
        view.element.dataset.last = item.id;
        this.views.set(silent, view);
        this.seen.observe(view.element);
        elements.push(view.element);
      } else {
        let view = this.views.get(item.response_id ?? "");
        if (!view) {
          view = new ReplyView(item.response_id);
          elements.push(view.element);
          if (item.response_id) {
            this.views.set(item.response_id, view);
            this.seen.observe(view.element);
          }
        }
        view.showItem(item);
      }
    }
    return elements;
  }

  /** @param {string} responseId @param {AbortSignal} signal */
  async detail(responseId, signal) {
    if (signal.aborted) return;
    try {
      const reply = await api.getResponse(responseId, signal);
      const view = this.views.get(responseId);
      if (signal.aborted || !view || !ENDED.has("response." + reply.status)) return;
      view.describe(reply);
      this.used(view, reply);
    } catch {
      // It stays with what its items tell.
    }
  }

  /** @param {ReplyView} view @param {import("./types").Response} reply */
  used(view, reply) {
    const replies = this.thread.querySelectorAll("article.assistant");
    if (view.element === replies[replies.length - 1]) this.host.used(reply);
  }

  // Versions

  /** @param {HTMLElement} target */
  clicked(target) {
    const button = /** @type {HTMLButtonElement | null} */ (target.closest("[data-do]"));
    const element = /** @type {HTMLElement | null} */ (button?.closest("article") ?? null);
    // Other versions can be read while a reply is written.
    if (!button || !element || (this.busy && !(button.dataset.do === "walk" && this.reply))) return;
    switch (button.dataset.do) {
      case "edit":
        this.edit(element);
        break;
      case "regenerate":
        void this.regenerate(element);
        break;
      case "continue":
        void this.regenerate(element, true);
        break;
      case "go-on":
        this.send("Go on from where you stopped.");
        break;
      case "walk":
        void this.walk(element, button);
        break;
    }
  }

  /** Shows another version of a message where this one stands. @param {HTMLElement} element @param {HTMLButtonElement} button */
  async walk(element, button) {
    const { to } = button.dataset;
    if (!to || !this.id) return;
    const { top } = element.getBoundingClientRect();
    await this.open(this.id, to);
    const shown = await this.find((el) => el.dataset.fork === to);
    if (!shown) return;
    this.scroll.moved(true);
    this.scroll.write(this.scroll.scroller.scrollTop + shown.getBoundingClientRect().top - top);
    const name = button.getAttribute("aria-label");
    const [same, any] = [`.versions button[aria-label="${name}"]:enabled`, ".versions button:enabled"];
    /** @type {HTMLElement | null} */ (shown.querySelector(same) ?? shown.querySelector(any))?.focus({ preventScroll: true });
  }

  /** Shows a message, on whatever branch it is. @param {string} id @param {string} message */
  async openAt(id, message) {
    await this.open(id, message);
    const inReply = `[data-item="${CSS.escape(message)}"]`;
    const article = await this.find((el) => el.dataset.id === message || el.querySelector(inReply) !== null);
    if (!article) return;
    /** @type {HTMLElement} */
    const part = article.querySelector(inReply) ?? article;
    if (part instanceof HTMLDetailsElement) part.open = true;
    // The beginning of a reply is the place for what begins it.
    const shown = part.matches("article > .body > .md:first-child") ? article : part;
    this.scroll.moved(true);
    this.scroll.write(this.scroll.offsetOf(shown) - 24);
    shown.tabIndex = -1;
    shown.focus({ preventScroll: true });
  }

  /** The message that is so, loading older ones until it is there. @param {(el: HTMLElement) => boolean} so */
  async find(so) {
    const { signal } = this.stop;
    for (;;) {
      const found = /** @type {HTMLElement[]} */ ([...this.thread.children]).find(so);
      const { before } = this;
      if (found || !before || signal.aborted) return found ?? null;
      if (this.loadingOlder) await pause(20, signal);
      else await this.loadOlder();
      if (this.before === before && !this.loadingOlder) return null;
    }
  }

  /**
   * The id of the last item up to a message of the page, null for none.
   * @param {Element | null} element
   * @returns {Promise<string | null>}
   */
  async itemUpTo(element) {
    const { id, signal } = { id: this.id ?? "", signal: this.stop.signal };
    for (let named = false; element instanceof HTMLElement; element = element.previousElementSibling) {
      if (!element.dataset.last && !named) {
        named = true;
        this.take((await api.listItems(id, null, signal, this.branch)).data.slice().reverse(), null);
      }
      if (element.dataset.last) return element.dataset.last;
    }
    if (!this.before) return null;
    const first = this.thread.firstElementChild;
    await this.loadOlder();
    return this.itemUpTo(first?.previousElementSibling ?? null);
  }

  /** Takes away a message and what follows it. @param {Element | null} element */
  removeFrom(element) {
    while (element) {
      const next = element.nextElementSibling;
      const { id, response } = /** @type {HTMLElement} */ (element).dataset;
      if (id) this.known.delete(id);
      if (response) this.views.delete(response);
      element.remove();
      element = next;
    }
  }

  /** Asks an edited question in the place of the one it was. @param {HTMLElement} element */
  edit(element) {
    editMessage(element, async (text) => {
      if (this.busy) return;
      const { signal } = this.stop;
      try {
        const after = await this.itemUpTo(element.previousElementSibling);
        const asked = element.dataset.id && element.querySelector(".attached") ? await api.getItem(this.id ?? "", element.dataset.id, signal) : null;
        if (signal.aborted || this.busy) return;
        this.removeFrom(element);
        void this.ask({ text, key: randomKey(), model: this.host.model(), after, ...(asked ? { files: attachedTo(asked) } : {}) });
      } catch (problem) {
        if (!signal.aborted) this.host.edit(text, []);
        if (!(problem instanceof api.Problem)) throw problem;
      }
    });
  }

  /** Edits the last question. */
  editLast() {
    const all = this.thread.querySelectorAll("article.user");
    // One that has no name yet cannot be edited, and none before it is meant.
    /** @type {HTMLElement | null | undefined} */ (all[all.length - 1]?.querySelector("[data-do=edit]"))?.click();
  }

  /** Ends the edit of a question; true if there was one. */
  cancelEdit() {
    const cancel = /** @type {HTMLElement | null} */ (this.thread.querySelector(".editing [data-cancel]"));
    cancel?.click();
    return cancel !== null;
  }

  /**
   * Has a reply written anew; to go on with it, beginning with what there is.
   * @param {HTMLElement} element
   * @param {boolean} [goOn]
   */
  async regenerate(element, goOn = false) {
    const { id } = this;
    const { signal } = this.stop;
    const view = this.views.get(element.dataset.response ?? "");
    if (!id) return;
    this.asking = true;
    this.stopping = false;
    this.host.busy();
    view?.showNotice(goOn ? "Going on…" : "Asking again…");
    const line = new AbortController();
    try {
      const place = goOn ? { continued: element.dataset.response } : { after: await this.itemUpTo(element.previousElementSibling) };
      const { end: head } = this;
      const events = await api.createResponse({ conversation: id, model: this.host.model(), ...place, head }, randomKey(), line.signal);
      const first = await firstEvent(events);
      // What there is comes at once: until then the old one stands.
      const early = [first.event];
      if (goOn) await readText(events, early);
      if (signal.aborted) {
        line.abort();
        return;
      }
      if (head !== undefined) this.end = head + 1;
      this.asking = false;
      this.branch = null;
      const { scrollTop } = this.scroll.scroller;
      this.removeFrom(element);
      this.line = line;
      this.follow(first.reply.id, { events, early });
      if (goOn) this.scroll.write(scrollTop);
      this.host.changed();
    } catch (problem) {
      if (signal.aborted) return;
      this.asking = false;
      this.host.busy();
      const overtaken = problem instanceof api.Problem && overtakes(problem);
      view?.showNotice((goOn ? "It does not go on. " : "Not written again. ") + (overtaken ? "The conversation has gone on meanwhile." : problem instanceof Error ? problem.message : ""));
      if (overtaken) this.host.changed();
    }
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

  /** Loads older messages above what is shown. @param {boolean} [onlyIfNear] only when the top is near */
  async loadOlder(onlyIfNear = false) {
    const { id, before } = this;
    if (!id || !before || this.loadingOlder) return;
    const { scroller } = this.scroll;
    if (onlyIfNear && scroller.scrollTop > NEAR) return;
    this.loadingOlder = true;
    const { signal } = this.stop;
    try {
      const page = await api.listItems(id, before, signal, this.branch);
      if (signal.aborted) return;
      const items = page.data.slice().reverse();
      const answered = this.thread.firstElementChild?.matches(".assistant") ?? false;
      this.scroll.keep(() => this.thread.prepend(...this.elements(items, null, answered)));
      this.before = page.has_more ? page.last_id : null;
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

  // Sending

  /** Sends a question; false if one that was not sent has to go first. @param {string} text @param {Part[]} [files] */
  send(text, files = []) {
    if (this.busy) return false;
    if (this.question) {
      this.question.actions.retry();
      return false;
    }
    const last = /** @type {HTMLElement | null} */ (this.thread.lastElementChild);
    // On the active branch the server knows where to go on.
    const place = this.branch && last?.dataset.last ? { after: last.dataset.last } : {};
    void this.ask({ text, key: randomKey(), model: this.host.model(), ...place, ...(files.length > 0 ? { files } : {}) });
    return true;
  }

  /**
   * A question that was under way when the page was left: if the server does
   * not have it, it stands there as not sent.
   * @param {Item[]} items
   */
  async restoreOutgoing(items) {
    const { signal } = this.stop;
    const outgoing = await loadOutgoing(this.id);
    if (!outgoing || signal.aborted || this.question) return;
    const asked = items.slice(-4).some((item) => item.role === "user" && sameText(item, outgoing.text));
    if (asked) {
      saveOutgoing(this.id, null);
      return;
    }
    this.empty.hidden = true;
    this.showQuestion(outgoing).failed(outgoing.why ?? "The page was left before the server confirmed it.");
    this.host.busy();
  }

  /** @param {Outgoing} outgoing @returns {Question} */
  showQuestion(outgoing) {
    const question = new Question(outgoing.text, outgoing.files ?? [], {
      retry: () => void this.ask(outgoing),
      edit: () => {
        this.dropQuestion();
        this.host.edit(outgoing.text, outgoing.files ?? []);
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
    this.completed = false;
    this.stopping = false;
    this.empty.hidden = true;
    saveOutgoing(this.id, outgoing);
    this.scroll.putAtTop(question.element);
    this.host.busy();
    const line = new AbortController();
    try {
      let { id } = this;
      if (id === null) {
        const info = await api.createConversation(outgoing.key);
        id = info.id;
        saveOutgoing(null, null);
        saveOutgoing(id, outgoing);
        if (!signal.aborted) {
          this.id = id;
          this.saw(info.head);
          this.host.created(info);
        }
      }
      if (this.id === id && outgoing.head === undefined && this.end !== undefined) {
        outgoing.head = this.end;
        saveOutgoing(id, outgoing);
      }
      const input = { input: inputOf(outgoing), conversation: id, model: outgoing.model, after: outgoing.after, head: outgoing.head };
      const events = await api.createResponse(input, outgoing.key, line.signal);
      const first = await firstEvent(events);
      saveOutgoing(id, null);
      if (signal.aborted) {
        line.abort();
      } else {
        question.sent();
        this.question = null;
        this.branch = null;
        this.line = line;
        if (outgoing.head !== undefined) this.end = outgoing.head + 2; // the question and its reply
        this.follow(first.reply.id, { events, early: [first.event] });
      }
      this.host.changed();
    } catch (problem) {
      if (signal.aborted || this.question !== question) return;
      // A conversation that was made for it, unknown to this page, can be deleted meanwhile.
      if (this.id === null && problem instanceof api.Problem && problem.status === 404) outgoing.key = randomKey();
      question.failed(problem instanceof api.Problem ? problem.message : "The connection was lost.");
      this.host.busy();
      if (problem instanceof api.Problem && overtakes(problem)) await this.overtaken(outgoing, question, problem);
    }
  }

  /**
   * Others wrote in the conversation since the page looked. What they wrote is
   * shown, and the question stays below it; where there is nothing new to
   * read, it is sent again.
   * @param {Outgoing} outgoing
   * @param {Question} question
   * @param {api.Problem} problem
   */
  async overtaken(outgoing, question, problem) {
    const { signal } = this.stop;
    const id = this.id ?? "";
    // Nothing is kept under the old key, and the next try is another request.
    outgoing.key = randomKey();
    outgoing.why = "The conversation has gone on meanwhile: what is new stands above.";
    delete outgoing.head;
    saveOutgoing(id, outgoing);
    const shown = this.thread.childElementCount;
    try {
      await this.sync(await api.getConversation(id, signal));
    } catch (again) {
      if (!(again instanceof api.Problem)) throw again;
      return; // it stays as it is
    }
    if (this.question !== question) return; // all was shown anew
    const news = this.thread.childElementCount > shown || this.reply !== null;
    if (news) question.failed(outgoing.why);
    else if (problem.code === "conversation_conflict") void this.ask(outgoing);
  }

  // Following a reply

  /**
   * Shows a reply from its beginning and goes on until its end.
   * @param {string} responseId
   * @param {{events: AsyncGenerator<StreamEvent, void, void>, early: StreamEvent[]}} [started]
   */
  follow(responseId, started) {
    if (this.reply?.responseId === responseId || this.settled === responseId) return;
    const view = new ReplyView(responseId);
    this.reply = view;
    this.views.set(responseId, view);
    this.thread.append(view.element, ...(this.question ? [this.question.element] : []));
    if (!started) this.head = null; // after its end its items are listed again, for their names and versions
    view.waiting(WAITING);
    this.status.textContent = "The advisor is writing.";
    this.host.busy();
    void this.readReply(view, responseId, started);
    if (this.stopping) void this.stopReply();
  }

  /** Stops the reply that is being written or asked for; its reader sees the end. */
  async stopReply() {
    const view = this.reply;
    this.stopping = view === null && this.busy;
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
   * @param {{events: AsyncGenerator<StreamEvent, void, void>, early: StreamEvent[]}} [started]
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
    for (const event of started?.early ?? []) if (take(event)) return;
    if (document.hidden) this.hide();
    for (let stream = started?.events; !signal.aborted; stream = undefined) {
      try {
        // A hidden page holds no connection; it goes on when it is seen again, or when all is there.
        if (!stream) await this.seenOrOver(responseId, signal);
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
    this.used(view, response);
    this.settled = response.id;
    this.completed = response.status === "completed";
    if (this.reply === view) this.reply = null;
    if (response.status === "failed") this.host.failed();
    if (document.hidden) this.host.finished();
    this.status.textContent = "Reply finished: " + view.text();
    this.host.busy();
    this.host.changed();
  }

  /** The page was hidden: a stream is a connection other tabs may need. */
  hide() {
    if (this.reply) this.line.abort();
  }

  /** Waits until the page is seen, or until a reply is over. @param {string} responseId @param {AbortSignal} signal */
  async seenOrOver(responseId, signal) {
    while (document.hidden && (await pause(HIDDEN_POLL, signal)) && document.hidden) {
      const { status } = await api.getResponse(responseId, signal);
      if (status !== "in_progress" && status !== "queued") return;
    }
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
    const named = this.branch ? null : info.running_response_id;
    if (info.head === this.head && (!named || named === this.settled)) return;
    this.syncing = true;
    const { signal } = this.stop;
    try {
      const page = await api.listItems(info.id, null, signal, this.branch);
      if (signal.aborted || this.busy) return;
      const items = page.data.slice().reverse();
      const seen = this.known.size === 0 || items.some((item) => this.known.has(item.id)) || this.adopts(items);
      if (!seen && (page.has_more || this.known.size > 0)) {
        // Too much is new, or another branch is active.
        await this.open(info.id);
        return;
      }
      const running = this.running(info, items);
      this.take(items, running);
      this.saw(info.head);
      if (running) this.follow(running);
    } catch (problem) {
      if (!(problem instanceof api.Problem)) throw problem;
    } finally {
      if (!signal.aborted) this.syncing = false;
    }
  }

  /**
   * Takes away what the items, the end of a branch, have left: another client
   * asked again from before it.
   * @param {Item[]} items
   * @param {string | null} running
   */
  dropOthers(items, running) {
    const ids = new Set(items.map((item) => item.id));
    const all = /** @type {HTMLElement[]} */ ([...this.thread.children]);
    const start = all.findIndex((el) => ids.has(el.dataset.id ?? ""));
    if (start < 0) return;
    const replies = new Set(items.flatMap((item, i) => [item.response_id, silentAfter(item, items[i + 1])]));
    for (const el of all.slice(start)) {
      const { id, response } = el.dataset;
      if (el === this.question?.element || (response && (response === running || replies.has(response)))) continue;
      if (id ? ids.has(id) : !response) continue;
      if (id) this.known.delete(id);
      if (response) this.views.delete(response);
      el.remove();
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
      if (isReply(item)) {
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
    this.dropOthers(items, running);
    for (const [i, item] of items.entries()) {
      const own = this.known.has(item.id) ? this.thread.querySelector(`[data-id="${CSS.escape(item.id)}"]`) : this.nameless(item);
      if (this.known.has(item.id) && !own) continue;
      if (own instanceof HTMLElement) {
        this.known.add(item.id);
        const view = this.views.get(own.dataset.response ?? "");
        if (view) view.name(item);
        else if (!own.matches(".assistant, .editing")) nameMessage(own, item);
        if (own === this.question?.element) {
          this.question.sent();
          this.question = null;
          saveOutgoing(this.id, null);
        }
        continue;
      }
      this.thread.append(...this.elements([item], running, items[i + 1] && isReply(items[i + 1])));
    }
    this.empty.hidden = this.thread.childElementCount > 0;
    // A question that was not sent stays last.
    if (this.question) this.thread.append(this.question.element);
  }
}

/**
 * The reply that an item asked for, where that said nothing and no other took its place.
 * @param {Item} item
 * @param {Item} [next] what comes after it
 * @param {boolean} [answered] whether a reply does, where that is not among the items
 */
const silentAfter = (item, next, answered = false) => (answered && !next) || (next && isReply(next)) ? null : (item.silent_response_id ?? null);

/** @param {Item} item @param {string} text */
function sameText(item, text) {
  return itemText(item) === text;
}

/** What is sent of a question. @param {Outgoing} question */
function inputOf({ text, files }) {
  if (!files) return text;
  const parts = files.map(({ type, image_url, filename, file_data }) => (type === "input_image" ? { type, image_url } : { type, filename, file_data }));
  return [{ type: "message", role: "user", content: [...(text === "" ? [] : [{ type: "input_text", text }]), ...parts] }];
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

/**
 * Reads events up to the first text, or the end; what is waited for comes last.
 * @param {AsyncGenerator<StreamEvent, void, void>} events
 * @param {StreamEvent[]} into
 */
async function readText(events, into) {
  /** @type {StreamEvent[]} */
  const waits = [];
  for (let type = ""; type !== "response.output_text.delta" && !ENDED.has(type); ) {
    const { value: event, done } = await events.next();
    if (done) break; // it is read again from here
    ({ type } = event);
    (type === "hwlab.wait" ? waits : into).push(event);
  }
  into.push(...waits);
}

/** Whether it says that others have written in the conversation. @param {api.Problem} problem */
const overtakes = ({ code }) => code === "conversation_conflict" || code === "conversation_locked";
