/** The page's behaviour: a conversation with the server that it came from. */

import { answer, get, type Message, RequestFailed, type Sampling } from './api.ts';
import { element } from './elements.ts';
import { keepMessages, keptMessages } from './memory.ts';
import { MessageView } from './messages-view.ts';
import { showStatistics } from './statistics.ts';

const log = element('log', HTMLElement);
const empty = element('empty', HTMLElement);
const notice = element('notice', HTMLElement);
const prompt = element('prompt', HTMLTextAreaElement);
const send = element('send', HTMLButtonElement);
const stop = element('stop', HTMLButtonElement);
const clear = element('clear', HTMLButtonElement);
const key = element('key', HTMLInputElement);
const access = element('access', HTMLDetailsElement);
const modelName = element('model', HTMLElement);
const system = element('system', HTMLTextAreaElement);

/** Interval of requests for statistics in milliseconds, during an answer and otherwise. */
const pace = { busy: 1000, idle: 5000 };

let model = '';
let messages: Message[] = [];
let inAnswer: AbortController | undefined;

function say(text: string, wrong = false): void {
  notice.textContent = text;
  notice.classList.toggle('wrong', wrong);
}

function samplingOf(): Sampling {
  const entries = (['temperature', 'topP', 'maxTokens', 'seed'] as const).map((name) => {
    const { valueAsNumber } = element(name, HTMLInputElement);
    return [name, valueAsNumber] as const;
  });
  return Object.fromEntries(entries.filter(([, value]) => !Number.isNaN(value)));
}

function setBusy(busy: boolean): void {
  send.disabled = busy;
  stop.disabled = !busy;
  clear.disabled = busy;
  // A screen reader reads an answer when it is complete.
  log.ariaBusy = String(busy);
}

/** Answers the last message; the text of a stopped answer stays. */
async function reply(): Promise<void> {
  const abort = new AbortController();
  inAnswer = abort;
  setBusy(true);
  say('The model is answering.');
  const view = new MessageView(log, 'assistant', '');
  const sent: Message[] = [...messages];
  if (system.value.trim() !== '') sent.unshift({ role: 'system', content: system.value });
  let finish: string | null = null;
  try {
    for await (const part of answer(model, sent, samplingOf(), key.value, abort.signal)) {
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      view.appendReasoning(part.reasoning);
      if (part.text !== '') view.append(part.text);
      finish = part.finish ?? finish;
      if (atEnd) log.scrollTop = log.scrollHeight;
    }
    if (finish === 'length') view.note('The answer reached the maximum number of tokens.');
    say('The answer is complete.');
  } catch (error) {
    if (abort.signal.aborted) {
      view.note('Stopped.');
      say('The answer was stopped.');
    } else {
      view.note('The answer is incomplete.');
      tell(error);
    }
  }
  messages.push({ role: 'assistant', content: view.content });
  keepMessages(messages);
  inAnswer = undefined;
  setBusy(false);
  prompt.focus();
}

/** Shows an error, and opens the field for the key if the server requires one. */
function tell(error: unknown): void {
  if (error instanceof RequestFailed && error.status === 401) {
    access.open = true;
    key.focus();
  }
  const reason = error instanceof RequestFailed ? error.message : 'the server does not respond';
  say(`The request failed: ${reason}.`.replace(/\.\.$/, '.'), true);
}

function submit(): void {
  const content = prompt.value;
  if (inAnswer !== undefined || content.trim() === '') return;
  prompt.value = '';
  empty.hidden = true;
  messages.push({ role: 'user', content });
  keepMessages(messages);
  new MessageView(log, 'user', content);
  log.scrollTop = log.scrollHeight;
  void reply();
}

async function connect(): Promise<void> {
  try {
    const { data } = (await get('v1/models', key.value)) as { data: { id: string }[] };
    model = data[0]?.id ?? '';
    modelName.textContent = model;
    say('');
  } catch (error) {
    modelName.textContent = 'not connected';
    tell(error);
  }
}

async function watch(): Promise<void> {
  for (;;) {
    if (!document.hidden) await showStatistics(key.value).catch(() => undefined);
    const wait = inAnswer === undefined ? pace.idle : pace.busy;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

element('compose', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  submit();
});
for (const id of ['sampling', 'keyForm']) {
  element(id, HTMLFormElement).addEventListener('submit', (event) => event.preventDefault());
}
prompt.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') inAnswer?.abort();
});
stop.addEventListener('click', () => inAnswer?.abort());
key.addEventListener('change', () => void connect());
clear.addEventListener('click', () => {
  messages = [];
  keepMessages(messages);
  for (const article of log.querySelectorAll('article')) article.remove();
  empty.hidden = false;
  say('New conversation started.');
  prompt.focus();
});

messages = keptMessages();
for (const { role, content } of messages) new MessageView(log, role, content);
empty.hidden = messages.length > 0;
void connect();
void watch();
prompt.focus();
