/** Names of models, the environment, and which file a name asks for. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { hubAddress, parseModelName, withoutSecrets } from '../../src/hub/address.ts';
import { ggufModels } from '../../src/hub/gguf-models.ts';

describe('the name of a model', () => {
  it('is owner/name, with a choice behind a colon', () => {
    assert.deepEqual(parseModelName('Qwen/Qwen2.5-0.5B'), {
      id: 'Qwen/Qwen2.5-0.5B',
      name: 'Qwen2.5-0.5B',
      choice: null,
    });
    assert.equal(parseModelName('a/b-GGUF:Q4_K_M')?.choice, 'Q4_K_M');
    assert.equal(parseModelName('a/b:dir/c:d.gguf')?.choice, 'dir/c:d.gguf');
  });

  it('is no path', () => {
    const paths = [
      'a',
      '/a/b',
      './a',
      '../a',
      'a/b/c',
      'a/../b',
      'a/..',
      'a/b..c',
      'a\\b',
      'a/b ',
      'a/',
    ];
    for (const path of [...paths, '~/a', 'a/.b', 'a/b?c', 'a/b#c', 'a/b%2f', 'ä/b', 'a/b\n']) {
      assert.equal(parseModelName(path), null, path);
    }
  });
});

describe('the environment', () => {
  it('names the hub and holds the token', () => {
    const { endpoint, token } = hubAddress({});
    assert.equal(endpoint.protocol, 'https:');
    assert.equal(token, null);
    const own = hubAddress({ HF_ENDPOINT: 'http://localhost:8080/hub/', HF_TOKEN: ' hf_x\n' });
    assert.equal(own.endpoint.href, 'http://localhost:8080/hub');
    assert.equal(own.token, 'hf_x');
  });

  it('is refused without its secrets', () => {
    const refused = (environment: NodeJS.ProcessEnv) =>
      assert.throws(
        () => hubAddress(environment),
        (error: Error) => error instanceof InputError && !/secret/.test(error.line),
      );
    for (const address of ['nonsense', 'ftp://a', 'http://me:secret@a/', 'https://a/?key=secret']) {
      refused({ HF_ENDPOINT: address });
    }
    refused({ HF_TOKEN: 'secret\r\nx-header: 1' });
    assert.equal(withoutSecrets('https://me:secret@a/b?secret#c'), 'https://a/b');
  });
});

describe('GGUF files', () => {
  const models = (...paths: string[]) =>
    ggufModels(paths.map((path) => ({ path, bytes: 1, hash: { kind: 'git', digest: '' } })));

  it('are known by the quantisation at the end of their names', () => {
    const found = models(
      ...['m-Q4_K_M.gguf', 'm.q8_0.gguf', 'm-IQ2_XXS.gguf', 'm-UD-Q2_K_XL.gguf', 'm_BF16.gguf'],
      ...['m-fp16.gguf', 'm-MXFP4_MOE.gguf', 'm-Q4_K_M-v2.gguf', 'Q6_K/m-Q6_K-00001-of-00002.gguf'],
      ...['Q6_K/m-Q6_K-00002-of-00002.gguf', 'mmproj-m-BF16.gguf', 'README.md'],
    );
    assert.deepEqual(
      found.map(({ label }) => label),
      [
        ...['Q4_K_M', 'q8_0', 'IQ2_XXS', 'UD-Q2_K_XL', 'BF16', 'fp16', 'MXFP4_MOE'],
        ...['m-Q4_K_M-v2.gguf', 'Q6_K', 'BF16'],
      ],
    );
    const called = (asked: string) =>
      found.filter((model) => model.isCalled(asked)).map(({ stem }) => stem);
    assert.deepEqual(called('q4_k_m'), ['m-Q4_K_M']);
    assert.deepEqual(called('m-Q6_K-00002-of-00002.gguf'), ['m-Q6_K']);
    assert.deepEqual(called('Q2_K_XL'), []);
    assert.deepEqual(
      found.filter(({ isText }) => !isText).map(({ stem }) => stem),
      ['mmproj-m-BF16'],
    );
  });

  it('are known by their names where several share a quantisation', () => {
    assert.deepEqual(
      models('a-Q4_0.gguf', 'b-Q4_0.gguf').map(({ label }) => label),
      ['a-Q4_0.gguf', 'b-Q4_0.gguf'],
    );
  });
});
