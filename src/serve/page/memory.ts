/** What the page keeps over a reload: in this tab, until it is closed. */

import type { Message } from './api.ts';

const place = 'flashllm.conversation';

/** The conversation that was kept; none if there was none, or storage is not allowed. */
export function keptMessages(): Message[] {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(place) ?? '[]');
    return Array.isArray(kept) ? kept.filter(isMessage) : [];
  } catch {
    return [];
  }
}

/** Keeps a conversation; not where storage is full or not allowed. */
export function keepMessages(messages: readonly Message[]): void {
  try {
    sessionStorage.setItem(place, JSON.stringify(messages));
  } catch {
    // The conversation goes on without it.
  }
}

function isMessage(value: unknown): value is Message {
  const { role, content } = (value ?? {}) as Partial<Message>;
  return (role === 'user' || role === 'assistant') && typeof content === 'string';
}
