/**
 * The grammar engine in a thread of its own, so that a request's grammar can neither block the event loop
 * nor take more memory than planned. {@link grammarWorker} is sent as text, so it cannot use anything
 * else of this module.
 */

import type { GrammarFormat } from './format.ts';

export interface WorkerSetup {
  /** The engine's module, as a URL. */
  readonly module: string;
  /** Bytes of each token as characters of byte-level vocabularies; '' for tokens without text. */
  readonly tokens: readonly string[];
  /** Logits. */
  readonly vocabSize: number;
  readonly endIds: readonly number[];
  /** The most bytes of the engine's memory. */
  readonly memoryBytes: number;
}

export type GrammarRequest = { readonly id: number } & (
  | { readonly open: GrammarFormat; readonly after: readonly number[] }
  | { readonly advance: number; readonly matcher: number }
  | { readonly close: number }
);

/** The allowed next tokens, one bit each; or why the grammar is refused. */
export type GrammarAnswer = { readonly id: number } & (
  | { readonly mask: Int32Array }
  /** `first`: nothing failed before; `clean`: the engine has given a reason. */
  | { readonly refused: string; readonly first: boolean; readonly clean: boolean }
);

/** The part of the engine's library that is used here; its own types do not match its form. */
interface Engine {
  readonly TokenizerInfo: {
    createTokenizerInfo(
      tokens: readonly string[],
      kind: 'byte_level',
      addsBlank: boolean,
      vocabSize: number,
      endIds: readonly number[],
    ): Promise<object>;
  };
  readonly GrammarCompiler: {
    createGrammarCompiler(info: object, cached: boolean): Promise<Compiler>;
  };
  readonly GrammarMatcher: {
    createGrammarMatcher(grammar: Disposable): Promise<Matcher>;
  };
}
interface Disposable {
  dispose(): void;
}
interface Compiler {
  compileStructuralTag(tag: object): Promise<Disposable>;
}
interface Matcher extends Disposable {
  acceptToken(token: number): boolean;
  getNextTokenBitmask(): Promise<Int32Array>;
}

/** The function with which the library instantiates its WebAssembly. */
interface WasmLoader {
  instantiate(
    bytes: Uint8Array,
    imports: object,
  ): Promise<{ readonly instance: { readonly exports: Readonly<Record<string, unknown>> } }>;
}
interface Growing {
  readonly buffer: ArrayBufferLike;
  grow(pages: number): number;
}

interface Port {
  postMessage(answer: GrammarAnswer): void;
  on(event: 'message', hear: (request: GrammarRequest) => void): void;
}

/**
 * The worker's main function; it answers requests in their order.
 * @param bring imports a module; an argument, since compilers wrap such calls in a helper that would
 * not be sent along
 */
export function grammarWorker(
  { module, tokens, vocabSize, endIds, memoryBytes }: WorkerSetup,
  port: Port,
  require: unknown,
  bring: (module: string) => Promise<unknown>,
): void {
  const mostKept = 8;
  let failures = 0;
  const said: string[] = [];
  const global = globalThis as unknown as Record<string, unknown>;
  // The library is a script, though its package declares a module: with these variables, and without
  // those of a module, it defines a global.
  const none = { exports: undefined, module: undefined };
  Object.assign(global, { require, __filename: '/grammar', __dirname: '/', ...none });
  // The library prints the reason for its failure.
  const { console: itsConsole } = global as { console: { error(...parts: unknown[]): void } };
  itsConsole.error = (...parts) => {
    said.push(parts.join(' '));
  };
  const wasm = WebAssembly as unknown as WasmLoader;
  const { instantiate } = wasm;
  wasm.instantiate = async (bytes, imports) => {
    const made = await instantiate(bytes, imports);
    for (const memory of Object.values(made.instance.exports)) {
      if (!(memory instanceof WebAssembly.Memory)) continue;
      const growing = memory as unknown as Growing;
      const grow = growing.grow.bind(memory);
      growing.grow = (pages) => {
        if (growing.buffer.byteLength + pages * 65536 <= memoryBytes) return grow(pages);
        throw new RangeError('the grammar takes too much memory');
      };
    }
    return made;
  };

  const load = async () => {
    await bring(module);
    const engine = global.xgrammar as Engine;
    const info = await engine.TokenizerInfo.createTokenizerInfo(
      tokens,
      'byte_level',
      false,
      vocabSize,
      endIds,
    );
    return { engine, compiler: await engine.GrammarCompiler.createGrammarCompiler(info, false) };
  };
  const loaded = load();
  const grammars = new Map<string, Disposable>();
  const matchers = new Map<number, Matcher>();

  const compile = async (format: GrammarFormat): Promise<Disposable> => {
    const { compiler } = await loaded;
    const key = JSON.stringify(format);
    const known = grammars.get(key);
    if (known !== undefined) {
      grammars.delete(key);
      grammars.set(key, known);
      return known;
    }
    const made = await compiler.compileStructuralTag({ type: 'structural_tag', format });
    grammars.set(key, made);
    for (const [oldest, grammar] of grammars) {
      if (grammars.size <= mostKept) break;
      grammars.delete(oldest);
      grammar.dispose();
    }
    return made;
  };

  const accept = (matcher: Matcher, token: number) => {
    if (!matcher.acceptToken(token)) throw new Error(`token id ${token} does not fit the grammar`);
  };

  const answer = async (request: GrammarRequest): Promise<void> => {
    const { id } = request;
    if ('close' in request) {
      matchers.get(request.close)?.dispose();
      matchers.delete(request.close);
      return;
    }
    try {
      let matcher: Matcher | undefined;
      if ('open' in request) {
        const grammar = await compile(request.open);
        const { engine } = await loaded;
        matcher = await engine.GrammarMatcher.createGrammarMatcher(grammar);
        for (const token of request.after) accept(matcher, token);
        matchers.set(id, matcher);
      } else {
        matcher = matchers.get(request.matcher);
        if (matcher === undefined) throw new Error('there is no such matcher');
        accept(matcher, request.advance);
      }
      port.postMessage({ id, mask: await matcher.getNextTokenBitmask() });
    } catch (error) {
      const told = said.find((line) => line.includes('[FATAL]'));
      const refused = (told ?? String(error)).replace(/^\[FATAL\] \S+ /, '').split('\n')[0] ?? '';
      port.postMessage({ id, refused, first: failures++ === 0, clean: told !== undefined });
    }
    said.length = 0;
  };

  let last = Promise.resolve();
  port.on('message', (request) => {
    last = last.then(() => answer(request));
  });
}
