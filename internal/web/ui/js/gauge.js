/** How much of what a model can take in a conversation fills. */
import { byId, h } from "./dom.js";

/** From here on the end is near. */
const NEARLY = 0.8;

/**
 * Shows it; nothing where the tokens or the model's limit are not known.
 * @param {import("./types").Response | null} reply the last one
 * @param {import("./types").Model[]} models
 */
export function showGauge(reply, models) {
  const gauge = byId("gauge");
  const limit = models.find((model) => model.id === reply?.model)?.context_length;
  const used = reply?.usage ? reply.usage.input_tokens + reply.usage.output_tokens : 0;
  gauge.hidden = !limit || used === 0;
  if (!limit || gauge.hidden) return;
  const share = Math.min(1, used / limit);
  const percent = `${Math.round(share * 100)} %`;
  gauge.replaceChildren(percent, h("span", { class: "more" }, " of context"));
  gauge.ariaLabel = percent + " of context"; // on a narrow screen, too
  gauge.title = `${used.toLocaleString()} of the ${limit.toLocaleString()} tokens that ${reply?.model} takes` + (share < NEARLY ? "" : ". When it is full, the oldest turns are left out or the reply fails.");
  gauge.classList.toggle("left-out", share >= NEARLY);
}
