/**
 * What of a half-written text is not shown yet. A line such as "``" or "- [" may
 * still become several things; it waits until the next characters decide, so
 * that nothing on the page changes what it is.
 */

/** Quote marks, indentation and list markers before the text of a line. */
const CONTAINER = /^(?:[ \t>]|[-*+] |\d{1,9}[.)] )*/;

/** Lines, without their container, that can still become something else. */
const UNDECIDED = [
  /^[-+*_=#~`>]+[ \t]*$/, // markers and rules: - ** ## ``` ~~~
  /^(?:[-*_][ \t]*)+$/, // a rule with spaces
  /^\d{1,9}[.)]?[ \t]*$/, // the number of a list item
  /^`{3,}[^`]*$/, // an opening fence whose language is being written
  /^~{3,}.*$/,
  /^\[[ xX]?\]?$/, // a box of a task list
  /^\[[^\]]*\]?$/, // a link or a link definition
  /^\[[^\]]+\]:.*$/,
  /^(?:\$\$?|\\\[?)[ \t]*$/, // a formula of several lines
];

/**
 * How many characters at the end of an unfinished text should wait.
 * @param {string} text
 * @returns {number}
 */
export function heldLength(text) {
  const lines = text.split("\n");
  const last = lines.length - 1;
  const line = lines[last];
  const fence = fenceAround(lines);
  const bare = line.replace(CONTAINER, "");

  if (fence) {
    // Inside code only a closing fence in the making waits.
    const mark = line.replace(/^[ \t>]*/, "");
    return mark !== "" && mark.length <= fence.length && fence.startsWith(mark) ? line.length : 0;
  }
  if (bare === "" && line.trim() !== "") return line.length;
  if (UNDECIDED.some((form) => form.test(bare))) return line.length;

  // A row of cells may be the head of a table; the line below decides. A row
  // that does not begin with a bar is a sentence.
  if (insideTable(lines, last)) return bare.startsWith("<") ? line.length : 0; // a tag ends it
  const above = last > 0 ? lines[last - 1].replace(CONTAINER, "") : "";
  if (above.startsWith("|") && hasCells(above) && /^[ |:-]*$/.test(bare)) return lines[last - 1].length + 1 + line.length;
  if (bare.startsWith("|")) return line.length;
  return 0;
}

const QUOTED = /^ *>/;

/**
 * The fence that is open around the last line, or "". One in an item of a list
 * or in a quote ends with it.
 * @param {string[]} lines
 */
function fenceAround(lines) {
  let fence = "";
  let item = 0; // where the text of the item stands that a line may belong to
  let needs = /^/; // what a line must begin with to be in the fence
  for (const [i, line] of lines.entries()) {
    if (fence && (line.trim() !== "" || needs === QUOTED) && !needs.test(line)) fence = "";
    if (i === lines.length - 1) break;
    if (fence) {
      const mark = line.replace(needs === QUOTED ? /^[ \t>]*/ : /^ */, "").trimEnd();
      if (mark.startsWith(fence) && mark === fence[0].repeat(mark.length)) fence = "";
      continue;
    }
    const marker = /^ *(?:[-*+]|\d{1,9}[.)])(?: +|$)/.exec(line);
    const paragraph = i > 0 && lines[i - 1].trim() !== "" && !/^[#>`~]/.test(line); // goes on without being indented
    if (marker) item = marker[0].length + (marker[0].endsWith(" ") ? 0 : 1);
    else if (line.trim() !== "" && !paragraph && !line.startsWith(" ".repeat(Math.min(item, 2)))) item = 0;
    const open = /^(`{3,}|~{3,})(.*)$/.exec(line.replace(CONTAINER, ""));
    if (!open || (open[1][0] === "`" && open[2].includes("`"))) continue;
    fence = open[1];
    needs = QUOTED.test(line) ? QUOTED : new RegExp("^ {" + item + "}");
  }
  return fence;
}

/**
 * True when a line has a bar outside code.
 * @param {string} line
 */
function hasCells(line) {
  return line.replace(/(`+)[^`]*\1/g, "").replace(/`.*$/, "").replace(/\\\|/g, "").includes("|");
}

/**
 * True when the line follows the rows of a table whose shape is known.
 * @param {string[]} lines
 * @param {number} index
 */
function insideTable(lines, index) {
  for (let i = index - 1; i > 0; i--) {
    const bare = lines[i].replace(CONTAINER, "");
    if (bare === "") return false;
    if (/^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/.test(bare)) return hasCells(lines[i - 1]);
  }
  return false;
}

/**
 * Closes what is open at the end of a line that is being written, so that
 * **bold** and `code` look right from their first letter and a half-written
 * address does not show.
 * @param {string} text
 * @returns {string}
 */
export function closeInline(text) {
  // Code spans first: what is inside them is not emphasis.
  let plain = "";
  let i = 0;
  while (i < text.length) {
    if (text[i] === "\\" && i + 1 < text.length) {
      plain += "\0\0";
      i += 2;
      continue;
    }
    if (text[i] !== "`") {
      plain += text[i++];
      continue;
    }
    const run = /** @type {RegExpExecArray} */ (/^`+/.exec(text.slice(i)))[0];
    const rest = text.slice(i + run.length);
    const close = rest.search(new RegExp("(?<!`)" + run + "(?!`)"));
    if (close < 0) {
      if (rest.trim() === "") return closeEmphasis(text.slice(0, i), plain);
      // A closing run that is one mark short is not text.
      const body = run.length > 1 ? text.replace(/`+$/, "") : text;
      return body + run;
    }
    const length = run.length * 2 + close;
    plain += "\0".repeat(length);
    i += length;
  }
  return closeEmphasis(text, plain);
}

/**
 * @param {string} text
 * @param {string} plain the same with code and escapes blanked out
 */
function closeEmphasis(text, plain) {
  const link = /!?\[([^[\]\n]*)\]\([^()\s]*$/.exec(plain);
  if (link) {
    const label = text.slice(link.index + link[0].indexOf("[") + 1).slice(0, link[1].length);
    text = text.slice(0, link.index) + label;
    plain = plain.slice(0, link.index) + link[1];
  }
  // The bracket of a link in the making: its words are shown, it is not.
  const label = /(^|[\s(])!?\[([^[\]\n]*)\]?$/.exec(plain);
  if (label) {
    const start = label.index + label[1].length;
    const from = plain.indexOf("[", start) + 1;
    text = text.slice(0, start) + text.slice(from, from + label[2].length);
    plain = plain.slice(0, start) + label[2];
  }
  const marks = /[*_~]+$/.exec(plain);
  const strong = plain.split("**").length % 2 === 0;
  if (marks && (strong || /(?:^|[\s(])[*_~]+$/.test(plain))) {
    // A mark at the very end opens or closes something; the next letter tells.
    const opens = /(?:^|[\s(])[*_~]+$/.test(plain);
    text = text.slice(0, marks.index);
    plain = plain.slice(0, marks.index);
    if (opens && plain.split("**").length % 2 === 1) return text;
  }
  if (plain.split("**").length % 2 === 0) {
    const end = text.trimEnd();
    return end + "**" + text.slice(end.length);
  }
  // One star: *a word*
  if (/(?:^|[\s(])\*[^\s*][^*\n]*$/.test(plain.replaceAll("**", "\0\0"))) {
    const end = text.trimEnd();
    return end + "*" + text.slice(end.length);
  }
  return text;
}
