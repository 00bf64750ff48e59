/** Blocks of code in Markdown, and the command lines in them. */

export interface CodeBlock {
  /** As it stands there, without fences and indentation. */
  readonly code: string;
  /** Behind the opening fence; '' of indented blocks and plain fences. */
  readonly language: string;
  /** Of its first line, from 1 on. */
  readonly line: number;
  /** Why no test runs it: what `<!-- not run: why -->` before it says, or null. */
  readonly notRun: string | null;
}

const block = /^```(\S*)\n([\s\S]*?)^```|(?:(?<=\n\n)|(?<=^))(?: {4}.*\n)+/gm;

/** All blocks of code of a page, in their order. */
export function codeBlocks(text: string): CodeBlock[] {
  return [...text.matchAll(block)].map(({ 0: whole, 1: language = '', 2: fenced, index }) => {
    const before = text.slice(0, index).trimEnd();
    const [, notRun = null] = /<!-- not run: ([^>]+?) -->$/.exec(before) ?? [];
    const line = text.slice(0, index).split('\n').length;
    return { code: fenced ?? whole.replace(/^ {4}/gm, ''), language, line, notRun };
  });
}

/** What a line begins with that is to be typed into a shell; also within files of other kinds. */
const command =
  /(?:^|[\s"'])(?:[A-Z_]+=\S+ )?(?:flashllm|npx|npm|node|cat|curl|parallel) +[-a-z./]/;

/** Lines of a block that are commands, continued ones joined. */
export function commandLines({ code }: CodeBlock): string[] {
  return code
    .replace(/ *\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => command.test(line));
}
