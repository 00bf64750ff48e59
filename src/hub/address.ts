/** Where the hub is, who asks, and how a model on it is named. */

import { InputError } from '../errors.ts';

const publicEndpoint = 'https://huggingface.co';

export interface HubAddress {
  /** Without a slash at its end. */
  readonly endpoint: URL;
  /** Sent to the endpoint alone. */
  readonly token: string | null;
}

/**
 * The hub that `HF_ENDPOINT` names, or the public one, with the token in `HF_TOKEN`.
 * @throws InputError when one of them cannot be used; a token is never a part of the message
 */
export function hubAddress(environment: NodeJS.ProcessEnv = process.env): HubAddress {
  const { HF_ENDPOINT: asked = '', HF_TOKEN: secret = '' } = environment;
  const text = asked === '' ? publicEndpoint : asked;
  const endpoint = URL.canParse(text) ? new URL(text) : null;
  const isWeb = endpoint?.protocol === 'https:' || endpoint?.protocol === 'http:';
  if (endpoint === null || !isWeb || endpoint.username !== '' || endpoint.search !== '') {
    throw new InputError(
      `HF_ENDPOINT is not the address of a hub: '${withoutSecrets(text)}'`,
      {},
      `Set it to an address such as ${publicEndpoint}, or unset it`,
    );
  }
  endpoint.pathname = endpoint.pathname.replace(/\/+$/, '');
  const token = secret.trim();
  if (!/^[\x21-\x7e]*$/.test(token)) {
    throw new InputError(
      'HF_TOKEN has characters that are not allowed in a token',
      {},
      'Set it again',
    );
  }
  return { endpoint, token: token === '' ? null : token };
}

/** An address as it may be shown: what signs it, or stands before an @, is left out. */
export function withoutSecrets(address: string | URL): string {
  return String(address)
    .replace(/[?#].*$/s, '')
    .replace(/\/\/[^/]*@/, '//');
}

export interface ModelName {
  /** `owner/name`. */
  readonly id: string;
  readonly name: string;
  /** What follows the colon: a GGUF file, or a quantisation; null where nothing does. */
  readonly choice: string | null;
}

const namePattern =
  /^(?<owner>[A-Za-z0-9][\w.-]{0,95})\/(?<name>[A-Za-z0-9_][\w.-]{0,95})(?::(?<choice>.+))?$/s;

/** The name of a model on the hub, `owner/name` or `owner/name:choice`; null where `text` is none. */
export function parseModelName(text: string): ModelName | null {
  const { owner, name, choice } = namePattern.exec(text)?.groups ?? {};
  if (owner === undefined || name === undefined) return null;
  if ([owner, name].some((part) => part.includes('..') || part.endsWith('.'))) return null;
  return { id: `${owner}/${name}`, name, choice: choice ?? null };
}

/** @throws InputError when `text` is not the name of a model on the hub */
export function modelName(text: string): ModelName {
  const parsed = parseModelName(text);
  if (parsed !== null) return parsed;
  throw new InputError(
    `'${text}' is not the name of a model on the hub`,
    {},
    'Write it as owner/name, owner/name:Q4_K_M or owner/name:file.gguf',
  );
}
