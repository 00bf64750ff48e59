import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unpickle } from '../../src/checkpoint/pickle.ts';
import { PickleTuple, type PickleValue } from '../../src/checkpoint/pickle-values.ts';
import { TorchHost } from '../../src/checkpoint/torch-globals.ts';
import { refusal } from './helpers.ts';

function load(pickle: string | Buffer): PickleValue {
  const bytes = typeof pickle === 'string' ? Buffer.from(pickle, 'latin1') : pickle;
  return unpickle(bytes, { file: 'model.bin', offset: 100 }, new TorchHost()).value;
}

function refused(pickle: string | Buffer, message: RegExp): void {
  assert.throws(() => load(pickle), refusal(message));
}

test('plain values', () => {
  assert.equal(load('N.'), null);
  assert.equal(load('\x80\x02\x88.'), true);
  assert.equal(load('J\xfe\xff\xff\xff.'), -2);
  assert.equal(load('\x8a\x02\x00\x80.'), -32768);
  assert.equal(load('\x8a\x00.'), 0);
  assert.equal(load('\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.'), 2n ** 64n);
  assert.equal(load('G\x3f\xf8\x00\x00\x00\x00\x00\x00.'), 1.5);
  assert.equal(load('X\x03\x00\x00\x00a\xc3\xa9.'), 'aé');
  assert.equal(load('\x8c\x02hi.'), 'hi');
  assert.equal(load('U\x01\xe9.'), 'é');
  assert.deepEqual(load('](K\x01K\x02e.'), [1, 2]);
  assert.deepEqual(
    load('}(K\x01K\x02K\x03K\x04u.'),
    new Map([
      [1, 2],
      [3, 4],
    ]),
  );
  assert.deepEqual(load('K\x01\x85.'), new PickleTuple([1]));
  const frame = '\x95\x06\0\0\0\0\0\0\0';
  assert.deepEqual(load(`\x80\x04${frame}]\x94h\x00\x86.`), new PickleTuple([[], []]));
});

test('the end is told, so that several pickles may follow each other', () => {
  const origin = { file: 'model.bin', offset: 0 };
  const bytes = Buffer.from('K\x01.K\x02.', 'latin1');
  const first = unpickle(bytes, origin, new TorchHost());
  assert.deepEqual(first, { value: 1, end: 3 });
  assert.equal(unpickle(bytes, origin, new TorchHost(), first.end).value, 2);
});

test('the OrderedDict of Python 2 and 3', () => {
  const dict = new Map([['a', 1]]);
  assert.deepEqual(load('ccollections\nOrderedDict\n)R(U\x01aK\x01u.'), dict);
  assert.deepEqual(load('ccollections\nOrderedDict\n]](U\x01aK\x01ea\x85R.'), dict);
  refused('ccollections\nOrderedDict\n]Na\x85R.', /a key without a value/);
});

test('foreign globals are refused by name, however they are written', () => {
  refused('cos\nsystem\n.', /model\.bin, byte 100: the pickle names os\.system, which is refused/);
  refused('\x8c\x02os\x8c\x06system\x93.', /os\.system/);
  refused('c__builtin__\neval\n(U\x011tR.', /__builtin__\.eval.*safetensors/);
  refused('ctorch.storage\n_load_from_bytes\n.', /torch\.storage\._load_from_bytes/);
  refused('cevil\nname\r\x1b[2J\n.', /evil\.name\\r\\x1b\[2J, which/);
  refused('c__proto__\nconstructor\n.', /refused/);
  refused('ctorch\n__proto__\n.', /refused/);
});

test('opcodes that have no business here are refused', () => {
  refused('I1\n.', /byte 100: the pickle has an unknown opcode 0x49/);
  refused('(U\x01aios\nsystem\n.', /unknown opcode 0x69/);
  refused('\x82\x01.', /unknown opcode 0x82/);
  refused('\x80\x06.', /pickle protocol 6 is not known/);
});

test('damage is named with its place', () => {
  refused('', /byte 100: damaged pickle: 1 bytes are needed, but only 0 are left/);
  refused('X\xff\xff\xff\xffabc.', /byte 100: damaged pickle: 4294967295 bytes/);
  refused('\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.', /damaged pickle/);
  refused('K\x01t.', /byte 102: damaged pickle: the stack has too few values or marks/);
  refused('(K\x010a.', /damaged pickle/);
  refused('h\x07.', /memo 7 is used before it is set/);
  refused('}(K\x01u.', /a key without a value/);
  refused('K\x01K\x02a.', /a list is expected/);
  refused('K\x01)R.', /not a function/);
  refused('K\x01NbN.', /state for an object without state/);
  refused('cos', /a name without an end/);
  refused('K\x01Q.', /external object/);
  refused('(U\x06moduleNNNtQ.', /a whole module with its source/);
  refused(`\x8b\x00\x01\x00\x00${'\0'.repeat(256)}.`, /an integer of 256 bytes/);
});

test('memory and time are bounded, whatever the pickle asks for', () => {
  const many = 2 ** 21;
  refused(Buffer.alloc(many, '}'), /makes more than 524288 objects/);
  refused(Buffer.alloc(many, '('), /nests too much/);
  refused(Buffer.alloc(many, 'N'), /nests too much/);
  refused(`ctorch\nSize\n(${'N'.repeat(1000)}tR.`, /too many arguments/);
  refused(`ctorch\nSize\n(${'K\x01'.repeat(1000)}t\x85R.`, /short list of numbers/);
  // One list of a thousand pairs, given again and again to a constructor that copies it.
  const pairs = `](${'U\x01aK\x01\x86'.repeat(1000)}e\x85q\x01`;
  const calls = 'h\x00h\x01R'.repeat(100_000);
  refused(`ccollections\nOrderedDict\nq\x00${pairs}${calls}.`, /too many arguments/);
});

test('no more storages than any file has', () => {
  const storageClass = 'X\x07\0\0\0storageq\x00ctorch\nFloatStorage\nq\x01';
  const storage = (key: number) =>
    `(h\x00h\x01X\x05\0\0\0${String(key).padStart(5, '0')}K\x01K\x01tQ`;
  const list = (count: number) =>
    `${storageClass}](${Array.from({ length: count }, (_, key) => storage(key)).join('')}e.`;
  assert.equal((load(list(65_536)) as PickleValue[]).length, 65_536);
  refused(list(65_537), /the pickle names more than 65536 storages/);
  const again = list(65_536).replace('e.', `${storage(7)}e.`);
  assert.equal((load(again) as PickleValue[]).length, 65_537);
});
