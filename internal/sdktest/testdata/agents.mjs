// OpenAI's Agents SDK against hwlab, with a session that keeps its history there.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Agent, OpenAIConversationsSession, run } from '@openai/agents';
import { says, told } from './model.mjs';

const agent = new Agent({ name: 'Advisor', instructions: 'Be brief.', model: 'test-model' });

test('a run', async () => {
  await says({ text: 'Forty-' }, { text: 'two.' });
  const r = await run(agent, 'What is it?');
  assert.equal(r.finalOutput, 'Forty-two.');
  assert.deepEqual(await told(), [{ Role: 'system', Text: 'Be brief.' }, { Role: 'user', Text: 'What is it?' }]);
});

test('a run, streamed', async () => {
  await says({ text: 'One ' }, { text: 'two.' });
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
