// What the model says, and what it was told.

async function control(method, path, body) {
  const answer = await fetch(process.env.MODEL_CONTROL + path, { method, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  return answer;
}

// The next reply is these steps: {text}, {reasoning}, {refusal}, {call: {id, name, arguments: [...]}}, {usage}, {gate},
// {finish}, {error}. With none left the model says "ok".
export const says = (...steps) => control('POST', '/script', steps);

// Lets the replies go on that wait at {gate: name}.
export const open = (name) => control('POST', `/open/${name}`);

// What the model was told the last time: [{Role, Text}].
export const told = async () => (await (await control('GET', '/requests')).json()).at(-1);
