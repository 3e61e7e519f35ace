// OpenAI's Agents SDK against hwlab, with a session that keeps its history there.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Agent, OpenAIConversationsSession, run, tool } from '@openai/agents';
import { z } from 'zod';
import { says, told } from './model.mjs';

const agent = new Agent({ name: 'Advisor', instructions: 'Be brief.', model: 'test-model' });

test('a run', async () => {
  await says({ text: 'Forty-' }, { text: 'two.' });
  const r = await run(agent, 'What is it?');
  assert.equal(r.finalOutput, 'Forty-two.');
  assert.deepEqual(await told(), [{ Role: 'system', Text: 'Be brief.' }, { Role: 'user', Text: 'What is it?' }]);
});

test('a run, streamed', async () => {
  await says({ read: [200, 0, 68] }, { gate: 'told', text: 'One ' }, { text: 'two.' }); // what it waits for is told in a comment
  const r = await run(agent, 'Count.', { stream: true });
  let shown = '';
  for await (const piece of r.toTextStream({ compatibleWithNodeStreams: true })) shown += piece;
  await r.completed;
  assert.equal(shown, 'One two.');
  assert.equal(r.finalOutput, 'One two.');
});

test('a session that is kept', async () => {
  const session = new OpenAIConversationsSession();
  await says({ text: 'An apple.' });
  await run(agent, 'Name a fruit.', { session });
  await run(agent, 'And now?', { session });
  assert.deepEqual((await told()).map((m) => m.Text), ['Be brief.', 'Name a fruit.', 'An apple.', 'And now?']);

  const again = new OpenAIConversationsSession({ conversationId: await session.getSessionId() });
  const texts = (items) => items.map((i) => i.content[0].text);
  assert.deepEqual(texts(await again.getItems()), ['Name a fruit.', 'An apple.', 'And now?', 'ok']);
  assert.deepEqual(texts(await again.getItems(2)), ['And now?', 'ok']);
  assert.equal((await again.popItem()).content[0].text, 'ok');
  assert.equal((await again.getItems()).length, 3);
  await again.clearSession();
});

test('a tool, in a session that is kept', async () => {
  const temperature = tool({
    name: 'temperature', description: 'The temperature of a machine.', parameters: z.object({ host: z.string() }),
    execute: async ({ host }) => `${host} has 41 degrees`,
  });
  const watcher = new Agent({ name: 'Watcher', instructions: 'Be brief.', model: 'test-model', tools: [temperature] });
  const session = new OpenAIConversationsSession();
  await says({ reasoning: 'I must look.' }, { call: { id: 'call_a', name: 'temperature', arguments: ['{"host"', ':"nas"}'] } }, { finish: 'tool_calls' });
  await says({ text: 'It is warm.' });
  const r = await run(watcher, 'How is the NAS?', { session });
  assert.equal(r.finalOutput, 'It is warm.');
  const kinds = (await session.getItems()).map((i) => i.type);
  assert.deepEqual(kinds.filter((k) => k !== 'reasoning'), ['message', 'function_call', 'function_call_result', 'message']);

  await says({ text: 'Still ' }, { text: 'warm.' });
  const again = await run(watcher, 'And now?', { session, stream: true });
  let shown = '';
  for await (const piece of again.toTextStream({ compatibleWithNodeStreams: true })) shown += piece;
  await again.completed;
  assert.equal(shown, 'Still warm.');
});

test('a run in a conversation', async () => {
  const session = new OpenAIConversationsSession();
  const conversationId = await session.getSessionId();
  await says({ text: 'An apple.' });
  await run(agent, 'Name a fruit.', { conversationId });
  await run(agent, 'And now?', { conversationId });
  assert.deepEqual((await told()).map((m) => m.Text), ['Be brief.', 'Name a fruit.', 'An apple.', 'And now?']);
});
