/**
 * Whatever is drawn of what a grammar allows is valid under its schema, as another implementation sees it:
 * by chance, byte by byte, until only the end is left or allowed.
 */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { Random } from '../../src/engine/random.ts';
import type { GrammarFormat } from '../../src/grammar/format.ts';
import { formatPatterns } from '../../src/grammar/formats.ts';
import { GrammarError, Grammars } from '../../src/grammar/grammars.ts';
import { checkedSchema } from '../../src/grammar/schema-check.ts';
import { jsonFormat } from '../../src/grammar/schema-rules.ts';
import { Utf8Guard } from '../../src/grammar/utf8-guard.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { SchemaMaker } from './random-schema.ts';

/** A token for each byte, and one that ends the text. */
const end = 256;
const vocabSize = 257;
const tokenizer = {
  eosIds: [end],
  isSilent: (id: number) => id === end,
  bytesOf: (id: number) => (id === end ? new Uint8Array(0) : Uint8Array.of(id)),
} as unknown as Tokenizer;
const grammars = new Grammars(tokenizer, vocabSize);
after(() => grammars.close());

const ajv = new Ajv2020({ strict: false });
addFormats.default(ajv);
const random = new Random(11);
const pick = <T>(items: readonly T[]) => items[Math.floor(random.next() * items.length)] as T;

/** A text of the grammar; null where chance led to no end. */
async function draw(format: GrammarFormat, most = 1500): Promise<string | null> {
  const constraint = await grammars.open(format);
  const utf8 = new Utf8Guard(tokenizer, vocabSize);
  const bytes: number[] = [];
  try {
    while (bytes.length < most) {
      const mask = await constraint.mask();
      const allowed = Array.from({ length: vocabSize }, (_, id) => id).filter(
        (id) => ((mask[id >> 5] as number) >>> (id & 31)) & 1 && !utf8.breaks(id),
      );
      assert.ok(allowed.length > 0, `nothing may follow ${Buffer.from(bytes)}`);
      const closing = allowed.filter((id) => '"]}'.includes(String.fromCharCode(id)));
      const marks = allowed.filter((id) => id > 32);
      const likely = [allowed, closing.length > 0 ? closing : marks, marks];
      const id = allowed.includes(end)
        ? end
        : pick(pick(likely).length > 0 ? pick(likely) : allowed);
      if (id === undefined) continue;
      if (id === end) return Buffer.from(bytes).toString();
      bytes.push(id);
      utf8.take(id);
      constraint.advance(id);
    }
    return null;
  } finally {
    constraint.close();
  }
}

/** Draws texts of a schema, which must be valid. */
async function hold(schema: object, times: number): Promise<number> {
  const validate = ajv.compile(schema);
  const format = jsonFormat(checkedSchema(schema, 'schema'));
  let ended = 0;
  for (let turn = 0; turn < times; turn++) {
    const text = await draw(format);
    if (text === null) continue;
    ended++;
    const told = `${JSON.stringify(schema)}\n${text}`;
    let value: unknown;
    assert.doesNotThrow(() => {
      value = JSON.parse(text);
    }, told);
    assert.ok(validate(value), `${told}\n${ajv.errorsText(validate.errors)}`);
  }
  return ended;
}

test('of schemas made by chance', async () => {
  const maker = new SchemaMaker(3);
  let ended = 0;
  for (let each = 0; each < 120; each++) ended += await hold(maker.object(3), 1);
  assert.ok(ended > 90, `${ended} came to an end`);
});

test('of every keyword that is taken', async () => {
  const schemas: object[] = [
    ...Object.keys(formatPatterns).map((format) => ({ type: 'string', format })),
    ...[
      '(a|b)?c*',
      '\\w{2}',
      '^x{2,4}$',
      '^(?:a|b)$',
      '^[a-z][a-z0-9_-]{0,5}$',
      '^\\(\\d{3}\\)$',
    ].map((pattern) => ({ type: 'string', pattern })),
    ...['^[.*+?(){}|$]{1,3}$', '^[\\]\\[\\-\\^]{2}$', "^it's <b>`~!%&=/,;:@$"].map((pattern) => ({
      type: 'string',
      pattern,
    })),
    ...[[-105], [7], [0], [999], [-1]].flatMap(([bound]) => [
      { type: 'integer', minimum: bound },
      { type: 'integer', exclusiveMaximum: bound },
    ]),
    { type: 'integer', minimum: 91, maximum: 122 },
    { type: 'integer', minimum: -9007199254740991, maximum: 9007199254740991 },
    { type: 'integer' },
    { type: 'integer', minimum: -1520, maximum: -1303 },
    { type: 'integer', minimum: 0.5, exclusiveMaximum: 3 },
    { type: 'number' },
    { type: 'string' },
    { type: ['null', 'string'], minLength: 1, maxLength: 2 },
    ...[
      [0, 0],
      [0, 1],
      [1, 2],
      [2, 4],
      [3, 3],
    ].map(([minItems, maxItems]) => ({
      type: 'array',
      prefixItems: [{ type: 'boolean' }, { const: 1 }],
      items: { enum: ['x'] },
      minItems,
      maxItems,
    })),
    { type: 'array', prefixItems: [{ type: 'null' }], items: false },
    { type: 'array', prefixItems: [{ type: 'null' }], maxItems: 0 },
    { type: 'string', pattern: '^\\d\\$' },
    { type: 'array', maxItems: 2 },
    { type: 'object', additionalProperties: { type: 'null' } },
    { type: 'object', additionalProperties: false },
    { type: 'object', properties: { 'q"': { type: 'null' }, 'b\\n': { const: { a: '"\n' } } } },
    { anyOf: [{ $ref: '#/$defs/leaf' }, { const: '\\"' }], $defs: { leaf: { enum: [1, 'é'] } } },
  ];
  for (const schema of schemas)
    await hold(schema, 4).catch((error) => assert.fail(`${JSON.stringify(schema)}: ${error}`));
});

test('whole numbers are those within the bounds, all of them', async () => {
  for (const [least, most] of [
    [-12, 13],
    [98, 104],
    [-3, -3],
  ] as const) {
    const format = jsonFormat(
      checkedSchema({ type: 'integer', minimum: least, maximum: most }, 's'),
    );
    for (let value = least - 15; value <= most + 15; value++) {
      const accepted = await accepts(format, `${value}`);
      assert.equal(accepted, value >= least && value <= most, `${value} of ${least} to ${most}`);
    }
  }
});

async function accepts(format: GrammarFormat, text: string): Promise<boolean> {
  const constraint = await grammars.open(format);
  try {
    for (const id of [...Buffer.from(text), end]) {
      const mask = await constraint.mask();
      if ((((mask[id >> 5] as number) >>> (id & 31)) & 1) === 0) return false;
      if (id !== end) constraint.advance(id);
    }
    return true;
  } finally {
    constraint.close();
  }
}

test('what cannot be kept is refused, with the place', () => {
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [{ type: 'strange' }, /^schema has "strange" as 'type'/],
    [{ minLength: 2 }, /but no 'type'/],
    [{ type: 'string', minimum: 2 }, /'minimum', which a value of type \["string"\] cannot have/],
    [{ oneOf: [{}] }, /'oneOf', which is not supported: use 'anyOf'/],
    [{ type: 'array', uniqueItems: true }, /'uniqueItems', which is not supported/],
    [{ type: 'number', minimum: 1 }, /'minimum'/],
    [{ type: 'string', enum: [1] }, /has 1 in 'enum', which does not match 'type'/],
    [{ type: 'object', properties: { a: { not: {} } } }, /^schema.properties.a has 'not'/],
    [{ type: 'object', required: ['a'] }, /"a" in 'required' but not in 'properties'/],
    [{ $ref: '#/$defs/a' }, /'\$ref' to "#\/\$defs\/a"/],
    [{ $ref: 'https://x/y' }, /only references within the schema/],
    [{ type: 'string', pattern: '.' }, /a 'pattern' with '\.'/],
    [{ type: 'string', pattern: '^a|b$' }, /'\|' outside of a group/],
    [{ type: 'string', pattern: '[^a]' }, /begins with '\[\^'/],
    [{ type: 'string', pattern: '(?=a)' }, /begins with '\(\?'/],
    [{ type: 'string', pattern: '(a' }, /not closed/],
    [{ type: 'string', pattern: '[!-~]' }, /the range/],
    [{ type: 'string', pattern: 'a{2,1}' }, /'\{2,1\}'/],
    [{ type: 'string', format: 'iban' }, /supported formats are date, time/],
    [{ type: 'array', minItems: 3, maxItems: 2 }, /larger 'minItems'/],
    [
      { type: 'array', items: false, prefixItems: [{}], minItems: 2 },
      /above the most items that it allows/,
    ],
    [{ $ref: '#' }, /at '#' refers to itself/],
    [{ anyOf: [{ type: 'null' }, { $ref: '#' }] }, /at '#' refers to itself/],
    [
      { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } },
      /refers to itself/,
    ],
    // What a reference leads to is a schema, wherever it stands.
    [{ $ref: '#/default', default: { type: 'array', minItems: -1e9 } }, /^schema at '#\/default' /],
    [{ $ref: '#/default', default: { type: 'string', pattern: '(' } }, /not closed/],
    [{ type: 'string', pattern: '('.repeat(30_000) }, /more than 32 groups/],
    [{ type: 'integer', minimum: 3, maximum: 2 }, /no whole number/],
    [{ type: 'string', maxLength: 1e9 }, /from 0 to 1000/],
    [{ description: 'x'.repeat(70_000) }, /70018 characters; the limit is 65536/],
    [Array.from({ length: 40 }).reduce((inner) => ({ type: 'array', items: inner }), {}), /deep/],
  ];
  for (const [schema, says] of cases) {
    assert.throws(
      () => checkedSchema(schema, 'schema'),
      (error) => {
        assert.ok(error instanceof GrammarError);
        assert.match(error.message, says);
        return true;
      },
    );
  }
});

test('rules grow no faster than their schema', () => {
  const pair = (inner: object): object => ({ type: 'array', prefixItems: [inner, ...rest] });
  const rest = Array.from({ length: 9 }, () => true);
  const nested = Array.from({ length: 12 }).reduce<object>(pair, { type: 'null' });
  const links = Array.from({ length: 1500 }, (_, i) => [`l${i}`, { $ref: `#/$defs/l${i + 1}` }]);
  const chain = { $ref: '#/$defs/l0', $defs: { ...Object.fromEntries(links), l1500: {} } };
  const wide = { type: 'array', prefixItems: Array.from({ length: 3000 }, () => true) };
  for (const schema of [nested, chain, wide]) {
    const format = jsonFormat(checkedSchema(schema, 'schema'));
    assert.ok(format.type === 'grammar');
    assert.ok(format.grammar.length < 50_000 + 10 * JSON.stringify(schema).length);
  }
});

test('an engine that failed is started anew, and who was under way goes on', async () => {
  const format = jsonFormat(checkedSchema({ enum: ['abc', 'abd'] }, 'schema'));
  const going = await grammars.open(format);
  for (const id of Buffer.from('"ab')) {
    await going.mask();
    going.advance(id);
  }
  for (let turn = 0; turn < 3; turn++) {
    const broken = { type: 'grammar', grammar: 'root ::= nothing' } as const;
    await assert.rejects(grammars.open(broken), /refused: .*nothing/);
  }
  const mask = await going.mask();
  const allowed = Array.from({ length: vocabSize }, (_, id) => id).filter(
    (id) => ((mask[id >> 5] as number) >>> (id & 31)) & 1,
  );
  assert.deepEqual(String.fromCharCode(...allowed), 'cd');
  going.close();
});
