/** Keeps the conversation over a reload, in this tab, until the tab is closed. */

import type { Message } from './api.ts';

const place = 'flashllm.conversation';

/** The saved conversation; empty if there is none, or storage is not allowed. */
export function keptMessages(): Message[] {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(place) ?? '[]');
    return Array.isArray(kept) ? kept.filter(isMessage) : [];
  } catch {
    return [];
  }
}

/** Saves a conversation; does nothing if storage is full or not allowed. */
export function keepMessages(messages: readonly Message[]): void {
  try {
    sessionStorage.setItem(place, JSON.stringify(messages));
  } catch {
    // The conversation continues without being saved.
  }
}

function isMessage(value: unknown): value is Message {
  const { role, content } = (value ?? {}) as Partial<Message>;
  return (role === 'user' || role === 'assistant') && typeof content === 'string';
}
