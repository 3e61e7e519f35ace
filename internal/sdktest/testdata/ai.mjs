// The Vercel AI SDK against hwlab, by its provider for the Responses API.

import assert from 'node:assert/strict';
import test from 'node:test';
import { openai } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import { says, told } from './model.mjs';

const model = openai('test-model');

test('a text', async () => {
  await says({ text: 'Forty-' }, { text: 'two.' });
  const r = await generateText({ model, system: 'Be brief.', prompt: 'What is it?', temperature: 0.5, maxOutputTokens: 100 });
  assert.equal(r.text, 'Forty-two.');
  assert.equal(r.finishReason, 'stop');
  assert.deepEqual(await told(), [{ Role: 'system', Text: 'Be brief.' }, { Role: 'user', Text: 'What is it?' }]);
});

test('a text, streamed', async () => {
  await says({ text: 'One ' }, { text: 'twö ' }, { text: '🦙.' });
  const r = streamText({ model, prompt: 'Count.' });
  let shown = '';
  for await (const piece of r.textStream) shown += piece;
  assert.equal(shown, 'One twö 🦙.');
  assert.equal(await r.finishReason, 'stop');
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
