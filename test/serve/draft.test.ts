/** Answers with a draft are those without, many at once, steered and not. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PassTimes } from '../../src/engine/pass-times.ts';
import { LookupDrafter } from '../../src/engine/speculation/lookup.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { startServer, storiesModel, type TestServer } from './support.ts';

const root = temporaryRoot();
const draft = new LookupDrafter({ passTimes: new PassTimes(), most: 3, always: true });
const servers: TestServer[] = [];
before(async () => {
  const model = await storiesModel(root);
  servers.push(await startServer(root, model), await startServer(root, model, { draft }));
});
after(() => Promise.all(servers.map((server) => server.close())));

test('a draft changes no answer', async () => {
  const asked = Array.from({ length: 6 }, (_, i) => ({
    model: 'any',
    messages: [{ role: 'user', content: `The dog said ${i} times: "The dog said` }] as const,
    ...{ max_tokens: 24, seed: i, temperature: i % 3 === 0 ? 0 : 0.7 },
    // What steers chooses one token after the other.
    ...(i === 4 ? { presence_penalty: 0.5 } : {}),
  }));
  const answers = ({ client }: TestServer) =>
    Promise.all(
      asked.map(async ({ messages, ...rest }) => {
        const body = { ...rest, messages: [...messages] };
        const { choices } = await client.chat.completions.create(body);
        return choices;
      }),
    );
  const [plain, drafted] = await Promise.all(servers.map(answers));
  assert.deepEqual(drafted, plain);
  const { proposed, accepted, passes, tokens } = draft.control.totals;
  assert.ok(proposed > 0 && accepted > 0 && tokens > passes, JSON.stringify(draft.control.totals));
});
