/** The list of conversations: beside the thread, where it can be hidden; on a narrow screen a drawer over it. */
import { byId } from "./dom.js";

/** Where there is room for it beside the thread. */
const wide = window.matchMedia("(min-width: 761px)");

export class Drawer {
  constructor() {
    this.menu = byId("menu");
    this.sidebar = byId("sidebar");
    this.main = byId("main");
    this.menu.addEventListener("click", () => this.toggle());
    byId("close-drawer").addEventListener("click", () => this.close());
    byId("scrim").addEventListener("click", () => this.close());
    this.sidebar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    wide.addEventListener("change", () => this.close());
  }

  /** Shows the list or hides it. */
  toggle() {
    if (!wide.matches) this.isOpen ? this.close() : this.open();
    else if (!document.body.classList.toggle("no-sidebar") && document.activeElement === this.menu) byId("new").focus();
  }

  get isOpen() {
    return document.body.classList.contains("drawer-open");
  }

  open() {
    document.body.classList.add("drawer-open");
    this.menu.setAttribute("aria-expanded", "true");
    this.main.inert = true;
    byId("close-drawer").focus();
  }

  close() {
    if (!this.isOpen) return;
    document.body.classList.remove("drawer-open");
    this.menu.setAttribute("aria-expanded", "false");
    this.main.inert = false;
    this.menu.focus({ preventScroll: true });
  }
}
