// The Vercel AI SDK against hwlab, by its provider for the Responses API.

import assert from 'node:assert/strict';
import test from 'node:test';
import { openai } from '@ai-sdk/openai';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { says, told } from './model.mjs';

const model = openai('test-model');

const temperature = tool({
  description: 'The temperature of a machine.',
  inputSchema: z.object({ host: z.string() }),
  execute: async ({ host }) => `${host} has 41 degrees`,
});

const calls = [{ call: { id: 'call_a', name: 'temperature', arguments: ['{"host"', ':"nas"}'] } }, { finish: 'tool_calls' }];

test('a text', async () => {
  await says({ text: 'Forty-' }, { text: 'two.' });
  const r = await generateText({ model, system: 'Be brief.', prompt: 'What is it?', temperature: 0.5, maxOutputTokens: 100 });
  assert.equal(r.text, 'Forty-two.');
  assert.equal(r.finishReason, 'stop');
  assert.deepEqual(await told(), [{ Role: 'system', Text: 'Be brief.' }, { Role: 'user', Text: 'What is it?' }]);
});

test('a text, streamed', async () => {
  await says({ read: [200, 0, 68] }, { gate: 'told', text: 'One ' }, { text: 'twö ' }, { text: '🦙.' });
  const r = streamText({ model, prompt: 'Count.' });
  let shown = '';
  for await (const piece of r.textStream) shown += piece;
  assert.equal(shown, 'One twö 🦙.');
  assert.equal(await r.finishReason, 'stop');
});

test('a text that reached its limit, streamed', async () => {
  await says({ text: 'One ' }, { text: 'twö' }, { finish: 'length' });
  const r = streamText({ model, prompt: 'Count.', maxOutputTokens: 16 });
  const kinds = [];
  for await (const part of r.fullStream) {
    if (part.type.startsWith('text-') && kinds.at(-1) !== part.type) kinds.push(part.type);
  }
  assert.deepEqual(kinds, ['text-start', 'text-delta', 'text-end']);
  assert.equal(await r.text, 'One twö');
  assert.equal(await r.finishReason, 'length');
});

test('messages of a talk', async () => {
  await generateText({ model, messages: [
    { role: 'user', content: 'Name a fruit.' },
    { role: 'assistant', content: 'An apple.' },
    { role: 'user', content: [{ type: 'text', text: 'And now?' }] },
  ] });
  assert.deepEqual((await told()).map((m) => m.Text), ['Name a fruit.', 'An apple.', 'And now?']);
});

test('kept in a conversation', async () => {
  const first = await generateText({ model, prompt: 'Name a fruit.' });
  const id = first.providerMetadata.openai.responseId;
  await generateText({ model, prompt: 'And now?', providerOptions: { openai: { previousResponseId: id } } });
  assert.deepEqual((await told()).map((m) => m.Text), ['Name a fruit.', 'ok', 'And now?']);
});

test('a tool', async () => {
  await says({ reasoning: 'I must look.' }, ...calls);
  await says({ text: 'It is warm.' });
  const r = await generateText({ model, prompt: 'How is the NAS?', tools: { temperature }, stopWhen: stepCountIs(3) });
  assert.equal(r.text, 'It is warm.');
  assert.equal(r.steps.length, 2);
  assert.equal(r.steps[0].toolResults[0].output, 'nas has 41 degrees');
});

test('a tool, streamed', async () => {
  await says({ text: 'Let me look.' }, ...calls);
  await says({ text: 'It is ' }, { text: 'warm.' });
  const r = streamText({ model, prompt: 'How is the NAS?', tools: { temperature }, stopWhen: stepCountIs(3) });
  const kinds = [];
  for await (const part of r.fullStream) {
    assert.notEqual(part.type, 'error', String(part.error));
    if (part.type.startsWith('tool-') && kinds.at(-1) !== part.type) kinds.push(part.type);
  }
  assert.deepEqual(kinds, ['tool-input-start', 'tool-input-delta', 'tool-input-end', 'tool-call', 'tool-result']);
  assert.equal(await r.text, 'It is warm.');
});

test('an object', async () => {
  await says({ text: '{"host":"nas","celsius":41}' });
  const r = await generateObject({ model, prompt: 'How is the NAS?', schema: z.object({ host: z.string(), celsius: z.number() }) });
  assert.deepEqual(r.object, { host: 'nas', celsius: 41 });
});

test('not kept', async () => {
  const r = await generateText({ model, prompt: 'Name a fruit.', providerOptions: { openai: { store: false } } });
  assert.equal(r.text, 'ok');
});
