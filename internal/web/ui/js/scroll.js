/**
 * Where the thread stands. It follows the end of a reply only while it is
 * pinned there. Only what a person does (wheel, touch, keys, scroll bar,
 * selecting, searching in the page) unpins it, and going back to the end pins
 * it again; what the page writes itself is recognised and decides nothing.
 */

/** Room between a question and the top, and between a reply and the end. */
const ROOM = 24;
/** A scroll this long after a gesture is still the person's. */
const MOMENTUM = 1500;

export class Scroll {
  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content the messages; what is under them is only room
   * @param {HTMLElement} spacer room that lets a new question reach the top
   * @param {HTMLElement} toEnd the button that goes back to the end
   */
  constructor(scroller, content, spacer, toEnd) {
    this.scroller = scroller;
    this.content = content;
    this.spacer = spacer;
    this.toEnd = toEnd;
    this.pinned = true;
    /** @type {HTMLElement | null} the question that was put at the top */
    this.top = null;
    this.written = -1;
    this.last = -1;
    this.gesture = -Infinity;
    this.watch();
  }

  watch() {
    const { scroller } = this;
    scroller.addEventListener("wheel", (event) => this.moved(event.deltaY < 0), { passive: true });
    let touchY = 0;
    scroller.addEventListener("touchstart", (event) => (touchY = event.touches[0].clientY), { passive: true });
    scroller.addEventListener(
      "touchmove",
      (event) => {
        const y = event.touches[0].clientY;
        this.moved(y > touchY);
        touchY = y;
      },
      { passive: true },
    );
    scroller.addEventListener("pointerdown", (event) => {
      const inBar = event.target === scroller && event.offsetX >= scroller.clientWidth;
      if (inBar) this.moved(true);
    });
    document.addEventListener("keydown", (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      if (target.closest("input, textarea, select, dialog")) return;
      const up = ["ArrowUp", "PageUp", "Home"].includes(event.key) || (event.key === " " && event.shiftKey);
      const down = ["ArrowDown", "PageDown", "End", " "].includes(event.key);
      if (up || down) this.moved(up);
    });
    document.addEventListener("selectionchange", () => {
      const selection = document.getSelection();
      if (selection && !selection.isCollapsed && this.content.contains(selection.anchorNode)) this.moved(true);
    });
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.toEnd.addEventListener("click", () => this.goToEnd());
    const observer = new ResizeObserver(() => this.grew());
    observer.observe(this.content);
    observer.observe(scroller);
  }

  /** A person's gesture. @param {boolean} away from the end */
  moved(away) {
    this.gesture = performance.now();
    if (away) this.pinned = false;
    this.offer();
  }

  scrolled() {
    const { scroller } = this;
    const position = scroller.scrollTop;
    const down = position > this.last;
    this.last = position;
    if (Math.abs(position - this.written) >= 1) {
      const cut = position < this.written && position + scroller.clientHeight >= scroller.scrollHeight - 1;
      if (performance.now() - this.gesture < MOMENTUM) {
        if (down && this.distance() <= 4) this.pinned = true; // Not where a smooth scroll upwards begins.
      } else if (cut && this.pinned) {
        this.grew(); // The browser moved it, because the content became shorter.
      } else if (this.distance() > 4) {
        this.pinned = false; // Searching in the page, or moving the focus.
      }
    }
    this.offer();
  }

  /** Where the view must stand to show the end of the messages. */
  endPosition() {
    const bottom = this.content.offsetTop + this.content.offsetHeight + ROOM;
    return Math.max(0, bottom - this.scroller.clientHeight);
  }

  /** How far below the view the messages end. */
  distance() {
    return this.endPosition() - this.scroller.scrollTop;
  }

  /** @param {number} position */
  write(position) {
    this.scroller.scrollTop = position;
    this.last = this.written = this.scroller.scrollTop;
  }

  /** The messages or the window changed their size. */
  grew() {
    this.fit();
    if (this.pinned) {
      // A question stays at the top until its reply reaches the end of the view.
      const held = this.top?.isConnected ? this.offsetOf(this.top) - ROOM : 0;
      const position = Math.max(held, this.endPosition());
      if (position - this.scroller.scrollTop >= 1) this.write(position);
    }
    this.offer();
  }

  /** Gives the question at the top just enough room below to stay there. */
  fit() {
    let room = ROOM;
    if (this.top?.isConnected) {
      const bottom = this.content.offsetTop + this.content.offsetHeight;
      const below = bottom - this.offsetOf(this.top);
      room = Math.max(ROOM, this.scroller.clientHeight - ROOM - below);
    }
    this.spacer.style.height = room + "px";
  }

  /** @param {HTMLElement} element */
  offsetOf(element) {
    const { scroller } = this;
    return element.getBoundingClientRect().top - scroller.getBoundingClientRect().top + scroller.scrollTop;
  }

  /** Shows the way back while the end is out of sight. */
  offer() {
    this.toEnd.hidden = this.pinned || this.distance() < 48;
  }

  /** Puts a new question near the top; the reply grows below it. @param {HTMLElement} element */
  putAtTop(element) {
    this.top = element;
    this.pinned = true;
    this.fit();
    this.write(this.offsetOf(element) - ROOM);
    this.offer();
  }

  goToEnd() {
    this.pinned = true;
    this.write(this.endPosition());
    this.offer();
  }

  /** For another conversation. */
  reset() {
    this.top = null;
    this.pinned = true;
    this.fit();
    this.goToEnd();
  }

  /**
   * Runs a change above the view without moving what is in view.
   * @param {() => void} change
   */
  keep(change) {
    const first = /** @type {HTMLElement | null} */ (this.content.firstElementChild);
    const before = first ? first.getBoundingClientRect().top : 0;
    change();
    if (first) this.write(this.scroller.scrollTop + first.getBoundingClientRect().top - before);
  }
}

