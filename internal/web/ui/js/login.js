/** Shows the failure also where the address lost its #failed; the rest works without scripts. */
const failed = new URLSearchParams(location.search).has("failed");
if (failed && !location.hash) document.getElementById("failed")?.classList.add("shown");
