/** Reads request bodies: JSON of bounded size. */

import type { IncomingMessage } from 'node:http';
import { isJsonObject, parseJsonText } from '../checkpoint/json-file.ts';
import { InputError, InterruptedError } from '../errors.ts';
import { jsonExcess } from '../json-limits.ts';
import type { Body } from '../openai/fields.ts';
import { badRequest, Refusal } from '../openai/refusal.ts';
import { textOfUtf8 } from '../utf8.ts';

/** Bytes of one body. A prompt as long as this has some 200,000 tokens. */
const longestBody = 2 ** 20;
/** The most bytes of all bodies that are being read. */
export const allBodies = 2 * longestBody;
/** The most arrays and objects in a body; each takes some twenty times the memory of its text. */
const mostBrackets = 2 ** 14;
/** Memory that a body takes while it is processed (texts, values, ids), as a multiple of its bytes. */
export const memoryPerBodyByte = 8;

export class BodyReader {
  /** Bytes that are held now. */
  #held = 0;

  /**
   * The object in a request's body.
   * @throws Refusal when it is not an object, or too long; InterruptedError when the client disconnects
   */
  async read(request: IncomingMessage): Promise<Body> {
    const type = request.headers['content-type'] ?? '';
    // A page of another origin can send some other types without a preflight request.
    if (!/^application\/json\s*(;|$)/i.test(type)) {
      const message = "the body must be JSON, with the content type 'application/json'";
      throw new Refusal('unsupported_media_type', message, { status: 415 });
    }
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > longestBody) throw tooLarge();
    return objectIn(await this.#bytes(request));
  }

  #bytes(request: IncomingMessage): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const parts: Buffer[] = [];
      let length = 0;
      const end = (settle: () => void) => {
        request.off('data', take).off('end', whole).off('close', left);
        this.#held -= length;
        length = 0;
        settle();
      };
      const take = (part: Buffer) => {
        length += part.length;
        this.#held += part.length;
        parts.push(part);
        const refusal =
          length > longestBody ? tooLarge() : this.#held > allBodies ? tooMuch() : null;
        if (refusal === null) return;
        // The rest of the body is not needed.
        request.pause();
        end(() => reject(refusal));
      };
      const whole = () => end(() => resolve(Buffer.concat(parts)));
      const left = () => end(() => reject(new InterruptedError('the client disconnected')));
      request.on('data', take).on('end', whole).on('close', left);
    });
  }
}

function objectIn(bytes: Uint8Array): Body {
  const text = textOfUtf8(bytes);
  const excess = text === null ? null : jsonExcess(text, mostBrackets);
  if (text === null || excess !== null) {
    throw badRequest('invalid_json', `the body ${excess?.what ?? 'is not UTF-8 text'}`, null);
  }
  let value: unknown;
  try {
    value = parseJsonText(text, 'the body');
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw badRequest('invalid_json', error.line, null);
  }
  if (isJsonObject(value)) return value;
  throw badRequest('invalid_json', 'the body must be a JSON object', null);
}

function tooLarge(): Refusal {
  const message = `the body has more than ${longestBody} bytes`;
  return new Refusal('body_too_large', message, { status: 413 });
}

function tooMuch(): Refusal {
  const message = 'too many large requests are being read: try again later';
  return new Refusal('queue_full', message, { status: 429, headers: { 'retry-after': '1' } });
}
