/** The message box: grows with its text, keeps drafts, sends with Enter. */
import { byId, isTouch } from "./dom.js";
import { Files } from "./files.js";
import { loadDraft, saveDraft } from "./storage.js";

export class Composer {
  /**
   * @param {(text: string, files: import("./types").ContentPart[]) => void} send
   * @param {() => Promise<void>} stop
   */
  constructor(send, stop) {
    this.box = /** @type {HTMLTextAreaElement} */ (byId("message"));
    this.button = /** @type {HTMLButtonElement} */ (byId("send"));
    this.send = send;
    /** @type {string | null} */
    this.id = null;
    this.busy = false;
    this.files = new Files(() => this.refresh());
    this.box.addEventListener("input", () => this.changed());
    this.box.addEventListener("keydown", (event) => {
      // While a word is being composed Enter belongs to the input method.
      if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
      if (event.shiftKey || event.altKey || (isTouch() && !event.ctrlKey && !event.metaKey)) return;
      event.preventDefault();
      this.submit();
    });
    this.button.addEventListener("click", () => this.submit());
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
    if (id !== this.id) this.files.set([]);
    this.id = id;
    this.set(loadDraft(id));
  }

  /** A new conversation got its name: what is being written goes with it. @param {string} id */
  rename(id) {
    saveDraft(this.id, "");
    this.id = id;
    saveDraft(id, this.box.value);
  }

  /** @param {string} text */
  set(text) {
    this.box.value = text;
    this.changed();
  }

  /** Puts a text before what is being written, for more work on it. @param {string} text @param {import("./types").ContentPart[]} files */
  edit(text, files) {
    this.files.set([...files, ...this.files.parts]);
    const now = this.box.value;
    this.set(now.trim() === "" ? text : text + "\n\n" + now);
    this.box.focus();
    this.box.setSelectionRange(text.length, text.length);
  }

  /** Takes the focus where that opens no keyboard. */
  focus() {
    if (!isTouch()) this.box.focus({ preventScroll: true });
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    this.busy = busy;
    this.refresh();
  }

  changed() {
    saveDraft(this.id, this.box.value);
    this.grow();
    this.refresh();
  }

  refresh() {
    this.button.disabled = this.busy || (this.box.value.trim() === "" && this.files.parts.length === 0);
    this.button.hidden = this.busy;
    this.stop.hidden = !this.busy;
  }

  grow() {
    const { box } = this;
    box.style.height = "0";
    box.style.height = box.scrollHeight + "px";
    box.classList.toggle("full", box.scrollHeight > box.clientHeight + 1);
  }

  submit() {
    const text = this.box.value;
    const files = this.files.parts;
    if (this.busy || (text.trim() === "" && files.length === 0)) return;
    this.set("");
    this.files.set([]);
    // On touch the keyboard makes room for the reply.
    if (isTouch()) this.box.blur();
    else this.focus();
    this.send(text.replace(/\s+$/, ""), files);
  }
}
