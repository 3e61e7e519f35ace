// Package sdktest drives hwlab with clients that nobody here wrote: OpenAI's client, its Agents SDK and the Vercel AI SDK, as
// they are published, for Node. Their versions are pinned in testdata/package-lock.json; scripts/test-deps installs them.
//
// The scripts in testdata know nothing of hwlab but its base URL, and work around nothing. What the model says they set
// themselves, through testdata/model.mjs.
package sdktest
