/** A conversation as a Markdown file, as `hwlab export` writes it. */
import { getConversation, listItems } from "./api.js";
import { h } from "./dom.js";
import { titleOf } from "./list.js";
import { itemText } from "./message.js";

/** @typedef {import("./types").Item} Item */

/** @type {Record<string, string>} */
const NAMES = { user: "Question", assistant: "Answer" };

/** @param {Item} item */
function section(item) {
  const reasoning = item.type === "reasoning";
  const name = (reasoning ? "Reasoning" : (NAMES[item.role] ?? "Instructions")) + (item.status === "incomplete" ? " (incomplete)" : "");
  const text = [...(item.summary ?? []).map((part) => part.text ?? ""), itemText(item)].join("\n\n").trim();
  const files = (item.content ?? []).flatMap((part) => (part.image_url ? ["[image]"] : part.filename ? [`[file ${part.filename}]`] : []));
  return [`## ${name}`, ...(text ? [text] : []), ...files].join("\n\n") + "\n";
}

/**
 * All of a conversation's branch, from its beginning.
 * @param {string} id
 * @param {string | null} branch
 */
async function markdownOf(id, branch) {
  const info = await getConversation(id);
  /** @type {string[]} */
  const sections = [];
  for (let after = null, more = true; more; ) {
    const page = await listItems(id, after, undefined, branch);
    sections.push(...page.data.filter((item) => item.type === "message" || item.type === "reasoning").map(section));
    after = page.last_id;
    more = page.has_more;
  }
  const date = new Date(info.created_at * 1000).toISOString().slice(0, 19).replace("T", " ");
  const head = `# ${titleOf(info)}\n\n${date} UTC${info.model ? " · " + info.model : ""}\n`;
  return { name: titleOf(info), text: [head, ...sections.reverse()].join("\n") };
}

/** @param {string} id @param {string | null} branch */
export async function download(id, branch) {
  const { name, text } = await markdownOf(id, branch);
  const url = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
  h("a", { href: url, download: name.replace(/[^\p{L}\p{N}._-]+/gu, " ").trim().slice(0, 80) + ".md" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
