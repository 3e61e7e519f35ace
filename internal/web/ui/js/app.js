/** Puts the page together: routes, the poll, and who tells whom. */
import { getConversation, Problem, serverBuild, session } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, copyText, h } from "./dom.js";
import { Drawer } from "./drawer.js";
import { showGauge } from "./gauge.js";
import { download } from "./keep.js";
import { listenToKeys } from "./keys.js";
import { LabView } from "./lab.js";
import { List, titleOf } from "./list.js";
import { Search } from "./search.js";
import { forget } from "./storage.js";

const POLL = 3000;
/** Models and notes change seldom. */
const LAB_POLL = 30_000;
/** But who has just set one up is waiting for it. */
const OFFLINE_POLL = 5000;
const NAME = "Lab Advisor";
const RETURN = "hwlab.return";

const lab = new LabView(() => {
  composer.files.setLimit(lab.limit);
  byId("thread").toggleAttribute("data-continues", lab.continues);
});
const drawer = new Drawer();
const search = new Search((path) => go(path));

/** @type {import("./types").Response | null} of the open conversation */
let lastReply = null;

const conversation = new Conversation({
  created(info) {
    history.replaceState(null, "", "/c/" + info.id);
    composer.rename(info.id);
    list.put(info);
    list.mark(info.id);
    setTitle(titleOf(info));
    byId("download").hidden = false;
  },
  changed: () => void poll(),
  busy() {
    composer.setBusy(conversation.busy, conversation.completed);
    list.setWriting(conversation.reply ? conversation.id : null);
  },
  failed() {
    // What the model can do may not be what was thought; the server asks every 8 s.
    labAt = Math.min(labAt, performance.now() - LAB_POLL + 9000);
  },
  finished() {
    done = true;
    nameTab();
  },
  edit: (text, files) => composer.edit(text, files),
  opened(info) {
    setTitle(info ? titleOf(info) : null);
    lab.prefer(info?.model ?? null);
    byId("download").hidden = info === null;
  },
  model: () => lab.model,
  used(reply) {
    lastReply = reply;
    showGauge(reply, lab.models);
  },
});

const composer = new Composer((text, files) => conversation.send(text, files), () => conversation.stopReply());

const list = new List({
  open: (id) => go("/c/" + id),
  hidden(id) {
    if (conversation.id === id) go("/");
  },
  erased: forget,
  renamed(info) {
    if (info.id === conversation.id) setTitle(titleOf(info));
  },
});

session.expired = () => {
  // Drafts are kept as they are written; only the place has to be remembered.
  try {
    sessionStorage.setItem(RETURN, location.pathname + location.hash);
  } catch {
    // Then the start page it is.
  }
  location.assign("/login");
};

/** Whether a reply has ended that nobody has seen. */
let done = false;
/** @type {string | null} */
let shownTitle = null;

/** @param {string | null} title */
function setTitle(title) {
  shownTitle = title;
  byId("title").textContent = title ?? "New conversation";
  nameTab();
}

function nameTab() {
  document.title = (done ? "● " : "") + (shownTitle ? `${shownTitle} · ${NAME}` : NAME);
}

/** The conversation in the address; null on the start page. */
function route() {
  const match = /^\/c\/([\w-]+)\/?$/.exec(location.pathname);
  return match ? match[1] : null;
}

/** The message in the address. */
const routeMessage = () => (/^#[a-z]+_[\w-]+$/.test(location.hash) ? location.hash.slice(1) : null);

/** @param {string} path */
function go(path) {
  if (path !== location.pathname + location.hash) history.pushState(null, "", path);
  show();
}

function show() {
  const id = route();
  const message = routeMessage();
  drawer.close();
  search.close();
  list.mark(id);
  composer.open(id);
  if (id !== conversation.id || id === null || conversation.thread.childElementCount === 0) {
    const known = list.find(id);
    setTitle(known ? titleOf(known) : id && "");
    if (!id || !message) void conversation.open(id);
  }
  if (id && message) void conversation.openAt(id, message);
  else composer.focus();
}

// The poll: one round at a time, only while the page is seen.

let timer = 0;
let polling = false;
let again = false;
let labAt = -Infinity;
let failingSince = 0;
/** The build that this page is of. */
let build = "";

async function poll() {
  if (polling) {
    again = true;
    return;
  }
  clearTimeout(timer);
  polling = true;
  const begun = performance.now();
  try {
    await list.refresh();
    if (conversation.id) {
      const info = await find(conversation.id);
      if (info && info.id === conversation.id && info.title) setTitle(titleOf(info));
      if (info) await conversation.sync(info);
    }
    if (performance.now() - labAt > (lab.offline ? OFFLINE_POLL : LAB_POLL)) {
      await lab.refresh();
      showGauge(lastReply, lab.models);
      labAt = performance.now();
      const served = await serverBuild();
      build ||= served;
      byId("newer").hidden = served === build;
    }
    failingSince = 0;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 0 || problem.status >= 500) {
      failingSince ||= begun;
      labAt = -Infinity; // who comes back may be another
    }
  } finally {
    polling = false;
    // A single failure says nothing; two seconds of them do.
    byId("lost").hidden = failingSince === 0 || performance.now() - failingSince < 2000;
    if (again) {
      again = false;
      void poll();
    } else if (!document.hidden) {
      timer = window.setTimeout(tick, failingSince ? 1000 : POLL);
    }
  }
}

/**
 * The open conversation as the server has it. The list does not do: it does
 * not tell which reply runs.
 * @param {string} id
 */
async function find(id) {
  try {
    return await getConversation(id);
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 404) throw problem;
    conversation.gone(id);
    return null;
  }
}

/** While a reply runs its stream is the page's one request. */
function tick() {
  if (conversation.reply && failingSince === 0) timer = window.setTimeout(tick, POLL);
  else void poll();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    conversation.hide();
  } else {
    done = false;
    nameTab();
    void poll();
  }
});
window.addEventListener("focus", () => void poll());
window.addEventListener("popstate", show);
listenToKeys({
  search: () => search.open(),
  fresh: () => go("/"),
  sidebar: () => drawer.toggle(),
  copyCode() {
    const all = conversation.thread.querySelectorAll("pre > code");
    const text = all[all.length - 1]?.textContent;
    if (text) void copyText(text).then((done) => (byId("status").textContent = done ? "Code copied." : "The code was not copied."));
  },
  compose() {
    drawer.close();
    byId("message").focus({ preventScroll: true });
  },
  stop() {
    if (drawer.isOpen) return false;
    if (composer.hold() || conversation.cancelEdit()) return true;
    if (!conversation.busy) return false;
    void conversation.stopReply();
    return true;
  },
  editLast: () => conversation.editLast(),
});
byId("examples").addEventListener("click", (event) => {
  const example = /** @type {HTMLElement} */ (event.target).closest("button")?.textContent;
  if (example) composer.edit(example, []);
});
byId("reload").addEventListener("click", () => location.reload());
byId("new").addEventListener("click", () => go("/"));
byId("new-top").addEventListener("click", () => go("/"));

byId("download").addEventListener("click", () => {
  if (!conversation.id) return;
  download(conversation.id, conversation.branch).catch((problem) => {
    if (!(problem instanceof Problem)) throw problem;
    const toast = h("p", { class: "toast" }, h("span", {}, "Not downloaded. " + problem.message));
    byId("toasts").append(toast);
    setTimeout(() => toast.remove(), 8000);
  });
});

try {
  const back = sessionStorage.getItem(RETURN);
  sessionStorage.removeItem(RETURN);
  if (back && location.pathname === "/") history.replaceState(null, "", back);
} catch {
  // No place was remembered.
}
show();
void poll();
