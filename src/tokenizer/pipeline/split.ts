/** Splits a text at the matches of a pattern. */

/** What to do with the matches. */
export const behaviors = [
  'Removed',
  'Isolated',
  'MergedWithPrevious',
  'MergedWithNext',
  'Contiguous',
] as const;

export type Behavior = (typeof behaviors)[number];

/** A span of a text, in UTF-16 units: a match, or the text between two matches. */
export interface Span {
  readonly start: number;
  end: number;
  readonly isMatch: boolean;
}

/**
 * The matches of `pattern`, which has the flag `g`, and the spans between them. Together they are the whole
 * text. As in the reference, an empty match directly after another does not count.
 */
export function* spansOf(pattern: RegExp, text: string): Generator<Span> {
  let covered = 0;
  let lastEnd = -1;
  for (let at = 0; at <= text.length; ) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found === null) break;
    const start = found.index;
    const end = start + found[0].length;
    // V8 also finds empty matches inside a surrogate pair.
    if (isWithinCharacter(text, start)) {
      at = start + 1;
      continue;
    }
    if (start === end && end === lastEnd) {
      at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
      continue;
    }
    at = end;
    lastEnd = end;
    if (covered < start) yield { start: covered, end: start, isMatch: false };
    yield { start, end, isMatch: true };
    covered = end;
  }
  if (covered < text.length) yield { start: covered, end: text.length, isMatch: false };
}

function isWithinCharacter(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff && at > 0 && (text.codePointAt(at - 1) ?? 0) > 0xffff;
}

/**
 * The parts of a text that is split by `pattern`; `invert` exchanges matches and the spans between them.
 */
export function* cut(
  text: string,
  pattern: RegExp,
  behavior: Behavior,
  invert = false,
): Generator<Span> {
  const spans = spansOf(pattern, text);
  const matches = (span: Span) => span.isMatch !== invert;
  switch (behavior) {
    case 'Isolated':
      yield* spans;
      break;
    case 'Removed':
      for (const span of spans) if (!matches(span)) yield span;
      break;
    case 'MergedWithNext':
      yield* joined([...spans].reverse(), matches).reverse();
      break;
    case 'MergedWithPrevious':
      yield* joined(spans, matches);
      break;
    case 'Contiguous': {
      let last: Span | undefined;
      for (const span of spans) {
        if (last !== undefined && matches(last) === matches(span)) last.end = span.end;
        else {
          if (last !== undefined) yield last;
          last = span;
        }
      }
      if (last !== undefined) yield last;
    }
  }
}

/** Joins each match to the span before it, unless that is also a match. */
function joined(spans: Iterable<Span>, matches: (span: Span) => boolean): Span[] {
  const result: Span[] = [];
  let afterMatch = false;
  for (const span of spans) {
    const last = result.at(-1);
    if (matches(span) && !afterMatch && last !== undefined) {
      result[result.length - 1] = {
        start: Math.min(last.start, span.start),
        end: Math.max(last.end, span.end),
        isMatch: false,
      };
    } else result.push(span);
    afterMatch = matches(span);
  }
  return result;
}
