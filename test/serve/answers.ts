/** What a server may answer: the schemas of fixtures/openapi.json. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { fixture } from '../support/fixtures.ts';

const document = JSON.parse(readFileSync(fixture('openapi.json'), 'utf8')) as {
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
};
const ajv = new Ajv2020({ strict: false });
ajv.addSchema({ ...document, $id: 'api' });

/** Asserts that a value is one of the API's objects, and has no fields besides. */
export function assertAnswers(name: string, value: unknown): void {
  const validate = ajv.getSchema(`api#/components/schemas/${name}`) as ValidateFunction;
  // The client adds what is no part of JSON.
  const plain: unknown = JSON.parse(JSON.stringify(value));
  assert.ok(
    validate(plain),
    `${name}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(plain)}`,
  );
}
