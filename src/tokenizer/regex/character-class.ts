/** Classes of characters: `[...]`, `\p{...}` and the shorthands. */

import { complement } from '../unicode.ts';
import {
  bracketNames,
  classShorthands,
  isCaseless,
  propertySet,
  shorthands,
} from './properties.ts';
import { caseVariants, escapedCharacter, literal, type Scan, Untranslatable } from './scan.ts';

/**
 * The set of a shorthand or property after a backslash, as an operand of the `v` flag; undefined if
 * something else follows; then nothing is consumed.
 */
export function escapedSet(scan: Scan, ignoreCase: boolean, inClass = false): string | undefined {
  const letter = scan.next;
  const shorthand = (inClass ? classShorthands : shorthands).get(letter.toLowerCase());
  if (shorthand !== undefined) {
    scan.take();
    refuseCase(ignoreCase, `\\${letter}`, letter.toLowerCase());
    return letter === letter.toLowerCase() ? shorthand : complement(shorthand);
  }
  if (letter !== 'p' && letter !== 'P') return undefined;
  const written = scan.match(/[pP]\{([^{}]*)\}/);
  if (written === undefined) return undefined;
  const name = written.replace(/^\^/, '');
  const set = propertySet(name);
  if (set === undefined) throw new Untranslatable(`the property \\${letter}{${written}}`);
  refuseCase(ignoreCase, `\\${letter}{${written}}`, name);
  return (letter === 'P') !== written.startsWith('^') ? complement(set) : set;
}

function refuseCase(ignoreCase: boolean, written: string, name: string): void {
  if (ignoreCase && !isCaseless(name)) {
    throw new Untranslatable(`${written} where case is ignored`);
  }
}

interface Outer {
  readonly negated: boolean;
  readonly isNested: boolean;
}

/**
 * A class whose opening bracket has been consumed, as an operand of the `v` flag.
 * @param outer the enclosing class. Oniguruma handles some double negations, and more deeply nested
 * classes, incorrectly.
 */
export function characterClass(scan: Scan, ignoreCase: boolean, outer?: Outer): string {
  const negated = scan.accept('^');
  if (outer !== undefined && ignoreCase) {
    throw new Untranslatable('a class within a class where case is ignored');
  }
  if (outer?.isNested) throw new Untranslatable('a class within a class within a class');
  if (outer?.negated && negated) throw new Untranslatable('a negated class within a negated one');
  if (scan.next === ']') throw new Untranslatable('a class that begins with "]"');
  const inside = { negated, isNested: outer !== undefined };
  /** Operands of `&&`, each the parts of a union. */
  const operands: string[][] = [[]];
  while (!scan.accept(']')) {
    if (scan.accept('&&')) operands.push([]);
    else operands.at(-1)?.push(classPart(scan, ignoreCase, inside));
  }
  if (operands.some((parts) => parts.length === 0)) {
    throw new Untranslatable('an intersection of classes without an operand');
  }
  const unions = operands.map((parts) => `[${parts.join('')}]`);
  const set = unions.length === 1 ? unions.join('') : `[${unions.join('&&')}]`;
  return negated ? complement(set) : set;
}

/** A nested class, a set, a character or a range of characters. */
function classPart(scan: Scan, ignoreCase: boolean, outer: Outer): string {
  if (scan.startsWith('[:')) {
    const name = scan.match(/\[:(\^?[a-zA-Z]+):\]/);
    const set = bracketNames.get((name ?? '').replace('^', '').toLowerCase());
    if (name === undefined || set === undefined) throw new Untranslatable('an unknown "[:...:]"');
    refuseCase(ignoreCase, `[:${name}:]`, name.replace('^', ''));
    refuseRange(scan);
    return name.startsWith('^') ? complement(set) : set;
  }
  if (scan.accept('[')) {
    const nested = characterClass(scan, ignoreCase, outer);
    refuseRange(scan);
    return nested;
  }
  const first = classCharacter(scan, ignoreCase);
  if ('set' in first) {
    refuseRange(scan);
    return first.set;
  }
  const isRange = scan.next === '-' && !scan.startsWith('-]') && !scan.startsWith('-&&');
  if (!isRange) {
    if (first.character === '-' && !first.escaped) refuseLooseHyphen(scan);
    return characters(first.character, first.character, ignoreCase);
  }
  scan.accept('-');
  if (scan.startsWith('[')) throw new Untranslatable('a range of classes');
  const last = classCharacter(scan, ignoreCase);
  if ('set' in last) throw new Untranslatable('a range that ends with a set');
  refuseRange(scan);
  return characters(first.character, last.character, ignoreCase);
}

type ClassCharacter =
  | { readonly set: string }
  | { readonly character: string; readonly escaped: boolean };

function classCharacter(scan: Scan, ignoreCase: boolean): ClassCharacter {
  if (!scan.accept('\\')) return { character: scan.take(), escaped: false };
  const set = escapedSet(scan, ignoreCase, true);
  if (set !== undefined) return { set };
  const character = escapedCharacter(scan);
  if (character === undefined) throw new Untranslatable(`\\${scan.next} in a class`);
  return { character, escaped: true };
}

/** A hyphen after a set or a range: some engines read it as a character, others as an error. */
function refuseRange(scan: Scan): void {
  if (scan.next === '-' && !scan.startsWith('-]')) {
    throw new Untranslatable('a "-" in a class that is neither a range nor at its end');
  }
}

/** A literal hyphen is at the start or the end of a class. */
function refuseLooseHyphen(scan: Scan): void {
  if (scan.next === '-') throw new Untranslatable('"--" in a class');
}

function characters(first: string, last: string, ignoreCase: boolean): string {
  const from = first.codePointAt(0) as number;
  const to = last.codePointAt(0) as number;
  if (from > to) throw new Untranslatable(`the empty range ${first}-${last}`);
  const range = from === to ? literal(first) : `${literal(first)}-${literal(last)}`;
  if (!ignoreCase) return range;
  if (to > 0x7f) throw new Untranslatable('a character beyond ASCII where case is ignored');
  const variants = new Set<string>();
  for (let code = from; code <= to; code++) {
    for (const variant of caseVariants(String.fromCodePoint(code))) variants.add(variant);
  }
  return [...variants].map(literal).join('');
}
