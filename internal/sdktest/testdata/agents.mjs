// OpenAI's Agents SDK against hwlab, with a session that keeps its history there.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Agent, run } from '@openai/agents';
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
