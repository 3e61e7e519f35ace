/** The message box: grows with its text, keeps drafts, sends with Enter. */
import { byId, isTouch } from "./dom.js";
import { Files } from "./files.js";
import { loadDraft, loadDraftFiles, saveDraft, saveDraftFiles } from "./storage.js";

/** @typedef {import("./types").ContentPart} Part */

export class Composer {
  /**
   * @param {(text: string, files: Part[]) => boolean} send false: something has to be answered first
   * @param {() => Promise<void>} stop
   */
  constructor(send, stop) {
    this.box = /** @type {HTMLTextAreaElement} */ (byId("message"));
    this.button = /** @type {HTMLButtonElement} */ (byId("send"));
    this.note = byId("waiting");
    this.send = send;
    /** @type {string | null | undefined} whose draft is shown; undefined before any is */
    this.id = undefined;
    this.busy = false;
    /** What is written is sent as soon as the reply that runs is complete. */
    this.waiting = false;
    this.files = new Files(
      (byHand) => this.changed(byHand),
      (text) => this.insert(text),
    );
    this.box.addEventListener("input", () => this.changed(true));
    this.box.addEventListener("keydown", (event) => {
      // While a word is being composed Enter belongs to the input method.
      if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
      if (event.shiftKey || event.altKey || (isTouch() && !event.ctrlKey && !event.metaKey)) return;
      event.preventDefault();
      this.submit();
    });
    this.button.addEventListener("click", () => this.submit());
    byId("edit-waiting").addEventListener("click", () => {
      this.hold();
      this.box.focus();
    });
    byId("remove-waiting").addEventListener("click", () => {
      this.set("");
      this.files.set([]);
      this.box.focus();
    });
    this.stop = /** @type {HTMLButtonElement} */ (byId("stop"));
    this.stop.addEventListener("click", async () => {
      this.stop.disabled = true; // until the reply has ended, or it did not work
      await stop();
      this.stop.disabled = false;
      this.focus();
    });
    new ResizeObserver(() => this.grow()).observe(byId("composer"));
    this.refresh();
  }

  /** Shows the draft of a conversation. @param {string | null} id */
  open(id) {
    if (id === this.id) return;
    this.id = id;
    this.files.set([], false);
    this.set(loadDraft(id));
    void loadDraftFiles(id).then((parts) => {
      // What was attached meanwhile stays.
      if (this.id === id && parts.length > 0) this.files.set([...parts, ...this.files.parts], this.files.parts.length > 0);
    });
  }

  /** A new conversation got its name: what is being written goes with it. @param {string} id */
  rename(id) {
    saveDraft(this.id ?? null, "");
    void saveDraftFiles(this.id ?? null, []);
    this.id = id;
    this.changed(true);
  }

  /** @param {string} text */
  set(text) {
    this.box.value = text;
    this.changed(false);
    saveDraft(this.id ?? null, text);
  }

  /** Puts a text before what is being written, for more work on it. @param {string} text @param {Part[]} files */
  edit(text, files) {
    this.files.set([...files, ...this.files.parts]);
    const now = this.box.value;
    this.set(now.trim() === "" ? text : text + "\n\n" + now);
    this.box.focus();
    this.box.setSelectionRange(text.length, text.length);
  }

  /** Puts a text where the caret is. @param {string} text */
  insert(text) {
    this.box.setRangeText(text, this.box.selectionStart, this.box.selectionEnd, "end");
    this.changed(true);
    this.box.focus();
  }

  /** Takes the focus where that opens no keyboard. */
  focus() {
    if (!isTouch()) this.box.focus({ preventScroll: true });
  }

  /** @param {boolean} busy @param {boolean} completed whether what was busy came to a good end */
  setBusy(busy, completed) {
    this.busy = busy;
    const { waiting } = this;
    if (!busy) this.hold();
    this.refresh();
    if (waiting && !busy && completed) this.submit();
  }

  /** Does not send by itself what waits; true if something did. */
  hold() {
    const { waiting } = this;
    this.waiting = false;
    this.refresh();
    return waiting;
  }

  /** @param {boolean} byHand and so to be kept */
  changed(byHand) {
    if (byHand) {
      saveDraft(this.id ?? null, this.box.value);
      void saveDraftFiles(this.id ?? null, this.files.parts);
    }
    this.waiting = false;
    this.grow();
    this.refresh();
  }

  refresh() {
    const nothing = this.box.value.trim() === "" && this.files.parts.length === 0;
    this.button.disabled = nothing;
    this.button.hidden = this.busy && (nothing || this.waiting);
    this.stop.hidden = !this.busy;
    this.note.hidden = !this.waiting;
  }

  grow() {
    const { box } = this;
    // What is around it keeps its size while the box is measured, so that the thread does not move.
    const around = byId("composer");
    around.style.height = around.offsetHeight + "px";
    box.style.height = "0";
    box.style.height = box.scrollHeight + "px";
    around.style.height = "";
    box.classList.toggle("full", box.scrollHeight > box.clientHeight + 1);
  }

  submit() {
    const text = this.box.value;
    const files = this.files.parts;
    if (text.trim() === "" && files.length === 0) return;
    if (this.busy || !this.send(text.replace(/\s+$/, ""), files)) {
      this.waiting = this.busy;
      this.refresh();
      return;
    }
    this.set("");
    this.files.set([]);
    // On touch the keyboard makes room for the reply.
    if (isTouch()) this.box.blur();
    else this.focus();
  }
}
