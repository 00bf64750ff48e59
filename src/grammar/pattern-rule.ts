/**
 * Turns regular expressions of schemas into rules. A match appears in JSON unescaped, so a quote would end
 * the string: only characters that need no escape are supported.
 */

/** Characters that stand for themselves. */
const plain = /^[A-Za-z0-9 _,:;@#%&!~'<>=/`-]$/;
/** Characters that stand for themselves after a backslash. */
const escapable = /^[.*+?()[\]{}|^$/-]$/;
const quantifier = /^(?:[*+?]|\{\d{1,4}(?:,\d{0,4})?\})/;
const mostRepetitions = 1000;
/** The deepest nesting of groups. */
const deepestGroup = 32;

/** An expression that is not supported. */
export class PatternError extends Error {}

/**
 * The rule for a text that matches as a whole.
 * @throws PatternError that names what is not supported
 */
export function patternRule(pattern: string): string {
  return new PatternScan(pattern.replace(/^\^/, '').replace(/(?<!\\)\$$/, '')).rule();
}

class PatternScan {
  readonly #text: string;
  #at = 0;
  /** Open groups. */
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  rule(): string {
    const rule = this.#alternatives();
    if (this.#at < this.#text.length)
      throw new PatternError(`a '${this.#text[this.#at]}' outside of a group`);
    return rule;
  }

  /** Alternatives up to the end of the group or of the text. */
  #alternatives(): string {
    const parts = [this.#sequence()];
    // Only within a group: outside, an anchor would apply only to the first or the last alternative.
    for (; this.#text[this.#at] === '|' && this.#depth > 0; parts.push(this.#sequence()))
      this.#at++;
    return `(${parts.join(' | ')})`;
  }

  #sequence(): string {
    const atoms: string[] = [];
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || char === '|' || char === ')') break;
      atoms.push(this.#atom(char) + this.#quantifier());
    }
    return atoms.length === 0 ? '""' : atoms.join(' ');
  }

  #atom(char: string): string {
    this.#at++;
    if (char === '(') return this.#group();
    if (char === '[') return this.#class();
    if (char === '\\') return this.#escaped();
    if (!plain.test(char)) throw new PatternError(`'${char}'`);
    return `"${char}"`;
  }

  #group(): string {
    if (this.#text.startsWith('?:', this.#at)) this.#at += 2;
    if (this.#text[this.#at] === '?') throw new PatternError("a group that begins with '(?'");
    if (this.#depth++ === deepestGroup) {
      throw new PatternError(`more than ${deepestGroup} groups within each other`);
    }
    const rule = this.#alternatives();
    this.#depth--;
    if (this.#text[this.#at++] !== ')') throw new PatternError('a group that is not closed');
    return rule;
  }

  #escaped(): string {
    const char = this.#text[this.#at++] ?? '';
    if (char === 'd' || char === 'w') return `[${kinds[char]}]`;
    if (escapable.test(char)) return `"${char}"`;
    throw new PatternError(`'\\${char}'`);
  }

  #class(): string {
    if (this.#text[this.#at] === '^') throw new PatternError("a class that begins with '[^'");
    let items = '';
    while (this.#text[this.#at] !== ']') {
      const char = this.#text[this.#at++];
      if (char === undefined) throw new PatternError('a class that is not closed');
      items += char === '\\' ? this.#escapedItem() : this.#item(char);
    }
    this.#at++;
    if (items === '') throw new PatternError('an empty class');
    return `[${items}]`;
  }

  #escapedItem(): string {
    const char = this.#text[this.#at++] ?? '';
    if (char === 'd' || char === 'w') return kinds[char];
    if (escapable.test(char)) return codeOf(char);
    throw new PatternError(`'\\${char}'`);
  }

  #item(char: string): string {
    if (!plain.test(char) && !'.*+?(){}|$'.includes(char)) throw new PatternError(`'${char}'`);
    const end = this.#text[this.#at + 1] ?? '';
    if (this.#text[this.#at] !== '-' || end === ']') return codeOf(char);
    const sameKind = [/[a-z]/, /[A-Z]/, /\d/].some((kind) => kind.test(char) && kind.test(end));
    if (!sameKind || char > end) throw new PatternError(`the range '${char}-${end}'`);
    this.#at += 2;
    return `${char}-${end}`;
  }

  #quantifier(): string {
    const found = quantifier.exec(this.#text.slice(this.#at))?.[0] ?? '';
    this.#at += found.length;
    const [least = 0, most = least] = [...found.matchAll(/\d+/g)].map(([digits]) => Number(digits));
    if (Math.max(least, most) > mostRepetitions || least > most)
      throw new PatternError(`'${found}'`);
    if (found !== '' && quantifier.test(this.#text.slice(this.#at))) {
      throw new PatternError('two quantifiers in a row');
    }
    return found;
  }
}

/** The contents of classes for `\\d` and `\\w`. */
const kinds = { d: '0-9', w: 'A-Za-z0-9_' } as const;

/** A character of a class, escaped unless it is a letter or a digit. */
function codeOf(char: string): string {
  return /[A-Za-z0-9]/.test(char) ? char : `\\x${char.charCodeAt(0).toString(16)}`;
}
