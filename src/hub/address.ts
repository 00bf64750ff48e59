/** The hub's address, the user's token, and the names of models on the hub. */

import { InputError } from '../errors.ts';

const publicEndpoint = 'https://huggingface.co';

export interface HubAddress {
  /** The address, without a trailing slash. */
  readonly endpoint: URL;
  /** Sent only to the endpoint. */
  readonly token: string | null;
}

/**
 * The hub that `HF_ENDPOINT` names, or the public one, with the token in `HF_TOKEN`.
 * @throws InputError when either is invalid; the message never contains the token
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

/** An address without secrets, fit to be shown: signatures, and user and password before an @, are left out. */
export function withoutSecrets(address: string | URL): string {
  return String(address)
    .replace(/[?#].*$/s, '')
    .replace(/\/\/[^/]*@/, '//');
}

export interface ModelName {
  /** `owner/name`. */
  readonly id: string;
  readonly name: string;
  /** The part after the colon: a GGUF file or a quantisation; null if there is none. */
  readonly choice: string | null;
}

const namePattern =
  /^(?<owner>[A-Za-z0-9][\w.-]{0,95})\/(?<name>[A-Za-z0-9_][\w.-]{0,95})(?::(?<choice>.+))?$/s;

/** The name of a model on the hub, `owner/name` or `owner/name:choice`; null if `text` is not such a name. */
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
